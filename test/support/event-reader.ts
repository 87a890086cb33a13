/** Reading a stream of messages one by one, as a client does. */

/** A message as a test looks into it. */
// biome-ignore lint/suspicious/noExplicitAny: whatever a test expects there.
export type Message = any;

/** The JSON messages of a response's events, or of its one JSON body. */
export async function* readStream(response: Response): AsyncGenerator<Message, Message> {
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.includes("text/event-stream")) {
    yield (await response.json()) as Message;
    return {};
  }
  let buffer = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    buffer += chunk;
    for (;;) {
      const end = buffer.indexOf("\n\n");
      if (end === -1) break;
      const event = buffer.slice(0, end);
      buffer = buffer.slice(end + 2);
      const data = event
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trim());
      if (data.length > 0 && data.join("") !== "") yield JSON.parse(data.join("\n")) as Message;
    }
  }
  return {};
}
