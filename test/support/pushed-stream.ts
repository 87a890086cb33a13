/**
 * A stream of events on which a test says what it wants, when it wants. Whoever reads it looks for more: nothing is
 * resolved across the objects and requests that workerd keeps apart.
 */
export interface PushedStream {
  readonly response: Response;
  /** @param text The data of one event, in one line. */
  push(text: string): void;
  close(): void;
  /** Whether nobody reads it any more. */
  readonly isOver: () => boolean;
}

/** @param signal Breaks the stream. */
export function pushedStream(signal?: AbortSignal): PushedStream {
  const waiting: string[] = [];
  let isClosed = false;
  let isCancelled = false;
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const isIdle = () => waiting.length === 0 && !isClosed && !isCancelled && signal?.aborted !== true;
        while (isIdle()) await new Promise((resolve) => setTimeout(resolve, 5));
        if (signal?.aborted === true) return controller.error(new Error("the request was given up"));
        const next = waiting.shift();
        if (next !== undefined) controller.enqueue(encoder.encode(`data: ${next}\n\n`));
        else if (!isCancelled) controller.close();
      },
      cancel() {
        isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return {
    response: new Response(body, { headers: { "Content-Type": "text/event-stream" } }),
    push: (text) => waiting.push(text),
    close() {
      isClosed = true;
    },
    isOver: () => isCancelled || signal?.aborted === true,
  };
}
