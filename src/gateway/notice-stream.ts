/**
 * Streams that stay open: the GET stream of a session, and what a modern client listens to. What they tell comes from a
 * server as it happens, and from the catalog when it has changed for this caller (P-14); they end when the caller may
 * not have them any more (P-15).
 */
import { admit } from "../access/admission.ts";
import { readTypedEvents } from "../connector/event-stream.ts";
import { MAX_MESSAGE_BYTES, parseMessage, type Received } from "../connector/exchange.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { resourceOf } from "../identity/resource.ts";
import { sha256Hex } from "../platform/hash.ts";
import { eventOf, KEEP_ALIVE, KEEP_ALIVE_MS, STREAM_HEADERS } from "./answer.ts";
import { visibleServer } from "./offered.ts";
import { authenticate, type DoorRequest, serverOfDoor } from "./request.ts";

/** How often it is looked whether anything has changed for the caller; in memory, most of the time. */
const LOOK_MS = 1_000;

export interface NoticeSource {
  readonly messages: AsyncGenerator<Received>;
  readonly stop: () => void;
}

export interface NoticeOptions {
  /** The server's notices; null: none. */
  readonly source: NoticeSource | null;
  /** Messages that come first. */
  readonly opening: readonly string[];
  /** A message of the server as this client may have it; null when it may not. */
  readonly shape: (received: Received) => string | null;
  /** The client may come back for what follows a place in the stream. */
  readonly namesPlaces?: boolean;
  /** Says that the caller's list of tools has changed; null: that is not wanted. */
  readonly changed: string | null;
  /** The last message, when the stream is ended here; null: there is no word for that. */
  readonly closing: string | null;
}

/** @param request Its signal ends the stream. */
export function streamNotices(request: DoorRequest, options: NoticeOptions): Response {
  // The runtime's own: a write to one whose reader has left fails, where a write to a `TransformStream` never settles.
  const { readable, writable } = new IdentityTransformStream();
  request.waitUntil(pump(request, options, writable.getWriter()));
  return new Response(readable, { headers: STREAM_HEADERS });
}

async function pump(
  request: DoorRequest,
  { source, opening, shape, namesPlaces = false, changed, closing }: NoticeOptions,
  writer: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  const encoder = new TextEncoder();
  const over = Promise.withResolvers<"left" | "ended">();
  const leave = () => over.resolve("left");
  const write = (text: string) => writer.write(encoder.encode(text)).catch(leave);
  writer.closed.catch(leave);
  request.signal.addEventListener("abort", leave);
  if (request.signal.aborted) leave();
  const look = lookAt(request);
  let isLooking = false;
  const looks = setInterval(async () => {
    if (isLooking) return;
    isLooking = true;
    const seen = await look().catch(() => "same" as const);
    if (seen === "gone") over.resolve("ended");
    // What a client does not read is not piled up for it; the next look sees what has changed by then.
    if (seen === "changed" && changed !== null) await write(eventOf(changed));
    isLooking = false;
  }, LOOK_MS);
  let isBeating = false;
  const beats = setInterval(async () => {
    if (isBeating) return;
    isBeating = true;
    await write(KEEP_ALIVE);
    isBeating = false;
  }, KEEP_ALIVE_MS);
  // A comment at once: the client learns that the stream is there before there is anything to say.
  const first = opening.length === 0 ? KEEP_ALIVE : opening.map((text) => eventOf(text)).join("");
  await Promise.race([write(first), over.promise]);
  if (source !== null) void read(source, over.resolve);
  const why = await over.promise;
  clearInterval(looks);
  clearInterval(beats);
  request.signal.removeEventListener("abort", leave);
  source?.stop();
  if (why === "left") return;
  if (closing !== null) await write(eventOf(closing));
  await writer.close().catch(() => undefined);

  async function read({ messages }: NoticeSource, end: (why: "ended") => void): Promise<void> {
    try {
      for await (const received of messages) {
        const text = shape(received);
        if (text !== null) await write(eventOf(text, namesPlaces ? received : {}));
      }
    } catch {
      // A stream that breaks ends ours as well: its client opens another.
    }
    end("ended");
  }
}

/** Looks whether the caller may still have the stream, and whether its list of tools is another one. */
function lookAt(request: DoorRequest): () => Promise<"same" | "changed" | "gone"> {
  const { services, headers, self, slug, waitUntil } = request;
  const resource = resourceOf(self, slug);
  let seen = request.snapshot.generation;
  let listed = listOf(request);
  const hadServer = visibleServer(request) !== null;
  return async () => {
    try {
      const { principal, snapshot } = await authenticate(services, headers, resource, waitUntil);
      const { registry, org } = snapshot.generation;
      if (registry === seen.registry && org === seen.org) return "same";
      const now = { ...request, principal, snapshot };
      if (hadServer && visibleServer(now) === null) return "gone";
      seen = snapshot.generation;
      const list = listOf(now);
      const isChanged = list !== listed;
      listed = list;
      return isChanged ? "changed" : "same";
    } catch (thrown) {
      const { code } = GatewayError.from(thrown);
      return code === "unauthorized" || code === "forbidden" ? "gone" : "same";
    }
  };
}

/** Names what a caller is shown at a door. */
function listOf(request: DoorRequest): string {
  const { principal, filters, snapshot } = request;
  const shown: string[] = [];
  for (const tool of (serverOfDoor(request) ?? snapshot).tools.values()) {
    if (!admit(principal, filters, tool.server, tool).allowed) continue;
    shown.push(`${tool.exposed_name} ${tool.definition_hash} ${tool.auto_execute}`);
  }
  return sha256Hex(shown.toSorted().join("\n"));
}

/** The messages of a stream, with their places in it; one without text only names its place. */
export async function* messagesIn(body: ReadableStream<Uint8Array>): AsyncGenerator<Received> {
  const limits = { event: MAX_MESSAGE_BYTES, total: Number.POSITIVE_INFINITY };
  for await (const { data, id, retryMs } of readTypedEvents(body, limits)) {
    const message = data === "" ? { text: "", value: {} } : parseMessage(data);
    if (message === null) continue;
    yield { ...message, ...(id === null ? {} : { eventId: id }), ...(retryMs === null ? {} : { retryMs }) };
  }
}
