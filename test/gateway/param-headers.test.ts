import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ParamHeader } from "../../src/catalog/param-headers.ts";
import { decodeHeaderValue, encodeHeaderValue } from "../../src/gateway/modern/header-value.ts";
import { misfitParam, paramHeadersFrom } from "../../src/gateway/param-headers.ts";
import { agentOf } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { callsOf } from "../support/execute.ts";
import { startGateway } from "../support/gateway.ts";
import { resultOf, rpcError, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const REGION: ParamHeader = { name: "Region", path: ["region"], isNumber: false };
const COUNT: ParamHeader = { name: "Count", path: ["page", "count"], isNumber: true };
const OPEN: ParamHeader = { name: "Open", path: ["open"], isNumber: false };

describe("the value of a header", () => {
  it.each([
    ["eu-north", "eu-north"],
    ["a\tb c", "a\tb c"],
    ["", "=?base64??="],
    [" outer", `=?base64?${btoa(" outer")}?=`],
    ["é", "=?base64?w6k=?="],
    ["a\nb", `=?base64?${btoa("a\nb")}?=`],
    ["=?base64?eA==?=", `=?base64?${btoa("=?base64?eA==?=")}?=`],
  ])("%j travels as %j, and comes back", (value, header) => {
    expect(encodeHeaderValue(value)).toBe(header);
    expect(decodeHeaderValue(header)).toBe(value);
  });

  it("comes back whatever it is", () => {
    const header = (value: string) => new Headers({ "Mcp-Param-X": encodeHeaderValue(value) }).get("Mcp-Param-X") ?? "";
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => decodeHeaderValue(header(text)) === text));
  });

  it.each([["=?base64?eA=?="], ["=?base64?/w==?="], ["=?base64?e A=?="]])("%s is undecodable", (header) => {
    expect(decodeHeaderValue(header)).toBeNull();
  });
});

describe("headers made from arguments", () => {
  it.each<[unknown, Record<string, string>]>([
    [{ region: "eu", page: { count: 42 }, open: false }, {}],
    [{ region: null, page: null }, {}],
    [undefined, {}],
    [{ region: ["eu"], page: { count: 2 ** 60 }, open: {} }, {}],
    [{ region: "é" }, {}],
  ])("of %j fit them, and say the rest by being absent", (args) => {
    const made = paramHeadersFrom([REGION, COUNT, OPEN], args);
    expect(misfitParam([REGION, COUNT, OPEN], args, new Headers(made))).toBeNull();
  });

  it("are there for what has a value of its own", () => {
    const args = { region: "eu", page: { count: 42.0 }, open: false };
    expect(paramHeadersFrom([REGION, COUNT, OPEN], args)).toEqual({
      "mcp-param-region": "eu",
      "mcp-param-count": "42",
      "mcp-param-open": "false",
    });
    expect(paramHeadersFrom([{ name: "X", path: ["constructor", "name"], isNumber: false }], {})).toEqual({});
  });

  it("fit whatever the arguments are", () => {
    const value = fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.boolean(), fc.constant(null), fc.double());
    const args = fc.record({ region: value, page: fc.record({ count: value }), open: value }, { requiredKeys: [] });
    fc.assert(
      fc.property(args, (given) => {
        const made = new Headers(paramHeadersFrom([REGION, COUNT, OPEN], given));
        expect(misfitParam([REGION, COUNT, OPEN], given, made)).toBeNull();
      }),
    );
  });
});

/** A tool whose argument travels as that header too. */
const tool = (header: unknown, type = "string") =>
  JSON.stringify({
    name: "search",
    inputSchema: {
      type: "object",
      properties: { region: { type, "x-mcp-header": header }, page: { type: "object", properties: {} } },
    },
  });

async function startDocs(tools: string[], era: Script["era"] = "modern", call?: Script["call"]) {
  const upstream = scriptedServer({ era, tools, ...(call === undefined ? {} : { call }) });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs", allowed_tools: ["*"] });
  const callTool = (args: object, headers: Record<string, string>, door = "/mcp/docs") =>
    agent.modern(
      door,
      "tools/call",
      { name: door === "/mcp" ? "docs__search" : "search", arguments: args },
      { headers },
    );
  upstream.seen.length = 0;
  return { upstream, gateway, agent, callTool };
}

const paramsOf = ({ headers }: Seen) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith("mcp-param-")));

describe("a modern call of a tool with an annotated argument (rung 3.3.13)", () => {
  const encoded = (value: string) => `=?base64?${btoa(value)}?=`;
  it.each<[string, string, object, Record<string, string>]>([
    ["no header", "string", { region: "eu" }, {}],
    ["another value", "string", { region: "eu" }, { "Mcp-Param-Region": "us" }],
    ["another case", "string", { region: "eu" }, { "Mcp-Param-Region": "EU" }],
    ["another value, encoded", "string", { region: "eu" }, { "Mcp-Param-Region": encoded("us") }],
    ["bad padding", "string", { region: "eu" }, { "Mcp-Param-Region": "=?base64?ZXU?=" }],
    ["the header twice", "string", { region: "eu" }, { "Mcp-Param-Region": "eu, eu" }],
    ["another number", "integer", { region: 42 }, { "Mcp-Param-Region": "43" }],
    ["a number in words", "integer", { region: 42 }, { "Mcp-Param-Region": "0x2A" }],
    ["a number as text, spelled otherwise", "string", { region: "42" }, { "Mcp-Param-Region": "42.0" }],
    ["another truth", "boolean", { region: true }, { "Mcp-Param-Region": "True" }],
  ])("is refused with %s, at both doors [P-1, P-46]", async (_, type, args, headers) => {
    const { upstream, agent, callTool } = await startDocs([tool("Region", type)]);
    for (const door of ["/mcp", "/mcp/docs"]) {
      const response = await callTool(args, headers, door);
      expect(response.status).toBe(400);
      const message = "Mcp-Param-Region is missing or differs from the body.";
      expect(await response.json()).toEqual({ jsonrpc: "2.0", id: 1, error: { code: -32020, message } });
    }
    expect(upstream.seen).toEqual([]);
    const row = { ok: false, outcome: "refused", attempts: 0, tool: "search" };
    expect(await agent.rows()).toMatchObject([row, row]);
  });

  it.each<[string, string, object, Record<string, string>]>([
    ["the value", "string", { region: "eu" }, { "Mcp-Param-Region": "eu" }],
    ["the value in base64", "string", { region: "eu" }, { "mcp-param-region": encoded("eu") }],
    ["a number spelled otherwise", "integer", { region: 42 }, { "Mcp-Param-Region": "42.0" }],
    ["a fraction", "number", { region: 0.5 }, { "Mcp-Param-Region": "0.50" }],
    ["no header for null", "string", { region: null }, {}],
    ["no header for nothing", "string", {}, {}],
    [
      "a header that nobody has asked for",
      "string",
      { region: "eu" },
      { "Mcp-Param-Region": "eu", "Mcp-Param-Z": "a b" },
    ],
  ])("goes on with %s, headers as they came [P-45]", async (_, type, args, headers) => {
    const { upstream, callTool } = await startDocs([tool("Region", type)]);
    for (const door of ["/mcp", "/mcp/docs"]) expect((await callTool(args, headers, door)).status).toBe(200);
    const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    expect(upstream.calls().map(paramsOf)).toEqual([sent, sent]);
  });

  it("is judged by the definition that was approved, after admission [P-2]", async () => {
    const { upstream, gateway, callTool, agent } = await startDocs([tool("Region")]);
    upstream.change({ tools: [tool("Area")] });
    await accepted(await gateway.admin("POST", `/v1/servers/${agent.server_id}/discover`));
    expect((await callTool({ region: "eu" }, { "Mcp-Param-Area": "eu" })).status).toBe(400);
    const unknown = await agent.modern("/mcp/docs", "tools/call", { name: "other", arguments: { region: "eu" } });
    expect([unknown.status, await unknown.text()]).toEqual([200, expect.stringContaining("-32602")]);
  });
});

describe("a call without headers of its own", () => {
  it.each(["/mcp", "/mcp/docs"])(
    "gets them from its arguments at %s, and its own mean nothing [P-45]",
    async (door) => {
      const { upstream, agent } = await startDocs([tool("Region")]);
      const name = door === "/mcp" ? "docs__search" : "search";
      const own = { "Mcp-Param-Region": "us", "Mcp-Param-Other": "x" };
      await agent.legacy(door, "tools/call", { name, arguments: { region: "zürich" } }, own);
      await agent.legacy(door, "tools/call", { name, arguments: { page: {} } }, own);
      const sent = upstream.calls().map(paramsOf);
      expect(sent).toEqual([{ "mcp-param-region": encodeHeaderValue("zürich") }, {}]);
    },
  );

  it("gets them at the execute door too", async () => {
    const { upstream, gateway, agent } = await startDocs([tool("Region")]);
    const { chat } = callsOf(gateway, { "x-bf-vk": agent.key.value });
    expect((await chat("docs__search", '{"region":"eu"}')).status).toBe(200);
    expect(upstream.calls().map(paramsOf)).toEqual([{ "mcp-param-region": "eu" }]);
  });

  it("sends a legacy server none", async () => {
    const { upstream, agent, callTool } = await startDocs([tool("Region")], "legacy");
    await callTool({ region: "eu" }, { "Mcp-Param-Region": "eu" });
    await agent.legacy("/mcp/docs", "tools/call", { name: "search", arguments: { region: "eu" } });
    expect(upstream.calls().map(paramsOf)).toEqual([{}, {}]);
  });
});

describe("a server that goes by another definition than the one approved", () => {
  /** Wants `Mcp-Param-Area`, as its present definition says. */
  const wantsArea: Script["call"] = (seen) =>
    seen.headers.get("Mcp-Param-Area") === "eu"
      ? resultOf(seen, '{"content":[]}')
      : rpcError(seen.message, -32020, 400);

  it("is understood after one refusal, which no client sees [P-39]", async () => {
    const { upstream, agent, callTool } = await startDocs([tool("Region")], "modern", wantsArea);
    upstream.change({ tools: [tool("Area")] });
    const first = await callTool({ region: "eu" }, { "Mcp-Param-Region": "eu" });
    expect(await first.json()).toMatchObject({ id: 1, result: { content: [], resultType: "complete" } });
    expect(upstream.seen.map(({ message }) => message["method"])).toEqual([
      "tools/call",
      "server/discover",
      "tools/list",
      "tools/call",
    ]);
    upstream.seen.length = 0;
    await callTool({ region: "eu" }, { "Mcp-Param-Region": "eu" });
    await agent.legacy("/mcp/docs", "tools/call", { name: "search", arguments: { region: "eu" } });
    expect(
      upstream.seen.map(({ message }) => message["method"]),
      "it has been learnt",
    ).toEqual(["tools/call", "tools/call"]);
    expect(upstream.seen.map(paramsOf)).toEqual([
      { "mcp-param-region": "eu", "mcp-param-area": "eu" },
      { "mcp-param-area": "eu" },
    ]);
    expect(await agent.rows()).toMatchObject([
      { ok: true, attempts: 1 },
      { ok: true, attempts: 1 },
      { ok: true, attempts: 2 },
    ]);
  });

  it("that never agrees is asked twice, and the client hears of it in our words [P-39, P-22]", async () => {
    const never: Script["call"] = ({ message }) => rpcError(message, -32020, 400);
    const { upstream, gateway, agent, callTool } = await startDocs([tool("Region")], "modern", never);
    const failure = {
      isError: true,
      content: [
        {
          type: "text",
          text: "Tool execution failed for search. The server and the gateway do not agree about the headers of this call.",
        },
      ],
    };
    const modern = await callTool({ region: "eu" }, { "Mcp-Param-Region": "eu" });
    expect([modern.status, await modern.json()]).toMatchObject([200, { result: failure }]);
    expect(upstream.calls()).toHaveLength(2);
    const legacy = await agent.legacy("/mcp/docs", "tools/call", { name: "search", arguments: { region: "eu" } });
    expect(await legacy.json()).toMatchObject({ result: failure });
    const { chat } = callsOf(gateway, { "x-bf-vk": agent.key.value });
    expect((await chat("docs__search", '{"region":"eu"}')).status).toBe(502);
    expect(upstream.calls()).toHaveLength(6);
  });

  it("that forgets its annotation needs nothing", async () => {
    const none: Script["call"] = (seen) =>
      seen.headers.has("Mcp-Param-Region") ? rpcError(seen.message, -32020, 400) : resultOf(seen, '{"content":[]}');
    const { upstream, agent } = await startDocs([tool("Region")], "modern", none);
    upstream.change({ tools: ['{"name":"search"}'] });
    const response = await agent.legacy("/mcp/docs", "tools/call", { name: "search", arguments: { region: "eu" } });
    expect(await response.json()).toMatchObject({ result: { content: [] } });
    expect(upstream.calls().map(paramsOf)).toEqual([{ "mcp-param-region": "eu" }, {}]);
  });
});

describe("a tool with an invalid annotation", () => {
  const escaped = tool("a b").replace("x-mcp-header", "\\u0078-mcp-header");
  it.each([
    ["plainly", tool("a b")],
    ["in escapes", escaped],
  ])("that is spelled %s is offered to legacy clients only, and the admin sees why [P-46, R-17]", async (_, text) => {
    const fine = '{"name":"fine","inputSchema":{"type":"object"}}';
    const { upstream, gateway, agent, callTool } = await startDocs([text, fine]);
    for (const door of ["/mcp", "/mcp/docs"]) {
      expect(await (await agent.modern(door, "tools/list")).text()).not.toContain("search");
      const response = await callTool({ region: "eu" }, { "Mcp-Param-Region": "eu" }, door);
      expect([response.status, await response.json()]).toMatchObject([200, { error: { code: -32602 } }]);
      expect(await (await agent.legacy(door, "tools/list")).text()).toContain("search");
    }
    expect(upstream.seen).toEqual([]);
    const legacy = await agent.legacy("/mcp/docs", "tools/call", { name: "search", arguments: { region: "eu" } });
    expect(await legacy.json()).toMatchObject({ result: { content: [] } });
    expect(upstream.calls().map(paramsOf)).toEqual([{}]);
    const path = `/v1/servers/${agent.server_id}/tools`;
    const { rows } = await accepted<{ rows: unknown[] }>(await gateway.admin("GET", path));
    expect(rows).toMatchObject([
      { name: "fine", header_problem: null },
      { name: "search", header_problem: "An x-mcp-header annotation is no token of RFC 9110." },
    ]);
  });
});
