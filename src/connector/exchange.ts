/**
 * One JSON-RPC message to an upstream server over Streamable HTTP, and what came of it. Every way in which that can go
 * wrong is a value: who asked decides whether to try again and what to say.
 */
import type { LeasedToken } from "../credentials/leases.ts";
import { isEventStream, isJson } from "../http/body.ts";
import { readBounded, TooLarge } from "../platform/bounded-text.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { Deadline } from "./deadline.ts";
import { StreamTooLarge } from "./event-stream.ts";
import { LARGE, type Read, readBody, readLargeEvent } from "./large-message.ts";
import { type Reopen, resumableEvents } from "./resumption.ts";

/** Where a server is and what it is shown. */
export interface Target {
  readonly server_id: string;
  readonly server_url: string;
  /** The credential, and whatever headers an admin configured. */
  readonly headers: Readonly<Record<string, string>>;
  /** The upstream token that is among them. */
  readonly token: LeasedToken;
}

/** A JSON object off the wire. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** A message as text and as value: decisions read the value, forwarding takes the text. */
export interface Received {
  readonly text: string;
  readonly value: JsonObject;
  /** What its server calls its place in a stream that can be opened again. */
  readonly eventId?: string;
  /** How long to wait before coming back, in milliseconds, where its server has said so. */
  readonly retryMs?: number;
  /**
   * Of a result that is too large to be held, its bytes, to be read once and piece by piece: there is no text, and the
   * value holds no more than the id, where that comes first. They throw `ExchangeBroken`.
   */
  readonly bytes?: AsyncGenerator<Uint8Array>;
}

/** Why no message came. After most of them the server may have acted all the same. */
export type Breakage =
  /** No connection, or one that broke before the first byte of an answer: the runtime does not tell which. */
  | "lost"
  /** The deadline passed. */
  | "timeout"
  /** The one who asked has left. */
  | "left"
  /** The connection broke within the answer. */
  | "cut"
  /** The server answered with something that is not MCP. */
  | "not_mcp"
  /** More than a message may have. */
  | "too_large"
  /** The guarded fetch did not let it out, or stopped a redirect. */
  | "refused_here";

export type Exchange =
  | {
      readonly kind: "message";
      readonly status: number;
      readonly message: Received;
      readonly sessionId: string | null;
      readonly challenge: string | null;
    }
  | { readonly kind: "stream"; readonly messages: AsyncGenerator<Received>; readonly sessionId: string | null }
  /** An HTTP status without an MCP message; 2xx for accepted notifications. */
  | { readonly kind: "status"; readonly status: number /** `WWW-Authenticate`. */; readonly challenge: string | null }
  | { readonly kind: "broken"; readonly breakage: Breakage; readonly cause: unknown };

/** PS-32. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const MAX_STREAM_BYTES = 256 * 1024 * 1024;
const LIMITS = { whole: MAX_MESSAGE_BYTES, streamed: MAX_STREAM_BYTES };
/** An error page is not read further than it takes to see that it is no MCP message. */
const MAX_ERROR_BYTES = 64 * 1024;

/** What a stream of messages throws when it ends other than it should. */
export class ExchangeBroken extends Error {
  override readonly name = "ExchangeBroken";
  readonly breakage: Breakage;

  constructor(breakage: Breakage, cause?: unknown) {
    super(breakage, { cause });
    this.breakage = breakage;
  }
}

export interface OutgoingMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Sends one message. Never throws; the messages of a stream throw `ExchangeBroken`.
 *
 * @param session Within a session with a legacy server: a stream that it closes early is opened again.
 * @param takesLarge Results may come that are too large to be held; else they are too large.
 */
export async function exchange(
  send: Send,
  target: Target,
  { headers, body }: OutgoingMessage,
  deadline: Deadline,
  session: Readonly<Record<string, string>> | null = null,
  takesLarge = false,
): Promise<Exchange> {
  let response: Response;
  try {
    response = await send(
      {
        url: target.server_url,
        method: "POST",
        headers: {
          ...target.headers,
          ...headers,
          Accept: "application/json, text/event-stream",
          "Content-Type": "application/json",
        },
        body,
        signal: deadline.signal,
      },
      new URL(target.server_url).origin,
    );
  } catch (cause) {
    return { kind: "broken", breakage: breakageOf(cause, deadline, "before headers"), cause };
  }
  const sessionId = response.headers.get("Mcp-Session-Id");
  const challenge = response.headers.get("WWW-Authenticate");
  const type = response.headers.get("Content-Type");
  if (response.ok && isEventStream(type) && response.body !== null) {
    const reopen = session === null ? null : reopenWith(send, target, session, deadline.signal);
    return { kind: "stream", messages: messagesOf(response.body, deadline, reopen, takesLarge), sessionId };
  }
  if (!isJson(type)) {
    await response.body?.cancel();
    const isAnswer = response.ok && response.status !== 202 && response.status !== 204;
    return isAnswer ? notMcp() : { kind: "status", status: response.status, challenge };
  }
  try {
    const read =
      takesLarge && response.ok
        ? await readBody(response, LIMITS)
        : await readBounded(response, response.ok ? MAX_MESSAGE_BYTES : MAX_ERROR_BYTES);
    const message = messageOf(read, deadline);
    if (message !== null) return { kind: "message", status: response.status, message, sessionId, challenge };
    return response.ok && response.status !== 202 ? notMcp() : { kind: "status", status: response.status, challenge };
  } catch (cause) {
    return { kind: "broken", breakage: breakageOf(cause, deadline, "reading"), cause };
  }
}

function notMcp(): Exchange {
  return { kind: "broken", breakage: "not_mcp", cause: undefined };
}

async function* messagesOf(
  body: ReadableStream<Uint8Array>,
  deadline: Deadline,
  reopen: Reopen | null,
  takesLarge: boolean,
): AsyncGenerator<Received> {
  let isAnswered = false;
  const limits = { event: MAX_MESSAGE_BYTES, total: MAX_STREAM_BYTES, ...(takesLarge ? { large: LARGE } : {}) };
  try {
    for await (const { type, data, rest, id, retryMs } of resumableEvents(body, limits, reopen, () => isAnswered)) {
      const place = { ...(id === null ? {} : { eventId: id }), ...(retryMs === null ? {} : { retryMs }) };
      if (type !== "message") {
        for await (const _ of rest ?? []);
        continue;
      }
      if (data === "") {
        yield { ...NOTHING, ...place };
        continue;
      }
      const read = rest === undefined ? data : await readLargeEvent({ data, rest }, LIMITS);
      const message = messageOf(read, deadline);
      if (message === null) throw new ExchangeBroken("not_mcp");
      isAnswered ||= !("method" in message.value);
      yield { ...message, ...place };
      // What nobody wanted stands before what comes next.
      for await (const _ of message.bytes ?? []);
    }
  } catch (thrown) {
    if (thrown instanceof ExchangeBroken) throw thrown;
    throw new ExchangeBroken(breakageOf(thrown, deadline, "reading"), thrown);
  }
}

/** Only names a place in the stream; no message is empty. */
const NOTHING: Received = { text: "", value: {} };

/** Opens a stream of a session again, as its server offers it. */
export function reopenWith(
  send: Send,
  { server_url, headers }: Pick<Target, "server_url" | "headers">,
  session: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Reopen {
  return async (lastEventId) => {
    const all = { ...headers, ...session, Accept: "text/event-stream", "Last-Event-ID": lastEventId };
    const response = await send({ url: server_url, method: "GET", headers: all, signal }, new URL(server_url).origin);
    const isStream = isEventStream(response.headers.get("Content-Type"));
    if (response.ok && isStream && response.body !== null) return response.body;
    await response.body?.cancel();
    return null;
  };
}

function messageOf(read: Read, deadline: Deadline): Received | null {
  if (typeof read === "string") return parseMessage(read);
  return { text: "", value: read.value, bytes: breaking(read.bytes, deadline) };
}

async function* breaking(bytes: AsyncGenerator<Uint8Array>, deadline: Deadline): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (thrown) {
    throw new ExchangeBroken(breakageOf(thrown, deadline, "reading"), thrown);
  }
}

/** A text as one JSON-RPC message; null when it is none. */
export function parseMessage(text: string): Received | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const isMessage = typeof value === "object" && value !== null && "jsonrpc" in value && value.jsonrpc === "2.0";
  return isMessage ? { text, value: value as JsonObject } : null;
}

/** Why a request or its answer broke, from what was thrown. */
export function breakageOf(thrown: unknown, deadline: Deadline, when: "before headers" | "reading"): Breakage {
  if (deadline.isOver()) return "timeout";
  if (deadline.signal.aborted) return "left";
  if (thrown instanceof StreamTooLarge || thrown instanceof TooLarge) return "too_large";
  if (thrown instanceof Error && thrown.name === "GatewayError") return "refused_here";
  if (thrown instanceof TypeError && when === "reading") return "not_mcp";
  return when === "before headers" ? "lost" : "cut";
}
