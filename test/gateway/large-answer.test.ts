import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Breakage, parseMessage } from "../../src/connector/exchange.ts";
import { beginningOf } from "../../src/connector/large-message.ts";
import { type ClientMessage, readShape } from "../../src/gateway/client-message.ts";
import type { ClientSide, ShapedResponse } from "../../src/gateway/client-side.ts";
import { passLarge } from "../../src/gateway/large-answer.ts";
import { legacyClient } from "../../src/gateway/legacy/client-side.ts";
import { modernClient } from "../../src/gateway/modern/client-side.ts";

const SIDES: Record<string, ClientSide> = { modern: modernClient, legacy: legacyClient };
const ERAS = ["modern", "legacy"] as const;
const CELLS = ERAS.flatMap((client) => ERAS.map((server) => ({ client, server })));
const SERVER_INFO = '{"name":"é","version":"1"}';

function requestOf(method: string): ClientMessage {
  const shape = readShape(`{"jsonrpc":"2.0","id":"c-1","method":"${method}","params":{}}`);
  if (shape.kind !== "message") throw new Error("no message");
  return shape.message;
}

const sourceOf = (era: "modern" | "legacy") => ({ era, status: 200, serverId: "srv", serverInfo: SERVER_INFO });

/** What comes out of the streamed way, and what the log gets to know. */
async function streamed(
  client: string,
  era: "modern" | "legacy",
  text: string,
  { method = "tools/call", size = text.length } = {},
): Promise<ShapedResponse | Breakage> {
  const message = requestOf(method);
  const from = sourceOf(era);
  const edits = SIDES[client]?.edits?.(from, message);
  if (edits === undefined) throw new Error("nothing is streamed to this client");
  const bytes = new TextEncoder().encode(text);
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const closeTask = (related: string) => related.replace("t-1", "t-1.mark");
  const events = passLarge(message, pieces(), { id: '"up-1"', edits, from, closeTask }, new AbortController());
  const decoder = new TextDecoder();
  let out = "";
  for (;;) {
    const { done, value } = await events.next();
    if (done === true) return typeof value === "string" ? value : { ...value, text: out };
    if (value.kind === "part") out += decoder.decode(value.bytes, { stream: true });
  }
}

function whole(client: string, era: "modern" | "legacy", text: string, method = "tools/call"): ShapedResponse {
  const received = parseMessage(text);
  const shaped = received === null ? undefined : SIDES[client]?.response(received, sourceOf(era), requestOf(method));
  if (shaped === undefined) throw new Error("no message");
  return shaped;
}

/** Without the white space between tokens. */
function squeezed(text: string): string {
  return text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
}

const space = fc.constantFrom("", "", " ", "\n", "\r\n\t");
const scalar = fc.oneof(
  fc.constantFrom("0", "-1.0", "12345678901234567890", "1e400", "true", "false", "null", '""', "[]", "{}", "[ ]"),
  fc.string({ unit: "grapheme" }).map((value) => JSON.stringify(value)),
  fc
    .constantFrom('"\\"', '"\\\\"', '"\\\\\\"}],"', '"\\u0041é\u2028😀"')
    .map((text) => (text === '"\\"' ? '"\\""' : text)),
);
const { value: json } = fc.letrec<{ value: string; list: string; object: string }>((tie) => ({
  value: fc.oneof({ depthSize: "small" }, scalar, tie("list"), tie("object")),
  list: fc
    .array(fc.tuple(space, tie("value"), space), { maxLength: 4 })
    .map((items) => `[${items.map((parts) => parts.join("")).join(",")}]`),
  object: fc
    .array(fc.tuple(fc.string(), space, tie("value"), space), { maxLength: 4 })
    .map(
      (members) => `{${members.map(([name, a, value, b]) => `${JSON.stringify(name)}:${a}${value}${b}`).join(",")}}`,
    ),
}));

/** An object of these members in any order, with more of other names. */
function objectOf(members: Record<string, fc.Arbitrary<string>>, required: string[]): fc.Arbitrary<string> {
  const more = fc.uniqueArray(
    fc.tuple(
      fc.string().filter((name) => !(name in members) && !["error", "method"].includes(name)),
      json,
    ),
    { maxLength: 3, selector: ([name]) => name },
  );
  return fc
    .tuple(
      fc.record(members, { requiredKeys: required }),
      more,
      fc.array(fc.tuple(space, space, space, space), { minLength: 12, maxLength: 12 }),
      fc.infiniteStream(fc.nat()),
    )
    .map(([own, others, spaces, order]) => {
      const all = [...Object.entries(own as Record<string, string>), ...others]
        .map((entry) => ({ entry, at: order.next().value as number }))
        .toSorted((a, b) => a.at - b.at)
        .map(({ entry: [name, value] }, index) => {
          const [a, b, c, d] = spaces[index] ?? ["", "", "", ""];
          return `${a}${JSON.stringify(name)}${b}:${c}${value}${d}`;
        });
      return `{${all.length === 0 ? (spaces[0]?.[0] ?? "") : all.join(",")}}`;
    });
}

const result = objectOf(
  {
    content: json,
    structuredContent: json,
    _meta: json,
    resultType: fc.constant('"complete"'),
    ttlMs: fc.oneof(json, fc.constantFrom("5", "-1", "1.5", "1e3")),
    cacheScope: json,
    isError: fc.constantFrom("true", "false", "null"),
  },
  [],
);
const message = fc
  .tuple(
    objectOf({ jsonrpc: fc.constant('"2.0"'), id: fc.constant('"up-1"'), result }, ["jsonrpc", "id", "result"]),
    space,
  )
  .map(([text, after]) => `${after}${text}${after}`);

describe.each(CELLS)("a $client client's large result of a $server server", ({ client, server }) => {
  it("is what a small one would be, wherever its bytes are cut [P-41, P-42, P-43, P-9, P-10]", async () => {
    const isDropping = client === "legacy" && server === "modern";
    const form = isDropping ? squeezed : (text: string) => text;
    await fc.assert(
      fc.asyncProperty(
        message,
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom("tools/call", "resources/read"),
        async (text, size, method) => {
          // What is put into the content instead is put there where the whole result is held.
          const { structuredContent: value } = JSON.parse(text).result;
          const isForeign =
            value !== undefined && (typeof value !== "object" || value === null || Array.isArray(value));
          fc.pre(!(isDropping && method === "tools/call" && isForeign));
          const expected = whole(client, server, text, method);
          const got = await streamed(client, server, text, { size, method });
          if (typeof got === "string") throw new Error(got);
          expect({ ...got, text: form(got.text) }).toEqual({ ...expected, text: form(expected.text), sent: "whole" });
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe("a large result that belongs to a task", () => {
  it.each(CELLS)("names it by the handle that its client has: $client client, $server server [P-21]", async (cell) => {
    const related = '"io.modelcontextprotocol/related-task":{"taskId":"t-1"}';
    const text = `{"jsonrpc":"2.0","id":"up-1","result":{"content":[],"_meta":{"a":{${related}},${related}}}}`;
    const got = await streamed(cell.client, cell.server, text, { size: 9 });
    if (typeof got === "string") throw new Error(got);
    expect(got.text).toContain(`"a":{${related}},${related.replace("t-1", "t-1.mark")}`);
  });
});

const RESULT = '"result":{"content":[{"type":"text","text":"hello"}]}';

describe("a large message that turns out to be no answer", () => {
  it.each([
    ["another id", `{"jsonrpc":"2.0",${RESULT},"id":"up-2"}`],
    ["no id", `{"jsonrpc":"2.0",${RESULT}}`],
    ["no JSON-RPC", `{${RESULT},"id":"up-1"}`],
    ["an error besides", `{"jsonrpc":"2.0","id":"up-1",${RESULT},"error":{"code":1,"message":"m"}}`],
    ["a second result", `{"jsonrpc":"2.0","id":"up-1",${RESULT},${RESULT}}`],
    ["a question", `{"jsonrpc":"2.0","id":"up-1",${RESULT.slice(0, -1)},"resultType":"input_required"}}`],
    ["something behind it", `{"jsonrpc":"2.0","id":"up-1",${RESULT}}x`],
    ["a comma too many", `{"jsonrpc":"2.0","id":"up-1",${RESULT},}`],
    ["a member without a value", `{"jsonrpc":"2.0","id":"up-1","x":,${RESULT}}`],
  ])("is broken off: %s [P-71, P-72]", async (_, text) => {
    expect(await streamed("modern", "modern", text, { size: 7 })).toBe("not_mcp");
  });

  it("is broken off where it ends too early [P-71]", async () => {
    expect(await streamed("modern", "modern", `{"jsonrpc":"2.0","id":"up-1",${RESULT}`)).toBe("cut");
  });

  it.each(["resultType", "isError", "ttlMs"])("is too large where %s is, and not held [P-69]", async (name) => {
    const text = `{"jsonrpc":"2.0","id":"up-1","result":{"${name}":"${"x".repeat(70_000)}"}}`;
    expect(await streamed("legacy", "modern", text)).toBe("too_large");
  });
});

describe("beginningOf", () => {
  const beginning = (text: string) => beginningOf([new TextEncoder().encode(text)]);

  it.each([
    ["a result whose end is not there", `{"result":{"content":["`, { result: {} }],
    ["an id that comes first", `{"jsonrpc":"2.0","id":7,"result":{"x"`, { jsonrpc: "2.0", id: 7, result: {} }],
    ["a result that says it is complete", `{"result":{"resultType":"complete","c":[`, { result: {} }],
    ["a result of another type", `{"result":{"resultType":"input_required","c":[`, null],
    ["a result with questions", `{"result":{"inputRequests":{"a":`, null],
    ["a result with a state", `{"result":{"requestState":"`, null],
    ["a result that is no object", `{"result":[{`, null],
    ["an error", `{"id":1,"error":{"data":"`, null],
    ["a notification", `{"method":"notifications/progress","params":{"message":"`, null],
    ["a result that has not begun", `{"id":1,"x":"`, null],
    ["what is no JSON object", `[{"result":{"`, null],
    ["a byte order mark", `\ufeff{"result":{"`, null],
  ])("knows %s", (_, text, expected) => {
    expect(beginning(text)).toEqual(expected);
  });
});
