/** An answer that is made while it is sent: text of any length, of which only a part is ever held. */
export interface TextStream {
  readonly mediaType: string;
  /** What a browser calls the file. */
  readonly fileName: string;
  readonly chunks: AsyncIterator<string, unknown>;
}

/**
 * The response of a stream. The next part is made when the client has taken the one before it. What fails before the
 * first part is thrown, so that it can be told; what fails later breaks the connection off, so that nobody takes a part
 * for the whole.
 */
export async function streamResponse({ mediaType, fileName, chunks }: TextStream, status: number): Promise<Response> {
  const encoder = new TextEncoder();
  let next: IteratorResult<string, unknown> | undefined = await chunks.next();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const part = next ?? (await chunks.next());
        next = undefined;
        if (part.done === true) controller.close();
        else controller.enqueue(encoder.encode(part.value));
      },
      async cancel() {
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  const headers = { "Content-Type": mediaType, "Content-Disposition": `attachment; filename="${fileName}"` };
  return new Response(body, { status, headers });
}
