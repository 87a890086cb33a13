/**
 * Round trips of generated messages through every cell of {client} x {server}: what the server got and what the client
 * got, byte for byte, against what was sent, but for what `test/support/era-limits.ts` lists.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import documented from "../../docs/eras.md?raw";
import { encodeHeaderValue } from "../../src/gateway/modern/header-value.ts";
import { POSTERN } from "../../src/platform/version.ts";
import { agentOf } from "../support/agent.ts";
import { type Era, isSet, leftOut, rows } from "../support/era-limits.ts";
import { startGateway } from "../support/gateway.ts";
import {
  contentList,
  fieldOf,
  having,
  just,
  listed,
  maybe,
  type ObjectText,
  objectText,
  render,
  stringText,
  valueText,
  without,
} from "../support/json-texts.ts";
import { idOf, raw, type Seen, scriptedServer } from "../support/upstream.ts";

const RUNS = 25;
const TOOL = '{"name":"a.b","inputSchema":{"type":"object"}}';
const EXPOSED = "docs__a_b_1d0c73dc";
const RESERVED = "io.modelcontextprotocol/";
const SERVER_INFO = '{"name":"scripted","version":"1"}';
const CLIENT_INFO = { name: "agent", version: "1" };
const TASKS = `${RESERVED}tasks`;
const AUTO_EXECUTE = "dev.postern/auto_execute";
const LEVELS = ["debug", "info", "warning", "emergency"];

/** How a client comes: a legacy one with a session or without. */
type Kind = "modern" | "session" | "plain";
const KINDS: readonly Kind[] = ["modern", "session", "plain"];
const ERAS: readonly Era[] = ["modern", "legacy"];
const CELLS = KINDS.flatMap((kind) => ERAS.map((server) => [kind, server] as const));
const eraOf = (kind: Kind): Era => (kind === "modern" ? "modern" : "legacy");

const meta = maybe(objectText({ "vendor.example/k": maybe(valueText), traceparent: maybe(just('"t"')) }));
const token = fc.constantFrom('"p-1"', "7", '"\\u0070"', "1.0");
const cacheable = { ttlMs: maybe(fc.constantFrom("0", "5000", "1.0", "-1", '"soon"', "1e400")), _meta: meta };

interface Method {
  readonly params: Readonly<Record<string, fc.Arbitrary<string | ObjectText | null>>>;
  readonly result: Readonly<Record<string, fc.Arbitrary<string | ObjectText | null>>>;
  /** Where `Mcp-Name` comes from. */
  readonly named?: "name" | "uri";
  readonly isCacheable?: true;
}

const METHODS: Readonly<Record<string, Method>> = {
  "tools/call": {
    params: { arguments: maybe(objectText({ region: valueText, nested: valueText })) },
    result: {
      content: maybe(contentList),
      structuredContent: maybe(fc.oneof(valueText, objectText({}))),
      isError: maybe(fc.constantFrom("true", "false")),
      ...{ _meta: meta, icons: maybe(valueText) },
    },
  },
  "prompts/get": {
    params: { name: fc.constantFrom('"p"', '"\\u0070 "', '"ü"'), arguments: maybe(objectText({ a: stringText })) },
    result: { description: maybe(stringText), messages: contentList, _meta: meta, structuredContent: maybe(valueText) },
    named: "name",
  },
  "resources/read": {
    params: { uri: fc.constantFrom('"a://b"', '"a:\\/\\/b?q=%20{x}"', '"a://ü"') },
    result: { contents: contentList, ...cacheable },
    ...{ named: "uri", isCacheable: true },
  },
  "resources/list": {
    params: { cursor: maybe(stringText) },
    result: { resources: listed("uri", '"a://b"'), nextCursor: maybe(stringText), ...cacheable },
    isCacheable: true,
  },
  "resources/templates/list": {
    params: {},
    result: { resourceTemplates: listed("uriTemplate", '"a://{+b}"'), ...cacheable },
    isCacheable: true,
  },
  "prompts/list": {
    params: { cursor: maybe(stringText) },
    result: { prompts: listed("name", '"p"'), nextCursor: maybe(just('""')), ...cacheable },
    isCacheable: true,
  },
  "completion/complete": {
    params: {
      ref: valueText,
      argument: objectText({ name: just('"a"'), value: stringText }),
      context: maybe(valueText),
    },
    result: { completion: objectText({ values: valueText, total: valueText }), _meta: meta },
  },
};

const NOTICES = ["notifications/progress", "notifications/message", "notifications/vendor.example"];

const notice = fc.constantFrom(...NOTICES).chain((method) =>
  objectText({
    jsonrpc: just('"2.0"'),
    method: just(JSON.stringify(method)),
    params: objectText({
      progressToken: just("0"),
      progress: fc.constantFrom("0.50", "1", "12345678901234567890"),
      level: fc.constantFrom(...LEVELS.map((level) => JSON.stringify(level))),
      data: valueText,
      _meta: meta,
    }),
  }),
);

/** One exchange: what the client sends, what the server answers, and in which forms. */
function exchangeOf(kind: Kind, server: Era, atAll: boolean) {
  return fc.constantFrom(...(atAll ? ["tools/call"] : Object.keys(METHODS))).chain((method) => {
    const { params, result } = METHODS[method] as Method;
    const envelope = {
      [`${RESERVED}protocolVersion`]: just('"2026-07-28"'),
      [`${RESERVED}clientCapabilities`]: objectText({
        extensions: maybe(fc.oneof(valueText, objectText({ [TASKS]: maybe(valueText), other: maybe(valueText) }))),
        experimental: maybe(valueText),
      }),
      [`${RESERVED}logLevel`]: maybe(fc.constantFrom(...LEVELS.map((level) => JSON.stringify(level)))),
    };
    const own = { progressToken: maybe(token), "vendor.example/x": maybe(valueText) };
    const requestMeta = kind === "modern" ? objectText({ ...envelope, ...own }) : maybe(objectText(own));
    const name = method === "tools/call" ? { name: just(atAll ? `"${EXPOSED}"` : '"a.b"') } : {};
    const cache = server === "modern" ? { cacheScope: maybe(fc.constantFrom('"public"', '"private"', "7")) } : {};
    const ended = server === "modern" ? { resultType: maybe(just('"complete"')), ...cache } : {};
    return fc.record({
      method: fc.constant(method),
      request: objectText({
        jsonrpc: just('"2.0"'),
        id: fc.constantFrom("1", '"c-1"', '"\\u0061"', "-5", "1.0", "12345678901234567890"),
        method: just(JSON.stringify(method)),
        params: objectText({ ...name, ...params, _meta: requestMeta }),
      }),
      answer: objectText({ jsonrpc: just('"2.0"'), id: just("0"), result: objectText({ ...result, ...ended }) }),
      notices: fc.array(notice, { maxLength: 3 }),
      /** A stream of the server, or one message. */
      isStream: fc.boolean(),
      accept: fc.constantFrom("application/json, text/event-stream", "application/json", "text/event-stream"),
      around: fc.constantFrom("", " ", "\n"),
    });
  });
}

type Exchange = ReturnType<typeof exchangeOf> extends fc.Arbitrary<infer T> ? T : never;

const objectAt = (object: ObjectText, key: string): ObjectText | undefined => {
  const value = fieldOf(object, key)?.value;
  return typeof value === "object" ? value : undefined;
};

/** The request as the server is to get it. @param ownId Its id at the server. */
function requestAt(kind: Kind, server: Era, { request }: Exchange, atAll: boolean, ownId: string): ObjectText {
  let params = objectAt(request, "params") as ObjectText;
  let own = objectAt(params, "_meta");
  if (atAll) params = having(params, { name: '"a.b"' });
  const isShared = server === "legacy" && kind !== "session";
  const keys = leftOut("request._meta", eraOf(kind), server);
  if (own !== undefined) {
    if (keys.includes(`${RESERVED}*`)) {
      own = without(own, ...own.fields.map(({ key }) => key).filter((key) => key.startsWith(RESERVED)));
    }
    const capabilities = objectAt(own, `${RESERVED}clientCapabilities`);
    if (keys.includes("clientCapabilities.extensions") && capabilities !== undefined) {
      const extensions = objectAt(capabilities, "extensions");
      const hasTasks = !atAll && extensions !== undefined && fieldOf(extensions, TASKS) !== undefined;
      const others = (extensions?.fields ?? []).map(({ key }) => key).filter((key) => key !== TASKS);
      const kept = hasTasks
        ? having(capabilities, { extensions: without(extensions, ...others) })
        : without(capabilities, "extensions");
      own = having(own, { [`${RESERVED}clientCapabilities`]: kept });
    }
    if (isShared && fieldOf(own, "progressToken") !== undefined) own = having(own, { progressToken: ownId });
  }
  if (isSet("request._meta", "clientInfo", eraOf(kind), server)) {
    const envelope = {
      [`${RESERVED}protocolVersion`]: '"2026-07-28"',
      [`${RESERVED}clientInfo`]: JSON.stringify(kind === "session" ? CLIENT_INFO : POSTERN),
      [`${RESERVED}clientCapabilities`]: "{}",
    };
    if (own === undefined) {
      const first = { key: "_meta", value: having({ fields: [], space: "" }, envelope), before: "", colon: ":" };
      const isAlone = params.fields.length === 0;
      params = { ...params, fields: [{ ...first, after: isAlone ? params.space : "" }, ...params.fields] };
    } else own = having(own, envelope);
  }
  if (own !== undefined) params = having(params, { _meta: own });
  return having(request, { params, ...(isShared ? { id: ownId } : {}) });
}

/** A result as the client is to get it. */
function resultAt(kind: Kind, server: Era, { method, answer, isStream }: Exchange): ObjectText {
  const client = eraOf(kind);
  const sent = objectAt(answer, "result") as ObjectText;
  const structured = fieldOf(sent, "structuredContent");
  const value = method !== "tools/call" || structured === undefined ? "{}" : render(structured.value);
  const isForeign = client === "legacy" && server === "modern" && !value.startsWith("{");
  const said = isStream ? lines(value) : value;
  const result = without(sent, ...leftOut("result", client, server), ...(isForeign ? ["structuredContent"] : []));
  const put: Record<string, string | ObjectText> = isForeign ? withText(sent, said) : {};
  if (isSet("result", "resultType", client, server) && fieldOf(result, "resultType") === undefined) {
    put["resultType"] = '"complete"';
  }
  if (METHODS[method]?.isCacheable && isSet("result", "cacheScope", client, server)) {
    put["cacheScope"] = '"private"';
    const stated = server === "modern" ? Number(fieldOf(result, "ttlMs")?.value ?? "none") : Number.NaN;
    if (!(Number.isInteger(stated) && stated >= 0)) put["ttlMs"] = "0";
  }
  if (isSet("result._meta", `${RESERVED}serverInfo`, client, server)) {
    const own = objectAt(result, "_meta") ?? { fields: [], space: "" };
    put["_meta"] = having(own, { [`${RESERVED}serverInfo`]: SERVER_INFO });
  }
  return having(result, put);
}

/** The content of a result that says the value in a text block. */
function withText(result: ObjectText, value: string): Record<string, string> {
  const content = render(fieldOf(result, "content")?.value ?? "[]");
  const blocks = JSON.parse(content) as { type?: unknown; text?: unknown }[];
  const same = (text: string) => {
    try {
      return JSON.stringify(JSON.parse(text)) === JSON.stringify(JSON.parse(value));
    } catch {
      return false;
    }
  };
  if (blocks.some(({ type, text }) => type === "text" && typeof text === "string" && same(text))) return {};
  const block = `{"type":"text","text":${JSON.stringify(value)}}`;
  return {
    content: content.replace(/(\s*)\]$/, (end) => (blocks.length === 0 ? `${block}${end}` : `,${block}${end}`)),
  };
}

const methodOf = (sent: ObjectText): unknown => JSON.parse(render(fieldOf(sent, "method")?.value ?? '""'));

/** A notification on the stream as the client is to get it; null: not at all. */
function noticeAt(kind: Kind, { request }: Exchange, sent: ObjectText): ObjectText | null {
  const requestMeta = objectAt(objectAt(request, "params") as ObjectText, "_meta");
  const params = objectAt(sent, "params") as ObjectText;
  const method = methodOf(sent);
  if (method === "notifications/progress") {
    const token = requestMeta === undefined ? undefined : fieldOf(requestMeta, "progressToken")?.value;
    return token === undefined ? null : having(sent, { params: having(params, { progressToken: token }) });
  }
  if (kind !== "modern") return kind === "session" ? sent : null;
  const levelIn = (object: ObjectText | undefined, key: string) =>
    LEVELS.indexOf(JSON.parse(render((object && fieldOf(object, key)?.value) ?? '""')));
  const asked = levelIn(requestMeta, `${RESERVED}logLevel`);
  return method === "notifications/message" && asked !== -1 && levelIn(params, "level") >= asked ? sent : null;
}

const lines = (text: string) => text.replace(/\r\n?/g, "\n");

/** The messages in an answer, as texts. */
async function messagesIn(response: Response): Promise<string[]> {
  const text = await response.text();
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) return [text];
  const events = text.split("\n\n").map((event) =>
    event
      .split("\n")
      .filter((line) => line.startsWith("data: "))
      .map((line) => line.slice(6)),
  );
  return events.filter((data) => data.length > 0).map((data) => data.join("\n"));
}

/** Messages as a stream whose lines end as they like. */
function streamOf(texts: readonly string[]): Response {
  const body = texts.map(
    (text) =>
      `${text
        .split(/\r\n|\r|\n/)
        .map((line) => `data:${line.startsWith(" ") ? " " : ""}${line}\r`)
        .join("")}\r\n`,
  );
  return new Response(body.join(""), { headers: { "Content-Type": "text/event-stream" } });
}

async function startCell(server: Era) {
  let plan: Exchange | undefined;
  const upstream = scriptedServer({
    era: server,
    tools: [TOOL],
    capabilities: { prompts: {}, resources: {}, completions: {}, logging: {} },
    first(seen) {
      if (plan === undefined || seen.message["method"] !== plan.method) return undefined;
      const { answer, notices, isStream, around } = plan;
      const last = `${around}${render(having(answer, { id: idOf(seen) }))}${around}`;
      if (!isStream) return raw(last);
      return streamOf([...notices.map((own) => render(withToken(own, seen))), last]);
    },
  });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs" });
  return {
    agent,
    gateway,
    upstream,
    play(next: Exchange) {
      plan = next;
      upstream.seen.length = 0;
    },
  };
}

function withToken(sent: ObjectText, { message }: Seen): ObjectText {
  if (methodOf(sent) !== "notifications/progress") return sent;
  const { _meta } = message["params"] as { _meta?: { progressToken?: unknown } };
  const token = JSON.stringify(_meta?.progressToken ?? "none");
  return having(sent, { params: having(objectAt(sent, "params") as ObjectText, { progressToken: token }) });
}

describe.each(CELLS)("between a %s client and a %s server", (kind, server) => {
  it.each(["/mcp/docs", "/mcp"])(
    "at %s a server gets what was sent and a client what was answered, byte for byte [P-33, P-41, P-42, P-43, R-24]",
    async (door) => {
      const { agent, gateway, upstream, play } = await startCell(server);
      const session = kind === "session" ? await agent.initialize(door) : {};
      await fc.assert(
        fc.asyncProperty(exchangeOf(kind, server, door === "/mcp"), async (exchange) => {
          play(exchange);
          const { method, request, answer, notices, isStream, accept, around } = exchange;
          const named = fieldOf(
            objectAt(request, "params") as ObjectText,
            method === "tools/call" ? "name" : (METHODS[method]?.named ?? ""),
          );
          const name = named === undefined ? {} : { "Mcp-Name": encodeHeaderValue(JSON.parse(render(named.value))) };
          const modern = { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, ...name };
          const headers = { ...(kind === "modern" ? modern : session), Accept: accept };
          const response = await agent.post(door, `${around}${render(request)}${around}`, headers);
          const got = await messagesIn(response);
          await gateway.settled();

          const seen = upstream.seen.find(({ message }) => message["method"] === method);
          expect(seen?.text, "the request").toBe(
            around + render(requestAt(kind, server, exchange, door === "/mcp", seen ? idOf(seen) : "")) + around,
          );
          const result = resultAt(kind, server, exchange);
          const last = around + render(having(answer, { result, id: fieldOf(request, "id")?.value ?? "" })) + around;
          const told = isStream && accept.includes("event-stream") ? notices : [];
          const before = told.map((own) => noticeAt(kind, exchange, own)).filter((own) => own !== null);
          const isText = !isStream && accept.includes("json");
          expect(got, "the answer").toEqual([...before.map(render), last].map(isText ? (text) => text : lines));
        }),
        { numRuns: RUNS },
      );
    },
  );
});

describe.each(["/mcp/docs", "/mcp"])("definitions at %s", (door) => {
  it.each(ERAS)("reach a %s client as their server has written them [P-41, P-42, P-43, P-47]", async (era) => {
    const schema = objectText({ type: just('"object"'), properties: just('{"a":{"$ref":"https://x.example/s"}}') });
    const outputSchema = maybe(fc.oneof(schema, just('{"type":"array"}')));
    const more = { title: maybe(stringText), annotations: maybe(valueText), icons: maybe(valueText), _meta: meta };
    const known = { name: just('"t"'), inputSchema: schema, outputSchema, ...more };
    const tools = fc.sample(objectText(known), 40).map((tool, at) => having(tool, { name: `"t${at}"` }));
    const upstream = scriptedServer({ era: "modern", tools: tools.map(render) });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const listed = await (await agent[era](door, "tools/list")).text();
    for (const [at, tool] of tools.entries()) {
      const output = fieldOf(tool, "outputSchema")?.value ?? "";
      const isForeign = era === "legacy" && render(output) === '{"type":"array"}';
      const gone = isForeign ? leftOut("definition", era, "modern") : [];
      const _meta = having(objectAt(tool, "_meta") ?? { fields: [], space: "" }, { [AUTO_EXECUTE]: "false" });
      const name = door === "/mcp" ? `"docs__t${at}"` : `"t${at}"`;
      expect(listed).toContain(render(having(without(tool, ...gone), { name, _meta })));
    }
  });
});

describe("what generated messages have brought to light", () => {
  it("a result that no tool gave keeps structuredContent of any type for a legacy client [P-42]", async () => {
    const { agent, play } = await startCell("modern");
    play(plainExchange("prompts/get", '{"messages":[],"structuredContent":[1.0]}'));
    const response = await agent.legacy("/mcp/docs", "prompts/get", { name: "p" });
    expect(await response.text()).toBe('{"jsonrpc":"2.0","id":1,"result":{"messages":[],"structuredContent":[1.0]}}');
  });

  it("a tool's value that is no object is there to read for a legacy client, once [protocol 3.5.4]", async () => {
    const { agent, play } = await startCell("modern");
    for (const [content, shown] of [
      ["[]", '[{"type":"text","text":"[1.0, 2]"}]'],
      ['[{"type":"text","text":"see"} ]', '[{"type":"text","text":"see"},{"type":"text","text":"[1.0, 2]"} ]'],
      ['[{"type":"text","text":" [1,2.0]"}]', '[{"type":"text","text":" [1,2.0]"}]'],
    ]) {
      play(plainExchange("tools/call", `{"resultType":"complete","content":${content},"structuredContent":[1.0, 2]}`));
      const response = await agent.legacy("/mcp/docs", "tools/call", { name: "a.b" });
      expect(await response.text()).toBe(`{"jsonrpc":"2.0","id":1,"result":{"content":${shown}}}`);
    }
  });

  it("a _meta that is no object is none, and breaks no message on its way to a modern server [P-41]", async () => {
    const { agent, upstream } = await startCell("modern");
    for (const own of ['"x"', "null", "[1]"]) {
      await agent.post(
        "/mcp/docs",
        `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a.b","_meta":${own}}}`,
      );
      const params = upstream.calls().at(-1)?.message["params"] as { _meta: Record<string, unknown> };
      expect(params._meta[`${RESERVED}protocolVersion`]).toBe("2026-07-28");
    }
  });

  it("a name that is written with escapes stays so at the door of its server [P-41]", async () => {
    const { agent, upstream } = await startCell("legacy");
    const session = await agent.initialize("/mcp/docs");
    const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\u0061.b"}}';
    await agent.post("/mcp/docs", body, session);
    expect(upstream.calls().at(-1)?.text).toBe(body);
  });

  it("a legacy server that names itself in a result is believed [P-42]", async () => {
    const { agent, play } = await startCell("legacy");
    const own = `"_meta": { "${RESERVED}serverInfo":{"name":"x"} }`;
    play(plainExchange("tools/call", `{"content":[],${own}}`));
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "a.b" });
    expect(await response.text()).toBe(
      `{"jsonrpc":"2.0","id":1,"result":{"content":[],${own},"resultType":"complete"}}`,
    );
  });

  function plainExchange(method: string, result: string): Exchange {
    const answer = having({ fields: [], space: "" }, { jsonrpc: '"2.0"', id: "0", result });
    const request = { fields: [], space: "" };
    return { method, request, answer, notices: [], isStream: false, accept: "application/json", around: "" };
  }
});

describe("the list of what an era cannot carry", () => {
  it("is the one in docs/eras.md", () => {
    const written = documented.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| Part"));
    expect(written).toEqual(rows());
  });
});
