/** How the events of a call reach the client: as one JSON body, or as a stream that is kept alive. */
import type { CallRow } from "../calls/call.ts";
import { eventText } from "../platform/event-text.ts";
import type { StreamPlace } from "./client-side.ts";
import type { CallEvent } from "./tool-call.ts";

/** What a client admits (rung 3.1.9). */
export interface Accepts {
  readonly json: boolean;
  readonly sse: boolean;
}

/** The forms that an `Accept` header admits: none given, or a wildcard, admits both. */
export function acceptsOf(header: string | null): Accepts {
  if (header === null || header.trim() === "") return { json: true, sse: true };
  const ranges = header.split(",").flatMap((part) => {
    const [range = "", ...params] = part.split(";").map((text) => text.trim().toLowerCase());
    return params.some((param) => /^q=0(\.0*)?$/.test(param)) ? [] : [range];
  });
  const admits = (...names: string[]) => ranges.some((range) => names.includes(range));
  return {
    json: admits("*/*", "application/*", "application/json"),
    sse: admits("*/*", "text/*", "text/event-stream"),
  };
}

/** A whole message as an answer, in a form that the client admits. */
export function messageResponse(
  text: string,
  status: number,
  accepts: Accepts,
  headers?: Record<string, string>,
): Response {
  if (accepts.json) return new Response(text, { status, headers: { ...headers, "Content-Type": "application/json" } });
  return new Response(eventOf(text), { status, headers: { ...headers, ...STREAM_HEADERS } });
}

export interface AnswerOptions {
  readonly accepts: Accepts;
  /** Notes the row of the call, where it has one; an answer that must not come before its row waits for it. */
  readonly record: (row: CallRow | null) => { readonly stored: Promise<void>; readonly isAwaited: boolean };
  /** Keeps work alive behind the answer. */
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** The client has gone away while it was being answered. */
  readonly onLeft: () => void;
}

/** a comment at least this often, so that nobody on the way takes a silent stream for a dead one. */
export const KEEP_ALIVE_MS = 15_000;
export const KEEP_ALIVE = ":\n\n";
export const STREAM_HEADERS = { "Content-Type": "text/event-stream", "X-Accel-Buffering": "no" };

/**
 * The answer to a call. JSON when its response comes first, a stream when the server streams and the client may.
 *
 * The call goes on to its end, and to its row, also when its client leaves before there is anything to answer.
 */
export function answerCall(events: AsyncGenerator<CallEvent, void>, options: AnswerOptions): Promise<Response> {
  const answer = beginAnswer(events, options);
  options.waitUntil(answer);
  return answer;
}

async function beginAnswer(events: AsyncGenerator<CallEvent, void>, options: AnswerOptions): Promise<Response> {
  const { accepts, record, waitUntil } = options;
  for (;;) {
    const step = await events.next();
    if (step.done === true) throw new Error("a call ended without a response");
    const event = step.value;
    if (event.kind === "response") {
      const { stored, isAwaited } = record(event.row);
      if (isAwaited) await stored;
      else waitUntil(stored);
      await events.return();
      return messageResponse(event.response.text, event.response.status, accepts);
    }
    if (event.kind === "part" && accepts.json) return stream(event, "json");
    if (event.kind === "part" || (event.kind === "streaming" && accepts.sse)) return stream(event, "events");
  }

  function stream(first: CallEvent, form: Form): Response {
    // The runtime's own: a write to one whose reader has left fails, where a write to a `TransformStream` never settles.
    const { readable, writable } = new IdentityTransformStream();
    waitUntil(pump(first, events, writable.getWriter(), form, options));
    return new Response(readable, {
      headers: form === "json" ? { "Content-Type": "application/json" } : STREAM_HEADERS,
    });
  }
}

/** What is streamed: one message, or events. */
type Form = "json" | "events";

/** Writes events until the call is over, even when nobody reads any more: the row has to be made. */
async function pump(
  first: CallEvent,
  events: AsyncGenerator<CallEvent, void>,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  form: Form,
  { record, onLeft }: AnswerOptions,
): Promise<void> {
  const encoder = new TextEncoder();
  let isOpen = true;
  let isWithin = false;
  const close = () => {
    if (isOpen) onLeft();
    isOpen = false;
  };
  // An idle stream is found to be closed here, without a write.
  writer.closed.catch(close);
  const write = async (text: string) => {
    if (isOpen) await writer.write(encoder.encode(text)).catch(close);
  };
  /** A client that does not read keeps nobody waiting for longer than the call may take. */
  const writePart = async ({ bytes, signal }: Extract<CallEvent, { kind: "part" }>) => {
    if (form === "events" && !isWithin) await write("event: message\ndata: ");
    isWithin = true;
    if (!isOpen) return;
    const { promise: isOver, resolve } = Promise.withResolvers<unknown>();
    signal.addEventListener("abort", resolve);
    if (!signal.aborted)
      await Promise.race([writer.write(form === "json" ? bytes : withoutBreaks(bytes)).catch(close), isOver]);
    signal.removeEventListener("abort", resolve);
  };
  // Within a message nothing else may be said.
  const beat = async () => {
    if (form === "events" && !isWithin) await write(KEEP_ALIVE);
  };
  let event = first;
  for (;;) {
    if (event.kind === "response") {
      const { sent, text, place } = event.response;
      const { stored, isAwaited } = record(event.row);
      if (isAwaited) await stored;
      const isLast = form === "events" && sent !== "whole";
      if (isLast) await write(`${sent === "cut" ? CUT : ""}${eventOf(text, place)}`);
      else if (form === "events") await write("\n\n");
      // Nothing can follow a part of a message.
      const isBroken = sent === "cut" && form === "json";
      if (isOpen) await (isBroken ? writer.abort(new Error("the server's answer broke")) : writer.close()).catch(close);
      await stored;
    } else if (event.kind === "notification" && form === "events") {
      await write(eventOf(event.text, event.place));
    } else if (event.kind === "part") {
      await writePart(event);
    }
    const step = await withKeepAlive(events.next(), beat);
    if (step.done === true) break;
    event = step.value;
  }
}

/** Ends an event that is not whole, as one of a type that no client of MCP reads. */
const CUT = "\nevent: cut\n\n";

/** Line breaks are white space in JSON, and would end a line of an event. */
function withoutBreaks(bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(0x0a) && !bytes.includes(0x0d)) return bytes;
  return bytes.map((byte) => (byte === 0x0a || byte === 0x0d ? 0x20 : byte));
}

async function withKeepAlive<T>(work: Promise<T>, beat: () => Promise<void>): Promise<T> {
  for (;;) {
    const { promise: pause, resolve } = Promise.withResolvers<null>();
    const timer = setTimeout(() => resolve(null), KEEP_ALIVE_MS);
    const first = await Promise.race([work.then((value) => ({ value })), pause]);
    clearTimeout(timer);
    if (first !== null) return first.value;
    await beat();
  }
}

/** A message as an event; a text with line breaks takes several lines, which the reader joins again. */
export function eventOf(text: string, { eventId, retryMs }: StreamPlace = {}): string {
  const place = [
    ...(eventId === undefined ? [] : [`id: ${eventId}\n`]),
    ...(retryMs === undefined ? [] : [`retry: ${retryMs}\n`]),
  ];
  return `${text === "" ? "" : "event: message\n"}${place.join("")}${eventText(text)}`;
}
