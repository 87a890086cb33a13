/** Server-sent events as an upstream server writes them: any line ending, split anywhere, bounded (P-69, P-70, R-22). */
import { chunksOf } from "../platform/chunks.ts";

export interface StreamLimits {
  /** Characters of one event. */
  readonly event: number;
  /** Bytes of the whole stream. */
  readonly total: number;
  /** Characters from which on an event of a stream comes in pieces; left out: each comes whole, within its limit. */
  readonly large?: number;
}

/** An event or a stream went beyond its limit. */
export class StreamTooLarge extends Error {
  override readonly name = "StreamTooLarge";
}

/** The stream has ended within an event that had begun to come in pieces. */
export class StreamCut extends Error {
  override readonly name = "StreamCut";
}

/** One event. */
export interface StreamEvent {
  readonly type: string;
  /** Empty when the event only names a place in the stream, or how long to wait for the next one. Of a large event, its beginning. */
  readonly data: string;
  /** What the server calls this place in the stream; null when it has not said. */
  readonly id: string | null;
  /** Milliseconds to wait before the stream is opened again, as said with this event. */
  readonly retryMs: number | null;
  /** What follows of a large event. It must be read to its end before the next event is. */
  readonly rest?: AsyncGenerator<string>;
}

/**
 * Every event, in order. Events that say nothing are left out, and one that the end of the stream cut off is dropped. A
 * body that is bare JSON counts as one event, which comes whole.
 *
 * @throws StreamTooLarge; StreamCut from the rest of a large event; and whatever reading the body throws.
 */
export async function* readTypedEvents(
  body: ReadableStream<Uint8Array>,
  limits: StreamLimits,
): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  const parser = createParser();
  const { large = Number.POSITIVE_INFINITY } = limits;
  let total = 0;
  let buffer = "";
  let isBare: boolean | undefined;
  const chunks = chunksOf(body, () => true);

  /** The next piece of the stream as text; null at its end. */
  async function nextText(): Promise<string | null> {
    const { done, value } = await chunks.next();
    if (done === true) return null;
    total += value.length;
    if (total > limits.total) throw new StreamTooLarge(`more than ${limits.total} bytes`);
    return decoder.decode(value, { stream: true });
  }

  /** @param after Gets the events that end together with the large one. */
  async function* restOf(after: StreamEvent[]): AsyncGenerator<string> {
    for (;;) {
      const text = await nextText();
      if (text === null) throw new StreamCut("the stream ended within an event");
      const [own, ...others] = parser.feed(text);
      after.push(...others);
      if (own !== undefined) return yield own.data;
      const piece = parser.take();
      if (piece !== null) yield piece;
      if (parser.pending() > limits.event) throw new StreamTooLarge("a line that is no data");
    }
  }

  try {
    for (let text = await nextText(); text !== null; text = await nextText()) {
      buffer += text;
      isBare ??= buffer.trim() === "" ? undefined : /^\s*[{[]/.test(buffer);
      if (isBare === false) {
        yield* parser.feed(buffer);
        buffer = "";
        const data = parser.pending() > large ? parser.take() : null;
        if (data !== null) {
          const after: StreamEvent[] = [];
          yield { ...parser.known(), data, rest: restOf(after) };
          yield* after;
        }
      }
      if (buffer.length + parser.pending() > limits.event)
        throw new StreamTooLarge(`more than ${limits.event} characters`);
    }
  } finally {
    await chunks.return();
  }
  if (isBare === true) yield { type: "message", data: buffer + decoder.decode(), id: null, retryMs: null };
}

/** Splits text into lines and lines into events; keeps what is not complete, and looks at each character once. */
function createParser() {
  let begun = "";
  /** What has begun is further text of a data line, the rest of which has been taken. */
  let isWithin = false;
  let data: string[] = [];
  let size = 0;
  let hasData = false;
  let type = "";
  let id: string | null = null;
  let retryMs: number | null = null;
  let afterReturn = false;

  const typeOf = () => (type === "" ? "message" : type);

  function add(value: string): void {
    data.push(value);
    size += value.length;
    hasData ||= value !== "";
  }

  function line(text: string, events: StreamEvent[]): void {
    if (isWithin) {
      isWithin = false;
      add(text);
      return;
    }
    if (text === "") {
      const isSaid = hasData || id !== null || retryMs !== null;
      if (isSaid) events.push({ type: typeOf(), data: data.join("\n"), id, retryMs });
      data = [];
      size = 0;
      hasData = false;
      type = "";
      id = null;
      retryMs = null;
      return;
    }
    const colon = text.indexOf(":");
    const field = colon === -1 ? text : text.slice(0, colon);
    const value = colon === -1 ? "" : text.slice(colon + (text[colon + 1] === " " ? 2 : 1));
    if (field === "data") add(value);
    else if (field === "event") type = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^\d{1,9}$/.test(value)) retryMs = Number(value);
  }

  return {
    /** Characters of the event that is being gathered. */
    pending: () => size + begun.length,

    /** What else is known of that event so far. */
    known: () => ({ type: typeOf(), id, retryMs }),

    /** Takes the data of that event that is there so far; null while a line is not known to be data. */
    take(): string | null {
      const isData = begun.startsWith("data:") && begun.length > 5;
      if (!isWithin && begun !== "" && !isData) return null;
      const isLine = isWithin || isData;
      if (isLine) data.push(isWithin ? begun : begun.slice(begun[5] === " " ? 6 : 5));
      const text = data.join("\n");
      // A further line of data is set off from those that are gone.
      data = isLine || data.length === 0 ? [] : [""];
      isWithin = isLine;
      hasData = true;
      begun = "";
      size = 0;
      return text;
    },

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
