/**
 * Requests of servers on their way to a client. Ids of several servers may be equal, so each goes out with one that
 * names its server, and the answer finds who asked without anything being kept (P-32). Pure.
 */
import type { Received } from "../connector/exchange.ts";
import { base64Url, fromBase64 } from "../platform/ids.ts";
import { applyEdits, memberOf } from "../platform/json-text.ts";

const PREFIX = "pst-r.";

/** @param idText The server's own id, JSON text. @returns JSON text. */
export function relayedId(serverId: string, idText: string): string {
  const bytes = new TextEncoder().encode(JSON.stringify([serverId, idText]));
  return JSON.stringify(`${PREFIX}${base64Url(bytes)}`);
}

/** Whose request an id names; null for one that is not of a server. */
export function readRelayedId(id: unknown): { readonly serverId: string; readonly idText: string } | null {
  if (typeof id !== "string" || !id.startsWith(PREFIX)) return null;
  const bytes = fromBase64(id.slice(PREFIX.length));
  if (bytes === null) return null;
  try {
    const [serverId, idText] = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
    ) as unknown[];
    return typeof serverId === "string" && typeof idText === "string" && isId(idText) ? { serverId, idText } : null;
  } catch {
    return null;
  }
}

function isId(text: string): boolean {
  return /^-?\d+$/.test(text) || typeof JSON.parse(text) === "string";
}

/** A server's request as its client gets it. */
export function relayedRequest({ text }: Received, serverId: string): string {
  const id = memberOf(text, 0, "id");
  if (id === undefined) return text;
  const own = relayedId(serverId, text.slice(id.valueStart, id.end));
  return applyEdits(text, [{ start: id.valueStart, end: id.end, text: own }]);
}
