import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTypedEvents, StreamCut, StreamTooLarge } from "../../src/connector/event-stream.ts";

const LIMITS = { event: 10_000, total: 100_000 };

/** A body that arrives in pieces of this many bytes. */
function bodyOf(text: string, size = text.length || 1): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
}

async function read(text: string, size?: number, limits = LIMITS): Promise<string[]> {
  const found: string[] = [];
  for await (const { type, data } of readTypedEvents(bodyOf(text, size), limits)) {
    if (type === "message" && data !== "") found.push(data);
  }
  return found;
}

describe("messages in a stream", () => {
  it.each([
    ["one event", "data: a\n\n", ["a"]],
    ["carriage returns", "data: a\r\rdata: b\r\n\r\n", ["a", "b"]],
    ["a byte order mark", "\ufeffdata: a\n\n", ["a"]],
    ["comments, ids and retry times", ": hi\nid: 1\nretry: 5\ndata: a\n\n", ["a"]],
    ["an event that only announces an id", "id: 1\ndata:\n\ndata: a\n\n", ["a"]],
    ["several data lines", "data: a\ndata:b\ndata:  c\n\n", ["a\nb\n c"]],
    ["another type of event", "event: ping\ndata: x\n\nevent: message\ndata: a\n\n", ["a"]],
    ["an event that the end cut off", "data: a\n\ndata: b\n", ["a"]],
    ["bare JSON [R-22]", ' {"a":\n1}\n', [' {"a":\n1}\n']],
    ["nothing", "", []],
  ])("reads %s", async (_, text, expected) => {
    for (const size of [text.length || 1, 1, 2, 3])
      expect(await read(text, size), `pieces of ${size}`).toEqual(expected);
  });

  it("gives back what was written, with any line ending and split anywhere [P-70]", async () => {
    const lines = fc.array(
      fc.string({ unit: "grapheme" }).map((text) => `x${text.replaceAll(/[\r\n]/g, "")}`),
      { minLength: 1 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(lines),
        fc.constantFrom("\n", "\r", "\r\n"),
        fc.integer({ min: 1, max: 9 }),
        async (written, end, size) => {
          const text = written.map((event) => event.map((line) => `data: ${line}${end}`).join("") + end).join("");
          expect(await read(text, size)).toEqual(written.map((event) => event.join("\n")));
        },
      ),
    );
  });

  it("reads a long line in small pieces without looking at what it has read again", async () => {
    const long = "x".repeat(8 * 1024 * 1024);
    const limits = { event: 2 * long.length, total: 2 * long.length };
    const found = await read(`data: ${long}\n\n`, 1024, limits);
    expect(found.map((event) => event === long)).toEqual([true]);
  });

  it.each([
    ["an event beyond its limit", `data: ${"x".repeat(50)}\n\n`],
    ["an event of many lines beyond its limit", "data: xxxxxxxxxx\n".repeat(6)],
    ["a stream beyond its limit", "data: xxxxxxxxxx\n\n".repeat(20)],
    ["bare JSON beyond its limit", `{"a":"${"x".repeat(50)}"}`],
  ])("stops at %s", async (_, text) => {
    await expect(read(text, 7, { event: 40, total: 200 })).rejects.toThrow(StreamTooLarge);
  });
});

describe("an event that is large", () => {
  /** The events of a text, with their pieces put together, and how many came in pieces. */
  async function inPieces(text: string, size: number, large: number) {
    const found: string[] = [];
    let many = 0;
    for await (const { data, rest } of readTypedEvents(bodyOf(text, size), { ...LIMITS, large })) {
      let whole = data;
      if (rest !== undefined) many++;
      for await (const piece of rest ?? []) whole += piece;
      if (whole !== "") found.push(whole);
    }
    return { found, many };
  }

  it("comes in pieces that are what it would be whole, wherever it is cut [P-70]", async () => {
    const line = fc.oneof(
      fc.string({ unit: "grapheme" }).map((text) => `data: ${text.replace(/[\r\n]/g, "")}`),
      fc.constantFrom("data:x", "data", "data:", ": comment", "id: 7", "", "", "retry: 1"),
    );
    const stream = fc.array(fc.tuple(line, fc.constantFrom("\n", "\r", "\r\n")), { maxLength: 20 });
    let many = 0;
    await fc.assert(
      fc.asyncProperty(stream, fc.nat({ max: 12 }), fc.integer({ min: 6, max: 20 }), async (lines, size, large) => {
        const text = `: begins\n${lines.map((parts) => parts.join("")).join("")}\n\n`;
        const pieces = await inPieces(text, size + 1, large);
        expect(pieces.found).toEqual(await read(text));
        many += pieces.many;
      }),
      { numRuns: 500 },
    );
    expect(many).toBeGreaterThan(0);
  });

  it("throws where the stream ends within it [P-71]", async () => {
    await expect(inPieces("data: a long piece of data", 5, 3)).rejects.toThrow(StreamCut);
  });

  it("is not held to the limit of an event, and is to that of the stream [P-69, PS-32]", async () => {
    const text = (size: number) => `data: ${"x".repeat(size)}\n\n`;
    expect((await inPieces(text(50_000), 1_000, 100)).found.map(({ length }) => length)).toEqual([50_000]);
    await expect(inPieces(text(100_001), 1_000, 100)).rejects.toThrow(StreamTooLarge);
  });
});
