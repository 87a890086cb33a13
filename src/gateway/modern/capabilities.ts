/** What a modern client says that it can do, and what of it a server hears (protocol.md 2.9, 3.5.2). Pure. */
import { applyEdits, editMembers, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import type { ClientMessage } from "../client-message.ts";
import { CAPABILITIES } from "./ladder.ts";

/** Extensions that are carried in full. A server that hears of another one may answer what nobody here understands. */
const CARRIED: readonly string[] = [];

/** Whether a request declares an extension that no server hears of. */
export function isCut({ meta }: ClientMessage): boolean {
  return cutExtensions(meta).length > 0;
}

/** The client's capabilities as a server gets them, JSON text; null when they go as they came. */
export function capabilitiesFor({ text, meta, at }: ClientMessage): string | null {
  const cut = cutExtensions(meta);
  const own = at.meta === undefined ? undefined : memberOf(text, at.meta.valueStart, CAPABILITIES);
  const extensions = own === undefined ? undefined : memberOf(text, own.valueStart, "extensions");
  if (cut.length === 0 || own === undefined || extensions === undefined) return null;
  const capabilities = text.slice(own.valueStart, own.end);
  const listed = text.slice(extensions.valueStart, extensions.end);
  const kept = applyEdits(listed, editMembers(listed, 0, {}, cut));
  return applyEdits(capabilities, editMembers(capabilities, 0, { extensions: kept }));
}

function cutExtensions(meta: Readonly<Record<string, unknown>>): string[] {
  const capabilities = meta[CAPABILITIES];
  const extensions = isObject(capabilities) ? capabilities["extensions"] : undefined;
  return isObject(extensions) ? Object.keys(extensions).filter((name) => !CARRIED.includes(name)) : [];
}
