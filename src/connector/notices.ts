/** What a server says that belongs to no request: a legacy one on the GET stream of a session, a modern one to a listener. */
import { isEventStream, isJson } from "../http/body.ts";
import { isObject } from "../platform/json-value.ts";
import { type Line, sessionHeaders, type UpstreamSession } from "./ask.ts";
import { OWN_ENVELOPE } from "./envelope.ts";
import { readTypedEvents } from "./event-stream.ts";
import { MAX_MESSAGE_BYTES, parseMessage, type Received } from "./exchange.ts";
import { MODERN_REVISION } from "./revisions.ts";

export type NoticesOpened =
  | { readonly ok: true; readonly messages: AsyncGenerator<Received> }
  /** @param status Null: it could not be reached. */
  | { readonly ok: false; readonly status: number | null };

/** @param line Its time counts until the stream begins. @param signal Ends the stream. */
export async function openSessionNotices(
  { send, target, timeoutMs }: Line,
  session: UpstreamSession,
  signal: AbortSignal,
): Promise<NoticesOpened> {
  const headers = { ...target.headers, ...sessionHeaders(session), Accept: "text/event-stream" };
  return open(timeoutMs, signal, (within) =>
    send({ url: target.server_url, method: "GET", headers, signal: within }, new URL(target.server_url).origin),
  );
}

/**
 * Listens to a modern server for changes of its lists and of some resources.
 *
 * @param asked JSON text of the kinds of notices (protocol.md 2.6).
 */
export async function openListener(
  { send, target, timeoutMs }: Line,
  asked: string,
  signal: AbortSignal,
): Promise<NoticesOpened> {
  const method = "subscriptions/listen";
  const meta = JSON.stringify(OWN_ENVELOPE);
  const id = JSON.stringify(crypto.randomUUID());
  const body = `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{"notifications":${asked},"_meta":${meta}}}`;
  const headers = {
    ...target.headers,
    "MCP-Protocol-Version": MODERN_REVISION,
    "Mcp-Method": method,
    Accept: "application/json, text/event-stream",
    "Content-Type": "application/json",
  };
  return open(timeoutMs, signal, (within) =>
    send({ url: target.server_url, method: "POST", headers, body, signal: within }, new URL(target.server_url).origin),
  );
}

async function open(
  timeoutMs: number,
  signal: AbortSignal,
  request: (signal: AbortSignal) => Promise<Response>,
): Promise<NoticesOpened> {
  const controller = new AbortController();
  const abort = () => controller.abort();
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  const timer = setTimeout(abort, timeoutMs);
  try {
    const response = await request(controller.signal);
    const type = response.headers.get("Content-Type") ?? "";
    if (response.ok && response.body !== null && isEventStream(type)) {
      return { ok: true, messages: messagesOf(response.body) };
    }
    await response.body?.cancel();
    // A refusal of JSON-RPC comes with 200 where the method is not known to a server of the legacy era.
    return { ok: false, status: response.ok && isJson(type) ? 404 : response.status };
  } catch {
    return { ok: false, status: null };
  } finally {
    clearTimeout(timer);
  }
}

async function* messagesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Received> {
  const limits = { event: MAX_MESSAGE_BYTES, total: Number.POSITIVE_INFINITY };
  for await (const { type, data } of readTypedEvents(body, limits)) {
    const message = type === "message" ? parseMessage(data) : null;
    if (message !== null) yield message;
  }
}

/** The kind that a notice is of, in the words of a listener's filter; null for what no listener is told. */
export function kindOf({
  value,
}: Received): "toolsListChanged" | "promptsListChanged" | "resourcesListChanged" | { readonly uri: string } | null {
  switch (value["method"]) {
    case "notifications/tools/list_changed":
      return "toolsListChanged";
    case "notifications/prompts/list_changed":
      return "promptsListChanged";
    case "notifications/resources/list_changed":
      return "resourcesListChanged";
    case "notifications/resources/updated": {
      const { params } = value;
      return isObject(params) && typeof params["uri"] === "string" ? { uri: params["uri"] } : null;
    }
    default:
      return null;
  }
}

/** Messages from where they come in to where they are listened to; those that nobody listens to are dropped. */
export function createNoticed() {
  const listeners = new Set<(received: Received | null) => void>();

  /** Listens from now on, also before the first message is asked for. */
  function listen(signal: AbortSignal): AsyncGenerator<Received> {
    const waiting: (Received | null)[] = [];
    let wake = () => {};
    const put = (received: Received | null) => {
      waiting.push(received);
      wake();
    };
    const stop = () => put(null);
    listeners.add(put);
    signal.addEventListener("abort", stop);
    return read();

    async function* read(): AsyncGenerator<Received> {
      try {
        for (;;) {
          const next = waiting.shift();
          if (next === null) return;
          if (next !== undefined) yield next;
          else {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      } finally {
        listeners.delete(put);
        signal.removeEventListener("abort", stop);
      }
    }
  }

  return {
    listen,
    isHeard: () => listeners.size > 0,
    put(received: Received): void {
      for (const listener of listeners) listener(received);
    },
    /** Ends every listening. */
    end(): void {
      for (const listener of listeners) listener(null);
    },
  };
}
