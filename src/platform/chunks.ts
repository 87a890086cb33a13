/** Bytes that are asked for at a time: the runtime gives what is there, and no more than this. */
const LEAST = 4 * 1024;
const MOST = 64 * 1024;

/**
 * A body in pieces that are worth their handling. The runtime's own pieces have 4 KiB; none of them is waited for longer.
 *
 * @param isSpent Whether a piece is done with when the next one is asked for, so that its memory can be used again: what
 *   is left to the garbage collector grows to many times of what is in use.
 */
export async function* chunksOf(
  body: ReadableStream<Uint8Array>,
  isSpent: () => boolean,
): AsyncGenerator<Uint8Array, void> {
  const reader = byteReaderOf(body);
  if (reader === null) return yield* body;
  try {
    let size = LEAST;
    let buffer = new ArrayBuffer(size);
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done === true) return;
      const isFull = value.length === size;
      yield value;
      if (isFull) size = Math.min(MOST, size * 2);
      buffer = isSpent() && value.buffer.byteLength === size ? value.buffer : new ArrayBuffer(size);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Null for a stream that is not one of bytes. */
function byteReaderOf(body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | null {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return null;
  }
}

/** Pieces as one; the piece itself where there is no other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  if (first !== undefined && parts.length === 1) return first;
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
