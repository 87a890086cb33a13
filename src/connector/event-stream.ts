/** Server-sent events as an upstream server writes them: any line ending, split anywhere, bounded (P-69, P-70, R-22). */

export interface StreamLimits {
  /** Characters of one event. */
  readonly event: number;
  /** Bytes of the whole stream. */
  readonly total: number;
}

/** An event or a stream went beyond its limit. */
export class StreamTooLarge extends Error {
  override readonly name = "StreamTooLarge";
}

/** One event. */
export interface StreamEvent {
  readonly type: string;
  /** Empty when the event only names a place in the stream, or how long to wait for the next one. */
  readonly data: string;
  /** What the server calls this place in the stream; null when it has not said. */
  readonly id: string | null;
  /** Milliseconds to wait before the stream is opened again, as said with this event. */
  readonly retryMs: number | null;
}

/**
 * The data of each event of type `message`, in order.
 *
 * @throws as `readTypedEvents`
 */
export async function* readEvents(body: ReadableStream<Uint8Array>, limits: StreamLimits): AsyncGenerator<string> {
  for await (const { type, data } of readTypedEvents(body, limits)) {
    if (type === "message" && data !== "") yield data;
  }
}

/**
 * Every event, in order. Events that say nothing are left out, and one that the end of the stream cut off is dropped. A
 * body that is bare JSON counts as one event.
 *
 * @throws StreamTooLarge; and whatever reading the body throws.
 */
export async function* readTypedEvents(
  body: ReadableStream<Uint8Array>,
  limits: StreamLimits,
): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  const parser = createParser();
  let total = 0;
  let buffer = "";
  let isBare: boolean | undefined;
  for await (const chunk of body) {
    total += chunk.length;
    if (total > limits.total) throw new StreamTooLarge(`more than ${limits.total} bytes`);
    buffer += decoder.decode(chunk, { stream: true });
    isBare ??= buffer.trim() === "" ? undefined : /^\s*[{[]/.test(buffer);
    if (isBare === false) {
      yield* parser.feed(buffer);
      buffer = "";
    }
    if (buffer.length + parser.pending() > limits.event)
      throw new StreamTooLarge(`more than ${limits.event} characters`);
  }
  if (isBare === true) yield { type: "message", data: buffer + decoder.decode(), id: null, retryMs: null };
}

/** Splits text into lines and lines into events; keeps what is not complete, and looks at each character once. */
function createParser() {
  let begun = "";
  let data: string[] = [];
  let size = 0;
  let type = "";
  let id: string | null = null;
  let retryMs: number | null = null;
  let afterReturn = false;

  function line(text: string, events: StreamEvent[]): void {
    if (text === "") {
      const isSaid = size > 0 || id !== null || retryMs !== null;
      if (isSaid) events.push({ type: type === "" ? "message" : type, data: data.join("\n"), id, retryMs });
      data = [];
      size = 0;
      type = "";
      id = null;
      retryMs = null;
      return;
    }
    const colon = text.indexOf(":");
    const field = colon === -1 ? text : text.slice(0, colon);
    const value = colon === -1 ? "" : text.slice(colon + (text[colon + 1] === " " ? 2 : 1));
    if (field === "data") {
      data.push(value);
      size += value.length;
    } else if (field === "event") type = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^\d{1,9}$/.test(value)) retryMs = Number(value);
  }

  return {
    /** Characters of the event that is being gathered. */
    pending: () => size + begun.length,

    /** The events that this text completes. */
    feed(text: string): StreamEvent[] {
      const events: StreamEvent[] = [];
      // A line feed that follows a carriage return ends no line of its own, also when it comes with the next chunk.
      let from = afterReturn && text.startsWith("\n") ? 1 : 0;
      if (text !== "") afterReturn = false;
      for (;;) {
        LINE_END.lastIndex = from;
        const end = LINE_END.exec(text);
        if (end === null) break;
        line(begun + text.slice(from, end.index), events);
        begun = "";
        from = LINE_END.lastIndex;
        afterReturn = end[0] === "\r" && from === text.length;
      }
      begun += text.slice(from);
      return events;
    },
  };
}

const LINE_END = /\r\n|\n|\r/g;
