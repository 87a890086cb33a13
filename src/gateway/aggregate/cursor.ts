/**
 * Where the next page of a list over all servers begins: at the page of each server that has one. Not sealed: whoever
 * makes one up gets no further than a server that the caller may use, with a cursor for that server to judge. Pure.
 */
import { base64Url, fromBase64 } from "../../platform/ids.ts";

/** The next page of one server. */
export interface Continued {
  readonly serverId: string;
  /** As the server gave it; an empty one is one. */
  readonly cursor: string;
}

/** @returns Null when no server has more. */
export function cursorOf(more: readonly Continued[]): string | null {
  if (more.length === 0) return null;
  return base64Url(new TextEncoder().encode(JSON.stringify(more.map(({ serverId, cursor }) => [serverId, cursor]))));
}

/** @returns Null for what no list has given. */
export function readCursor(cursor: unknown): readonly Continued[] | null {
  const bytes = typeof cursor !== "string" || cursor === "" ? null : fromBase64(cursor);
  if (bytes === null) return null;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const parts: unknown = JSON.parse(text);
    if (!Array.isArray(parts) || parts.length === 0) return null;
    const more = parts.map((part: unknown) => {
      if (!Array.isArray(part) || part.length !== 2) return null;
      const [serverId, own]: unknown[] = part;
      return typeof serverId === "string" && typeof own === "string" ? { serverId, cursor: own } : null;
    });
    const isUnique = new Set(more.map((one) => one?.serverId)).size === more.length;
    return isUnique && more.every((one) => one !== null) ? more : null;
  } catch {
    return null;
  }
}
