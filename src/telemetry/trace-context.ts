/** W3C trace context on its way through the gateway: what a client gives, and what a server is told (P-49). Pure. */
import { parseTraceParent } from "@opentelemetry/core";
import type { OutgoingMessage } from "../connector/exchange.ts";
import { applyEdits, editMembers, memberOf } from "../platform/json-text.ts";

/** A place in a trace, as text. */
export interface TraceContext {
  /** Well formed. */
  readonly traceparent: string;
  readonly tracestate: string | null;
  /** Who has said it: the message's `_meta`, the headers of its request, or the gateway itself. */
  readonly from: "meta" | "headers" | "gateway";
}

/** What a client has sent along: an HTTP request that may be nobody's, and the `_meta` of its message. */
export interface Received {
  readonly meta: Readonly<Record<string, unknown>>;
  readonly headers: Headers;
}

/**
 * What the client gives; null: nothing, or nothing that is well formed. `_meta` is the client's own word, where headers
 * are whatever the last one on the way has made of them, so that it comes first (protocol.md 2.9).
 */
export function contextOf({ meta, headers }: Received): TraceContext | null {
  return (
    contextFrom(meta["traceparent"], meta["tracestate"], "meta") ??
    contextFrom(headers.get("traceparent"), headers.get("tracestate"), "headers")
  );
}

function contextFrom(parent: unknown, state: unknown, from: TraceContext["from"]): TraceContext | null {
  if (typeof parent !== "string") return null;
  const traceparent = parent.trim();
  if (parseTraceParent(traceparent) === null) return null;
  return { traceparent, tracestate: isState(state) ? state : null, from };
}

/** What a `tracestate` header may be (W3C Trace Context section 3.3); its members are for others to read. */
function isState(state: unknown): state is string {
  return typeof state === "string" && state.length <= 512 && /^[\t\x20-\x7e]+$/.test(state);
}

/**
 * A request upstream with its trace context: in the headers, for whatever stands in front of a server and for tools that
 * look nowhere else, and in `_meta` where the client has it there or the server is a modern one, whose revision reads it
 * there. A malformed one is dropped, with the state that belongs to it. `baggage` goes on as it came, in `_meta` alone:
 * it is for the server, and nobody on the way there was meant by it.
 *
 * @param context Null: there is none.
 */
export function carry(
  { headers, body }: OutgoingMessage,
  context: TraceContext | null,
  { meta, isModern }: { readonly meta: Received["meta"]; readonly isModern: boolean },
): OutgoingMessage {
  const isGiven = "traceparent" in meta;
  if (context === null) return isGiven ? { headers, body: withMeta(body, {}, STATE) } : { headers, body };
  const { traceparent, tracestate, from } = context;
  const own = { traceparent, ...(tracestate === null ? {} : { tracestate }) };
  const isUntouched = meta["traceparent"] === traceparent || !(isGiven || isModern);
  // A state that came with another parent says nothing of this one.
  const put = from === "meta" ? { traceparent } : own;
  const drop = from === "meta" || tracestate !== null ? [] : ["tracestate"];
  return { headers: { ...headers, ...own }, body: isUntouched ? body : withMeta(body, put, drop) };
}

const STATE = ["traceparent", "tracestate"];

/** The message with members of its `_meta` set and dropped; as it is where it has none. */
function withMeta(text: string, put: Readonly<Record<string, string>>, drop: readonly string[]): string {
  const params = memberOf(text, 0, "params");
  const meta = params === undefined ? undefined : memberOf(text, params.valueStart, "_meta");
  if (meta === undefined) return text;
  const quoted = Object.fromEntries(Object.entries(put).map(([key, value]) => [key, JSON.stringify(value)]));
  return applyEdits(text, editMembers(text, meta.valueStart, quoted, drop));
}

/** The headers of a request that say where in a trace it stands. */
export function traceHeaders(headers: Headers): Headers {
  const own = new Headers();
  for (const name of STATE) {
    const value = headers.get(name);
    if (value !== null) own.set(name, value);
  }
  return own;
}
