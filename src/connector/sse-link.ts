/**
 * HTTP+SSE, the transport of 2024-11-05 (protocol.md 4.5, P-38): a server sends on one stream and takes messages at an
 * address of its own. The stream is the session, so a link lives where an object can hold it.
 */
import { isEventStream } from "../http/body.ts";
import { eventText } from "../platform/event-text.ts";
import type { Outgoing, Send } from "../platform/guarded-fetch.ts";
import { randomToken } from "../platform/ids.ts";
import { isObject } from "../platform/json-value.ts";
import { causesOf, log } from "../platform/log.ts";
import type { Asked, Line } from "./ask.ts";
import { DEADLINE_CAP_MS, startDeadline } from "./deadline.ts";
import { readTypedEvents, type StreamEvent } from "./event-stream.ts";
import { breakageOf, MAX_MESSAGE_BYTES, parseMessage, type Received } from "./exchange.ts";
import { createNoticed, kindOf } from "./notices.ts";

export interface SseLink {
  /** Names the link in `Mcp-Session-Id`. */
  readonly id: string;
  /**
   * Speaks with the server as if it had a Streamable HTTP endpoint: what is posted here goes to the server's address,
   * and is answered with a stream of what the server sends for it. A request of another link, or one that comes when
   * the stream has ended, is answered with 404, as a server does that has forgotten a session. DELETE ends the link.
   */
  readonly send: Send;
  /** Ends the stream. Requests that wait for an answer fail. */
  readonly close: () => void;
  /** What the server says from now on that belongs to no request, until the signal fires or the stream ends. */
  readonly notices: (signal: AbortSignal) => AsyncGenerator<Received>;
}

export type LinkOpened =
  | { readonly ok: true; readonly link: SseLink }
  | { readonly ok: false; readonly why: Exclude<Asked, { kind: "answer" }> };

/** A link without a request for this long is closed; the next call opens another. */
const IDLE_MS = 300_000;
/** Bytes that wait for a reader that is slower than the server, before the request is given up. */
const MAX_WAITING_BYTES = MAX_MESSAGE_BYTES;

/** A request that waits for its response. */
interface Pending {
  readonly progressToken: unknown;
  readonly put: (text: string) => void;
  /** Ends the stream of the request. Without a response in it, the exchange counts as cut off. */
  readonly end: () => void;
}

/** Opens the stream and waits for the address, no longer than for any answer. */
export async function openSseLink({ send, target, timeoutMs }: Line): Promise<LinkOpened> {
  const { server_url } = target;
  const { origin } = new URL(server_url);
  const deadline = startDeadline(timeoutMs);
  const headers = { ...target.headers, Accept: "text/event-stream" };
  let response: Response;
  try {
    response = await send({ url: server_url, method: "GET", headers, signal: deadline.signal }, origin);
  } catch (cause) {
    deadline.clear();
    return { ok: false, why: { kind: "broken", breakage: breakageOf(cause, deadline, "before headers") } };
  }
  const isStream = isEventStream(response.headers.get("Content-Type"));
  if (!response.ok || !isStream || response.body === null) {
    deadline.clear();
    await response.body?.cancel();
    return { ok: false, why: response.ok ? notSse() : { kind: "status", status: response.status } };
  }
  const events = readTypedEvents(response.body, { event: MAX_MESSAGE_BYTES, total: Number.POSITIVE_INFINITY });
  // A Streamable HTTP server may hold such a stream open in silence: no address in time says only that this is none.
  const first = await events.next().catch(() => undefined);
  deadline.clear();
  const event = first?.done === false ? first.value : undefined;
  const address = event?.type === "endpoint" ? URL.parse(event.data, server_url) : null;
  // What is posted carries the credential, so it goes to nobody but the server.
  if (address === null || address.origin !== origin) {
    deadline.abort();
    return { ok: false, why: notSse() };
  }
  return { ok: true, link: startLink({ send, target, timeoutMs }, address.href, events, deadline.abort) };
}

function notSse(): Exclude<Asked, { kind: "answer" }> {
  return { kind: "broken", breakage: "not_mcp" };
}

function startLink(
  { send, target }: Line,
  address: string,
  events: AsyncGenerator<StreamEvent>,
  abort: () => void,
): SseLink {
  const id = randomToken(16);
  const pending = new Map<string, Pending>();
  const noticed = createNoticed();
  const { origin } = new URL(address);
  let isOpen = true;
  /** What the server is shown, as the last request brought it: a token is renewed while the stream stands. */
  let shown = target.headers;
  let idle = setTimeout(close, IDLE_MS);

  function close(): void {
    isOpen = false;
    clearTimeout(idle);
    abort();
    for (const request of pending.values()) request.end();
    pending.clear();
    noticed.end();
  }

  /** The time without use begins again, and not before the last request has ended. */
  function rest(): void {
    clearTimeout(idle);
    if (isOpen && pending.size === 0) idle = setTimeout(close, IDLE_MS);
  }

  /** Takes back a request; false when it is over, also where a later one has its id. */
  function drop(key: string, own: Pending | undefined): boolean {
    if (own === undefined || pending.get(key) !== own) return false;
    pending.delete(key);
    rest();
    return true;
  }

  /** What is said to the server without waiting for what it says to it. */
  function tell(message: object): void {
    const deadline = startDeadline(DEADLINE_CAP_MS);
    post(JSON.stringify({ jsonrpc: "2.0", ...message }), deadline.signal)
      .then((response) => response.body?.cancel())
      .catch((thrown) => log("warn", "sse_tell_failed", { server_id: target.server_id, causes: causesOf(thrown) }))
      .finally(deadline.clear);
  }

  function post(body: string, signal: AbortSignal): Promise<Response> {
    const headers = { ...shown, "Content-Type": "application/json" };
    return send({ url: address, method: "POST", headers, body, signal }, origin);
  }

  /** Messages that belong to no request by what they say go with the one that has waited longest. */
  function ownerOf({ value }: Received): Pending | undefined {
    const params = value["params"];
    const token = value["method"] === "notifications/progress" && isObject(params) ? params["progressToken"] : null;
    const named = token === null ? undefined : [...pending.values()].find((one) => one.progressToken === token);
    return named ?? (token === null ? pending.values().next().value : undefined);
  }

  function take(received: Received): void {
    const { id: requestId, method } = received.value;
    if (method === undefined) {
      const key = JSON.stringify(requestId);
      const request = pending.get(key);
      drop(key, request);
      request?.put(received.text);
      request?.end();
      return;
    }
    const owner = kindOf(received) !== null && noticed.isHeard() ? undefined : ownerOf(received);
    if (owner !== undefined) owner.put(received.text);
    else if (requestId === undefined || method !== "ping") noticed.put(received);
    if (owner !== undefined || requestId === undefined) return;
    // A request of a server that nobody is speaking with.
    if (method === "ping") tell({ id: requestId, result: {} });
    else if (!noticed.isHeard()) tell({ id: requestId, error: { code: -32601, message: "Nobody is there." } });
  }

  async function read(): Promise<void> {
    for await (const { type, data } of events) {
      const message = type === "message" ? parseMessage(data) : null;
      if (message !== null) take(message);
    }
  }
  // However the stream ends, the link does.
  read()
    .catch(() => undefined)
    .finally(close);

  /** A request and the stream of what comes for it. */
  async function request(key: string, value: Received["value"], { body = "", signal }: Outgoing): Promise<Response> {
    if (pending.has(key)) return new Response(null, { status: 409 });
    let own: Pending | undefined;
    const begun = Promise.withResolvers<void>();
    const stream = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          const encoder = new TextEncoder();
          own = {
            progressToken: progressTokenOf(value),
            put(text) {
              begun.resolve();
              controller.enqueue(encoder.encode(eventText(text)));
              if ((controller.desiredSize ?? 0) < -MAX_WAITING_BYTES) giveUp(true);
            },
            end() {
              begun.resolve();
              controller.close();
            },
          };
          pending.set(key, own);
          rest();
        },
        cancel: () => giveUp(false),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
    );
    const giveUp = (isStreamOpen: boolean) => {
      // An id may be used again once its response is there, and the signal of the earlier request may fire after that.
      if (!drop(key, own)) return;
      if (isStreamOpen) own?.end();
      tell({ method: "notifications/cancelled", params: { requestId: value["id"], reason: "nobody waits for it" } });
    };
    signal.addEventListener("abort", () => giveUp(true));
    const posted = post(body, signal).then(async (response) => {
      await response.body?.cancel();
      return response;
    });
    try {
      // A server may answer the request, or tell of its progress, before it says that it has taken it.
      const response = await Promise.race([posted, begun.promise]);
      if (response === undefined || response.ok) {
        posted.catch(() => undefined);
        return new Response(stream, { headers: { "Content-Type": "text/event-stream", "Mcp-Session-Id": id } });
      }
      drop(key, own);
      return new Response(null, { status: response.status });
    } catch (thrown) {
      drop(key, own);
      throw thrown;
    }
  }

  return {
    id,
    close,
    notices: noticed.listen,
    async send(outgoing) {
      const named = new Headers(outgoing.headers).get("Mcp-Session-Id");
      shown = { ...target.headers, ...credentialAmong(outgoing.headers) };
      if (!isOpen || (named !== null && named !== id)) return new Response(null, { status: 404 });
      rest();
      if (outgoing.method !== "POST") {
        close();
        return new Response(null, { status: 204 });
      }
      const message = parseMessage(outgoing.body ?? "");
      if (message !== null && "method" in message.value && message.value["id"] !== undefined) {
        return request(JSON.stringify(message.value["id"]), message.value, outgoing);
      }
      const response = await post(outgoing.body ?? "", outgoing.signal);
      await response.body?.cancel();
      return new Response(null, { status: response.ok ? 202 : response.status });
    },
  };
}

/** What is left of a request's headers without those that belong to Streamable HTTP. */
export function credentialAmong(headers: Readonly<Record<string, string>>): Record<string, string> {
  const isOfTransport = /^(accept|content-type|mcp-.*)$/i;
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isOfTransport.test(name)));
}

function progressTokenOf({ params }: Received["value"]): unknown {
  const meta = isObject(params) ? params["_meta"] : undefined;
  return isObject(meta) ? meta["progressToken"] : undefined;
}
