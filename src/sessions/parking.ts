/**
 * Calls to legacy servers that wait for a modern client. The server asks on the stream of the call, and the client
 * answers with its next request, at any isolate: so the stream is held here, in the `Session` object, and each request
 * of the client gets the part of it up to the next question (protocol.md 3.5.3). What is lost with the object is lost:
 * a call is never made a second time for it.
 */

import type { StreamEvent } from "../connector/event-stream.ts";
import { type JsonObject, MAX_MESSAGE_BYTES, parseMessage, type Received, reopenWith } from "../connector/exchange.ts";
import { LARGE } from "../connector/large-message.ts";
import { resumableEvents } from "../connector/resumption.ts";
import { isDeclared } from "../connector/server-request.ts";
import { credentialAmong } from "../connector/sse-link.ts";
import { isEventStream } from "../http/body.ts";
import { dataText, eventText } from "../platform/event-text.ts";
import type { Outgoing, Send } from "../platform/guarded-fetch.ts";
import { memberOf } from "../platform/json-text.ts";
import { PARKED, parkedMessage } from "./parked.ts";

/** How long a client may take; as long as what it has been given to come back with is good. */
const PARK_MS = 600_000;
/** Calls that may wait at a time. */
const MAX_PARKED = 100;

/** A call on its way to a server. */
interface Call {
  readonly way: Send;
  readonly request: Outgoing;
  readonly origin: string;
  readonly capabilities: JsonObject;
  readonly events: AsyncGenerator<StreamEvent>;
  readonly abort: () => void;
}

interface Parked {
  readonly call: Call;
  readonly asked: Received;
  readonly timer: ReturnType<typeof setTimeout>;
}

export interface Parking {
  /**
   * Sends a request. Its answer is that of the server, but for a stream, which ends with a message of `parked.ts` when
   * the server asks something that a client with these capabilities can answer.
   */
  send(way: Send, request: Outgoing, origin: string, capabilities: JsonObject): Promise<Response>;
  /**
   * Goes on with a call: answers the server, and gives the next part of its stream.
   *
   * @param body JSON text of the result that answers; empty: the question is wanted once more.
   * @param signal Nobody waits for this part.
   * @returns 404 when no such call waits here.
   */
  resume(park: string, headers: Outgoing["headers"], body: string, signal: AbortSignal): Promise<Response>;
  /** How many calls wait. */
  readonly size: () => number;
}

export function createParking(onParked: () => Promise<void>): Parking {
  const parked = new Map<string, Parked>();

  function park(call: Call, asked: Received): string {
    const id = crypto.randomUUID();
    parked.set(id, { call, asked, timer: setTimeout(() => giveUp(id), PARK_MS) });
    onParked().catch(() => undefined);
    return id;
  }

  /** Nobody has come back: the server is told, and waits no longer. */
  function giveUp(id: string): void {
    const lost = take(id);
    if (lost === undefined) return;
    lost.call.abort();
    const { text } = lost.asked;
    const at = memberOf(text, 0, "id");
    const requestId = at === undefined ? "null" : text.slice(at.valueStart, at.end);
    const error = '{"code":-32000,"message":"Nobody has answered."}';
    post(lost.call, lost.call.request.headers, `{"jsonrpc":"2.0","id":${requestId},"error":${error}}`).catch(
      () => undefined,
    );
  }

  function take(id: string): Parked | undefined {
    const held = parked.get(id);
    parked.delete(id);
    clearTimeout(held?.timer);
    return held;
  }

  async function post({ way, request, origin }: Call, headers: Outgoing["headers"], body: string): Promise<boolean> {
    const signal = AbortSignal.timeout(30_000);
    const response = await way({ url: request.url, method: "POST", headers, body, signal }, origin);
    await response.body?.cancel();
    return response.ok;
  }

  /** A stream of the call up to its next question. */
  function part(call: Call, signal: AbortSignal): Response {
    const encoder = new TextEncoder();
    let isHeld = false;
    const leave = () => {
      if (!isHeld) call.abort();
    };
    // A stream on which nothing comes is not found to be closed.
    signal.addEventListener("abort", leave);
    /** What follows of an event that is too large to be held: no question is. */
    let rest: AsyncGenerator<string> | undefined;
    const stream = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          for (;;) {
            if (rest !== undefined) {
              // A stream that breaks within it breaks here as well.
              const { done, value } = await rest.next();
              if (done === true) rest = undefined;
              return controller.enqueue(encoder.encode(done === true ? "\n\n" : dataText(value)));
            }
            const next = await call.events.next().catch(() => ({ done: true, value: undefined }) as const);
            if (next.done === true) return controller.close();
            if (next.value.data === "") continue;
            rest = next.value.rest;
            if (rest !== undefined) return controller.enqueue(encoder.encode(`data: ${dataText(next.value.data)}`));
            const message = parseMessage(next.value.data);
            const { method, id, params } = message?.value ?? {};
            // Nobody but this object says that a call waits.
            if (method === PARKED) continue;
            const isQuestion = message !== null && method !== undefined && id !== undefined;
            if (isQuestion && isDeclared(call.capabilities, method, params) && parked.size < MAX_PARKED) {
              isHeld = true;
              controller.enqueue(encoder.encode(eventText(parkedMessage(park(call, message), message))));
              return controller.close();
            }
            return controller.enqueue(encoder.encode(eventText(next.value.data)));
          }
        },
        cancel: leave,
      },
      { highWaterMark: 0 },
    );
    return new Response(stream, { headers: { "Content-Type": "text/event-stream" } });
  }

  return {
    async send(way, request, origin, capabilities) {
      const controller = new AbortController();
      const abort = () => controller.abort();
      request.signal.addEventListener("abort", abort);
      const response = await way({ ...request, signal: controller.signal }, origin);
      const isStream = isEventStream(response.headers.get("Content-Type"));
      if (!response.ok || !isStream || response.body === null) return response;
      // From here on it is the reader of the stream that says when nobody waits.
      request.signal.removeEventListener("abort", abort);
      let isAnswered = false;
      const limits = { event: MAX_MESSAGE_BYTES, total: Number.POSITIVE_INFINITY, large: LARGE };
      const session = Object.fromEntries(Object.entries(request.headers).filter(([name]) => /^mcp-/i.test(name)));
      const target = { server_url: request.url, headers: credentialAmong(request.headers) };
      const reopen = reopenWith(way, target, session, controller.signal);
      const call = { way, request, origin, capabilities, abort };
      const events = resumableEvents(response.body, limits, reopen, () => isAnswered);
      return part({ ...call, events: ofMessages(events) }, request.signal);

      async function* ofMessages(all: AsyncGenerator<StreamEvent>): AsyncGenerator<StreamEvent> {
        for await (const event of all) {
          if (event.type !== "message") {
            for await (const _ of event.rest ?? []);
            continue;
          }
          // Only answers are large enough to come in pieces.
          isAnswered ||= event.rest !== undefined;
          isAnswered ||= event.data !== "" && !("method" in (parseMessage(event.data)?.value ?? { method: "" }));
          yield event;
        }
      }
    },

    async resume(park, headers, body, signal) {
      const waiting = parked.get(park);
      if (waiting === undefined) return new Response(null, { status: 404 });
      if (body === "") return once(parkedMessage(park, waiting.asked));
      const { call, asked } = waiting;
      take(park);
      const at = memberOf(asked.text, 0, "id");
      const id = at === undefined ? "null" : asked.text.slice(at.valueStart, at.end);
      const isTaken = await post(call, headers, `{"jsonrpc":"2.0","id":${id},"result":${body}}`).catch(() => false);
      if (isTaken) return part(call, signal);
      call.abort();
      return new Response(null, { status: 404 });
    },

    size: () => parked.size,
  };
}

function once(text: string): Response {
  return new Response(eventText(text), { headers: { "Content-Type": "text/event-stream" } });
}
