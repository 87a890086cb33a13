/** Structured content of a modern server for clients of an era that has objects only (protocol.md 3.5.4). Pure. */
import type { JsonObject } from "../../connector/exchange.ts";
import { canonicalJson } from "../../platform/canonical-json.ts";
import { applyEdits, elementsOf, memberOf } from "../../platform/json-text.ts";
import { isObject } from "../../platform/json-value.ts";

/**
 * The content that carries a structured value which is no object as a text block; nothing where a block says it.
 *
 * @param text The message.
 * @param result Its result, whose `structuredContent` that is.
 */
export function contentWithValue(text: string, result: JsonObject): Record<string, string> {
  const start = memberOf(text, 0, "result")?.valueStart ?? 0;
  const value = memberOf(text, start, "structuredContent");
  if (value === undefined) return {};
  const block = JSON.stringify({ type: "text", text: text.slice(value.valueStart, value.end) });
  const { content } = result;
  const at = memberOf(text, start, "content");
  if (at === undefined) return { content: `[${block}]` };
  if (!Array.isArray(content) || content.some((own: unknown) => says(own, result["structuredContent"]))) return {};
  const own = text.slice(at.valueStart, at.end);
  const end = elementsOf(own).at(-1)?.end;
  const edit = { start: end ?? 1, end: end ?? 1, text: end === undefined ? block : `,${block}` };
  return { content: applyEdits(own, [edit]) };
}

function says(block: unknown, value: unknown): boolean {
  if (!isObject(block) || block["type"] !== "text" || typeof block["text"] !== "string") return false;
  try {
    return canonicalJson(JSON.parse(block["text"])) === canonicalJson(value);
  } catch {
    return false;
  }
}
