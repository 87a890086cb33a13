/** Names and URIs in what servers answer, as `/mcp` shows them; every other byte stays. Pure. */
import { applyEdits, type Edit, editMembers, elementsOf, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";
import type { ClientSide } from "../client-side.ts";
import { exposedPrompt, exposedUri } from "./exposed.ts";

/** A list in a result, and what of its elements is exposed. */
const KEYS = {
  prompts: ["name", exposedPrompt],
  resources: ["uri", exposedUri],
  resourceTemplates: ["uriTemplate", exposedUri],
} as const;

/** What one server has given for a list. */
export interface ServerPage {
  /** JSON texts. */
  readonly items: readonly string[];
  readonly nextCursor: string | null;
  /** For how long the server says that it holds; null: it does not say. */
  readonly ttlMs: number | null;
}

/** Reads a response of a server; null when it has no such list. @param text The message. */
export function readPage(text: string, list: keyof typeof KEYS, server: string): ServerPage | null {
  const { result } = JSON.parse(text) as { result?: unknown };
  if (!isObject(result)) return null;
  const values = result[list];
  const at = memberOf(text, memberOf(text, 0, "result")?.valueStart ?? 0, list);
  if (!Array.isArray(values) || at === undefined) return null;
  const [key, expose] = KEYS[list];
  const { nextCursor, ttlMs } = result;
  const items = elementsOf(text, at.valueStart).flatMap(({ start, end }, index) => {
    const value: unknown = values[index];
    const own = isObject(value) ? value[key] : undefined;
    // What has no name cannot be asked for, and names no server.
    if (typeof own !== "string") return [];
    const item = text.slice(start, end);
    return [applyEdits(item, editMembers(item, 0, { [key]: JSON.stringify(expose(server, own)) }))];
  });
  return {
    items,
    nextCursor: typeof nextCursor === "string" ? nextCursor : null,
    ttlMs: typeof ttlMs === "number" && ttlMs >= 0 ? ttlMs : null,
  };
}

/** The same client, but that what it reads is called as this door calls it. */
export function withExposedContents(side: ClientSide, server: string): ClientSide {
  return {
    ...side,
    response(received, from, message) {
      const shaped = side.response(received, from, message);
      return { ...shaped, text: applyEdits(shaped.text, uriEdits(shaped.text, server)) };
    },
  };
}

function uriEdits(text: string, server: string): Edit[] {
  const { result } = JSON.parse(text) as { result?: unknown };
  const contents = isObject(result) ? result["contents"] : undefined;
  const at = memberOf(text, memberOf(text, 0, "result")?.valueStart ?? 0, "contents");
  if (!Array.isArray(contents) || at === undefined) return [];
  return elementsOf(text, at.valueStart).flatMap(({ start }, index) => {
    const content: unknown = contents[index];
    const uri = isObject(content) ? content["uri"] : undefined;
    return typeof uri === "string" ? editMembers(text, start, { uri: JSON.stringify(exposedUri(server, uri)) }) : [];
  });
}
