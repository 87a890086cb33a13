/** JSON-RPC messages as texts, put together around parts that must keep their bytes. Pure. */
import { cut, type Outcome } from "../calls/call.ts";
import type { Received } from "../connector/exchange.ts";
import type { RpcError } from "../failure/json-rpc.ts";
import { applyEdits, type Edit, editMembers, memberOf } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";
import type { ClientMessage } from "./client-message.ts";

/** @param id JSON text; null leaves the member out (P-3). */
export function errorText(error: RpcError, id: string | null): string {
  return `{"jsonrpc":"2.0",${id === null ? "" : `"id":${id},`}"error":${JSON.stringify(error)}}`;
}

/** One wording for everything that a caller may not use, known or not (PS-12). */
export function unknownTool(name: string): RpcError {
  return { code: -32602, message: `Unknown tool: ${cut(name)}` };
}

/** @param result JSON text. */
export function resultText(result: string, id: string): string {
  return `{"jsonrpc":"2.0","id":${id},"result":${result}}`;
}

/** What a log says of a response. */
export function outcomeOf({ value }: Received): { ok: boolean; outcome: Outcome; error: string | null } {
  const { result } = value;
  if (typeof result !== "object" || result === null) {
    return { ok: false, outcome: "server_error", error: "the server answered with an error" };
  }
  const isError = "isError" in result && result.isError === true;
  return isError
    ? { ok: false, outcome: "tool_error", error: "tool returned an error" }
    : { ok: true, outcome: "ok", error: null };
}

/** What it says of a round that ends with a question: nothing is done yet, so that nothing is charged. */
export const ASKED_FIRST = {
  ok: false,
  outcome: "input_required",
  error: "the server asks for input first",
} as const;

/** The same of a modern server's response to a modern client: it may ask for input, and then the call is not over. */
export function outcomeOfRound(received: Received): ReturnType<typeof outcomeOf> {
  const { result } = received.value;
  return isObject(result) && result["resultType"] === "input_required" ? ASKED_FIRST : outcomeOf(received);
}

/** The edit that gives a response the id that the client knows. */
export function idEdit({ text }: Received, id: string): Edit[] {
  const own = memberOf(text, 0, "id");
  if (own === undefined) return [{ start: text.indexOf("{") + 1, end: text.indexOf("{") + 1, text: `"id":${id},` }];
  return text.slice(own.valueStart, own.end) === id ? [] : [{ start: own.valueStart, end: own.end, text: id }];
}

/** The edit that sets and drops members of a response's result; none when it has no result object. */
export function resultEdit(text: string, put: Readonly<Record<string, string>>, drop: readonly string[]): Edit[] {
  const result = memberOf(text, 0, "result");
  return result === undefined || text[result.valueStart] !== "{" ? [] : editMembers(text, result.valueStart, put, drop);
}

/** A progress notification with the token that the client gave; null when it gave none, or this is no progress. */
export function progressFor({ text, value }: Received, { meta, at, text: sent }: ClientMessage): string | null {
  if (value["method"] !== "notifications/progress" || meta["progressToken"] === undefined) return null;
  const params = memberOf(text, 0, "params");
  const own = params === undefined ? undefined : memberOf(text, params.valueStart, "progressToken");
  const given = at.meta === undefined ? undefined : memberOf(sent, at.meta.valueStart, "progressToken");
  if (own === undefined || given === undefined) return null;
  return applyEdits(text, [{ start: own.valueStart, end: own.end, text: sent.slice(given.valueStart, given.end) }]);
}
