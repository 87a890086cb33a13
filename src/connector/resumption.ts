/**
 * Streams that a server may close before it has answered, to be opened again where they ended (2025-11-25, P-37;
 * protocol.md 4.2). Only a server that names the places in its stream offers that.
 */
import { readTypedEvents, type StreamEvent, type StreamLimits } from "./event-stream.ts";

/** Opens the stream again behind a place in it; null when the server does not. */
export type Reopen = (lastEventId: string) => Promise<ReadableStream<Uint8Array> | null>;

/** How long is waited when a server does not say, and at most. */
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** How often a stream is opened again that brings nothing. */
const MAX_IDLE_TRIES = 5;

/**
 * The events of a stream, over all of its parts.
 *
 * @param isOver Whether the stream has brought what was waited for: then its end is the end.
 * @throws as `readTypedEvents`, where the stream cannot be opened again.
 */
export async function* resumableEvents(
  first: ReadableStream<Uint8Array>,
  limits: StreamLimits,
  reopen: Reopen | null,
  isOver: () => boolean,
): AsyncGenerator<StreamEvent> {
  let body = first;
  let last: string | null = null;
  let retryMs = RETRY_MS;
  for (let idle = 0; ; idle++) {
    let broken: unknown;
    try {
      for await (const event of readTypedEvents(body, limits)) {
        last = event.id ?? last;
        retryMs = Math.min(event.retryMs ?? retryMs, MAX_RETRY_MS);
        if (event.data !== "") idle = 0;
        yield event;
      }
    } catch (thrown) {
      broken = thrown;
    }
    const again: ReadableStream<Uint8Array> | null =
      reopen === null || last === null || isOver() || idle >= MAX_IDLE_TRIES
        ? null
        : await later(reopen, last, retryMs);
    if (again !== null) body = again;
    else if (broken !== undefined) throw broken;
    else return;
  }
}

async function later(reopen: Reopen, last: string, retryMs: number): Promise<ReadableStream<Uint8Array> | null> {
  await new Promise((resolve) => setTimeout(resolve, retryMs));
  return reopen(last);
}
