/** An answer has more bytes than it may have. */
export class TooLarge extends Error {
  override readonly name = "TooLarge";
}

/**
 * The body of an answer as text, read whole.
 *
 * @param limit Bytes of the body as it is read: a compressed one counts with what it becomes.
 * @throws TooLarge; TypeError for bytes that are not UTF-8; and whatever reading the body throws.
 */
export async function readBounded(response: Response, limit: number): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  // A declared length is kept by the HTTP layer; it says nothing of what a compressed body becomes.
  const declared = response.headers.has("Content-Encoding") ? null : response.headers.get("Content-Length");
  if (declared !== null && Number(declared) <= limit) return decoder.decode(await response.arrayBuffer());
  let text = "";
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > limit) throw new TooLarge(`more than ${limit} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
