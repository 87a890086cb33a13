/**
 * How a `Session` object tells a door that a server has asked something within a call: as one more message on the
 * stream of that call, its last. A server cannot send it itself: the object lets none of its own pass.
 */
import { parseMessage, type Received } from "../connector/exchange.ts";
import { memberOf } from "../platform/json-text.ts";

export const PARKED = "notifications/dev.postern/parked";

/** @param asked The server's request. */
export function parkedMessage(park: string, asked: Received): string {
  return `{"jsonrpc":"2.0","method":"${PARKED}","params":{"park":${JSON.stringify(park)},"asked":${asked.text}}}`;
}

/** The call that waits, and what was asked; null for any other message. */
export function parkedIn({ text, value }: Received): { readonly park: string; readonly asked: Received } | null {
  if (value["method"] !== PARKED) return null;
  const params = memberOf(text, 0, "params");
  const asked = params === undefined ? undefined : memberOf(text, params.valueStart, "asked");
  const message = asked === undefined ? null : parseMessage(text.slice(asked.valueStart, asked.end));
  const { park } = value["params"] as { park?: unknown };
  return message !== null && typeof park === "string" ? { park, asked: message } : null;
}
