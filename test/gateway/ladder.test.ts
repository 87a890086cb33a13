import { beforeEach, describe, expect, it } from "vitest";
import { type Agent, agentOf } from "../support/agent.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { type ScriptedServer, scriptedServer } from "../support/upstream.ts";

const PROTOCOL = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";
const META = { [PROTOCOL]: "2026-07-28", [CAPABILITIES]: {} };

let upstream: ScriptedServer;
let gateway: TestGateway;
let agent: Agent;

beforeEach(async () => {
  upstream = scriptedServer({ era: "modern", tools: ['{"name":"search","inputSchema":{"type":"object"}}'] });
  gateway = startGateway(upstream.network);
  agent = await agentOf(gateway, { name: "docs" });
  upstream.seen.length = 0;
});

/** Status and JSON-RPC code of an answer; the server must not have been asked. */
async function refusal(response: Response): Promise<unknown> {
  expect(upstream.seen, "requests to the server").toEqual([]);
  const text = await response.text();
  const body = text === "" ? {} : (JSON.parse(text) as { id?: unknown; error?: { code: number } });
  return { status: response.status, code: body.error?.code, ...("id" in body ? { id: body.id } : {}) };
}

describe("before the body", () => {
  const post = (path: string, headers: Record<string, string>, body: BodyInit = "{}") =>
    agent.post(path, body, headers);

  const many = (count: number, value = "x") =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`Mcp-Param-${i}`, value]));
  const chunked = (size: number) =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new Uint8Array(size).fill(0x20));
        controller.close();
      },
    });
  const CODE = -32600;
  it.each<[string, () => Promise<Response>, { status: number; code?: number }]>([
    ["3.1.1 a path that is no slug", () => agent.post("/mcp/no_slug", "{}"), { status: 404 }],
    ["3.1.2 a foreign Origin", () => post("/mcp", { Origin: "https://evil.example" }), { status: 403, code: CODE }],
    ["3.1.2 an Origin of null", () => post("/mcp", { Origin: "null" }), { status: 403, code: CODE }],
    ["3.1.4 another method", () => gateway.fetch("/mcp", { method: "PUT" }), { status: 405, code: CODE }],
    ["3.1.5 a header over 8 KiB", () => post("/mcp", { "X-Long": "x".repeat(9_000) }), { status: 431, code: CODE }],
    [
      "3.1.5 a header block over its limit",
      () => post("/mcp", many(20, "x".repeat(4_000))),
      { status: 431, code: CODE },
    ],
    ["3.1.5 more than 64 Mcp-Param", () => post("/mcp", many(65)), { status: 431, code: CODE }],
    ["3.1.6 no credential", () => gateway.fetch("/mcp", { method: "POST", body: "x" }), { status: 401, code: CODE }],
    [
      "3.1.6 an unknown credential",
      () => post("/mcp", { Authorization: "Bearer sk-pst-unknown" }),
      { status: 401, code: CODE },
    ],
    ["3.1.8 another media type", () => post("/mcp", { "Content-Type": "text/plain" }), { status: 415, code: CODE }],
    [
      "3.1.9 an Accept that admits neither form",
      () => post("/mcp", { Accept: "text/html" }),
      { status: 406, code: CODE },
    ],
    [
      "3.1.10 a body over 4 MiB, as declared",
      () => post("/mcp", {}, "x".repeat(5 * 1024 * 1024)),
      { status: 413, code: CODE },
    ],
    [
      "3.1.10 a body over 4 MiB, as found while reading",
      () => post("/mcp", {}, chunked(5 * 1024 * 1024)),
      { status: 413, code: CODE },
    ],
  ])("%s is refused [P-1]", async (_, send, expected) => {
    const response = await send();
    if (expected.status === 405) expect(response.headers.get("Allow")).toBe("POST, GET, DELETE");
    if (expected.status === 401) expect(response.headers.get("WWW-Authenticate")).toMatch(/^Bearer /);
    expect(await refusal(response)).toEqual(expected);
  });

  it("takes as many headers as are allowed, in forms that admit either answer", async () => {
    for (const headers of [many(64), { Accept: "*/*" }, { "Content-Type": "application/json; charset=utf-8" }]) {
      expect((await post("/mcp", headers, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(200);
    }
  });

  it("answers a preflight of an allowed origin, with the Mcp-Param headers it asks for", async () => {
    const headers = { Origin: "https://gateway.example", "Access-Control-Request-Headers": "mcp-param-region, x-evil" };
    const response = await gateway.fetch("/mcp", { method: "OPTIONS", headers });
    expect(response.status).toBe(204);
    expect(response.headers.get("Access-Control-Allow-Origin")).toBe("https://gateway.example");
    expect(response.headers.get("Access-Control-Allow-Headers")).toContain("mcp-param-region");
    expect(response.headers.get("Access-Control-Allow-Headers")).not.toContain("x-evil");
  });

  it("lets the page of an allowed origin read answers and refusals", async () => {
    const page = startGateway(upstream.network, { ALLOWED_ORIGINS: "https://page.example" });
    for (const headers of [{}, { Authorization: `Bearer ${agent.key.value}`, "Content-Type": "application/json" }]) {
      const body = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
      const init = { method: "POST", body, headers: { ...headers, Origin: "https://page.example" } };
      const response = await page.fetch("/mcp", init);
      expect(response.headers.get("Access-Control-Allow-Origin"), String(response.status)).toBe("https://page.example");
      expect(response.headers.get("Access-Control-Expose-Headers")).toContain("Mcp-Session-Id");
    }
  });

  it("refuses a host name that is not loopback on a developer's machine", async () => {
    const local = startGateway(upstream.network, { ALLOW_INSECURE_UPSTREAMS: "true" });
    expect((await local.fetch("/mcp", { method: "POST" })).status).toBe(403);
  });
});

describe("the shape of the body", () => {
  const deep = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":${"[".repeat(70)}${"]".repeat(70)}}}`;
  it.each<[string, BodyInit, unknown]>([
    ["nothing", "", { status: 400, code: -32700 }],
    ["broken JSON", "{", { status: 400, code: -32700 }],
    ["bytes that are no UTF-8", new Uint8Array([0x22, 0xff, 0x22]), { status: 400, code: -32700 }],
    ["a text", '"hi"', { status: 400, code: -32600 }],
    ["depth over 64", deep, { status: 400, code: -32600 }],
    ["a member twice", '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', { status: 400, code: -32600, id: 1 }],
    [
      "a param twice",
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"a":2}}',
      { status: 400, code: -32600, id: 1 },
    ],
    [
      "an escaped twin",
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"\\u0061":2}}',
      { status: 400, code: -32600, id: 1 },
    ],
    ["an empty array", "[]", { status: 400, code: -32600 }],
    ["an array with what is no message", '[{"jsonrpc":"2.0","id":1}]', { status: 400, code: -32600 }],
    ["an array with a number", '[{"jsonrpc":"2.0","id":1,"method":"ping"},5]', { status: 400, code: -32600 }],
    [
      "an array with a modern claim",
      `[{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"${PROTOCOL}":"2026-07-28"}}}]`,
      { status: 400, code: -32600 },
    ],
    [
      "a member of _meta twice",
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"a":1,"a":2}}}',
      { status: 400, code: -32600, id: 1 },
    ],
    ["an id that is a boolean", '{"jsonrpc":"2.0","id":true,"method":"ping"}', { status: 400, code: -32600 }],
    ["an id that is an object", '{"jsonrpc":"2.0","id":{},"method":"ping"}', { status: 400, code: -32600 }],
    ["a batch within a batch", '[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]', { status: 400, code: -32600 }],
    ["another jsonrpc", '{"jsonrpc":"1.0","id":"a","method":"ping"}', { status: 400, code: -32600, id: "a" }],
    ["a method that is no text", '{"jsonrpc":"2.0","id":1,"method":5}', { status: 400, code: -32600, id: 1 }],
    [
      "params that are a list",
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}',
      { status: 400, code: -32600, id: 1 },
    ],
    ["an id of null", '{"jsonrpc":"2.0","id":null,"method":"ping"}', { status: 400, code: -32600 }],
    ["an id with a fraction", '{"jsonrpc":"2.0","id":1.5,"method":"ping"}', { status: 400, code: -32600 }],
  ])("%s is refused [P-1, P-3]", async (_, body, expected) => {
    expect(await refusal(await agent.post("/mcp", body))).toEqual(expected);
  });
});

describe("a response that a client posts (3.2.5)", () => {
  const body = '{"jsonrpc":"2.0","id":9,"result":{}}';
  it("is none that a modern client may send, and is taken and dropped from a legacy one [P-1]", async () => {
    const modern = await agent.post("/mcp", body, { "MCP-Protocol-Version": "2026-07-28" });
    expect(await refusal(modern)).toEqual({ status: 400, code: -32600 });
    const later = await agent.post("/mcp", body, { "MCP-Protocol-Version": "2027-01-01" });
    expect(await refusal(later)).toEqual({ status: 400, code: -32600 });
    expect(await refusal(await agent.post("/mcp", body))).toEqual({ status: 202 });
  });
});

describe("the modern ladder", () => {
  const request = (method: string, params: object, meta: object | null, headers: Record<string, string>) => {
    const message = { jsonrpc: "2.0", id: 7, method, params: meta === null ? params : { ...params, _meta: meta } };
    return agent.post("/mcp", JSON.stringify(message), headers);
  };
  const HEADERS = { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list" };
  const CALL = { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call" };

  it.each<[string, () => Promise<Response>, number, number]>([
    ["3.3.1", () => request("initialize", {}, null, HEADERS), 400, -32020],
    ["3.3.2", () => request("tools/list", {}, null, HEADERS), 400, -32602],
    ["3.3.4 no capabilities", () => request("tools/list", {}, { [PROTOCOL]: "2026-07-28" }, HEADERS), 400, -32602],
    [
      "3.3.4 a version that is no text",
      () => request("tools/list", {}, { ...META, [PROTOCOL]: 5 }, HEADERS),
      400,
      -32602,
    ],
    [
      "3.3.4 a malformed clientInfo",
      () => request("tools/list", {}, { ...META, "io.modelcontextprotocol/clientInfo": { name: 1 } }, HEADERS),
      400,
      -32602,
    ],
    [
      "3.3.5 another version",
      () => request("tools/list", {}, META, { ...HEADERS, "MCP-Protocol-Version": "2026-07-29" }),
      400,
      -32020,
    ],
    [
      "3.3.5 another method [R-28]",
      () => request("tools/list", {}, META, { ...HEADERS, "Mcp-Method": "ping" }),
      400,
      -32020,
    ],
    [
      "3.3.6 a later version",
      () => request("tools/list", {}, { ...META, [PROTOCOL]: "2027-01-01" }, { "Mcp-Method": "tools/list" }),
      400,
      -32022,
    ],
    ["3.3.6 a legacy version", () => request("tools/list", {}, { ...META, [PROTOCOL]: "2025-11-25" }, {}), 400, -32022],
    ["3.3.7", () => request("tools/list", {}, META, {}), 400, -32020],
    ["3.3.8 no name", () => request("tools/call", { name: "docs__search" }, META, CALL), 400, -32020],
    [
      "3.3.8 another name",
      () => request("tools/call", { name: "docs__search" }, META, { ...CALL, "Mcp-Name": "docs__Search" }),
      400,
      -32020,
    ],
    [
      "3.3.8 bad base64",
      () => request("tools/call", { name: "docs__search" }, META, { ...CALL, "Mcp-Name": "=?base64?x?=" }),
      400,
      -32020,
    ],
    [
      "3.3.9 a method not offered",
      () => request("prompts/list", {}, META, { ...HEADERS, "Mcp-Method": "prompts/list" }),
      404,
      -32601,
    ],
    [
      "3.3.9 initialize",
      () => request("initialize", {}, META, { ...HEADERS, "Mcp-Method": "initialize" }),
      404,
      -32601,
    ],
    ["3.3.10 no name at all", () => request("tools/call", {}, META, CALL), 200, -32602],
    [
      "3.3.10 an unknown log level",
      () =>
        request(
          "tools/call",
          { name: "docs__search" },
          { ...META, "io.modelcontextprotocol/logLevel": "loud" },
          { ...CALL, "Mcp-Name": "docs__search" },
        ),
      200,
      -32602,
    ],
    [
      "3.3.10 an unknown log level of another method",
      () => request("tools/list", {}, { ...META, "io.modelcontextprotocol/logLevel": "loud" }, HEADERS),
      200,
      -32602,
    ],
    [
      "3.3.10 arguments that are a list",
      () =>
        request("tools/call", { name: "docs__search", arguments: [] }, META, { ...CALL, "Mcp-Name": "docs__search" }),
      200,
      -32602,
    ],
    ["3.3.10 a bad cursor", () => request("tools/list", { cursor: "%" }, META, HEADERS), 200, -32602],
    [
      "3.3.12 an unknown tool",
      () => request("tools/call", { name: "docs__other" }, META, { ...CALL, "Mcp-Name": "docs__other" }),
      200,
      -32602,
    ],
  ])("%s is refused [P-1]", async (_, send, status, code) => {
    expect(await refusal(await send())).toEqual({ status, code, id: 7 });
  });

  it.each<[string, object | null, Record<string, string>, object]>([
    ["a claim that is no text", { ...META, [PROTOCOL]: 5 }, {}, { status: 400, code: -32602 }],
    ["another version", META, { "MCP-Protocol-Version": "2025-11-25" }, { status: 400, code: -32020 }],
    ["another method", META, { "Mcp-Method": "ping" }, { status: 400, code: -32020 }],
    [
      "another method and no claim",
      null,
      { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "ping" },
      { status: 400, code: -32020 },
    ],
    ["nothing wrong", META, {}, { status: 202 }],
    ["no claim", null, { "MCP-Protocol-Version": "2026-07-28" }, { status: 202 }],
  ])("a notification with %s is answered by its own row [P-1]", async (_, meta, headers, expected) => {
    const params = meta === null ? {} : { _meta: meta };
    const body = JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params });
    expect(await refusal(await agent.post("/mcp", body, headers))).toEqual(expected);
  });

  it("names what a request lacks of the envelope (3.3.2)", async () => {
    const response = await request("tools/list", {}, { [CAPABILITIES]: {} }, HEADERS);
    expect(await response.json()).toMatchObject({ error: { data: { missing: [PROTOCOL] } } });
  });

  it("names what it serves in -32022, and no legacy revision [P-8]", async () => {
    const response = await request("tools/list", {}, { ...META, [PROTOCOL]: "2027-01-01" }, {});
    expect(await response.json()).toMatchObject({
      error: { data: { supported: ["2026-07-28"], requested: "2027-01-01" } },
    });
    const discovered = await agent.modern("/mcp", "server/discover");
    expect(await discovered.json()).toEqual({
      jsonrpc: "2.0",
      id: 1,
      result: {
        resultType: "complete",
        supportedVersions: ["2026-07-28"],
        capabilities: { tools: { listChanged: true } },
        ttlMs: 5000,
        cacheScope: "private",
        _meta: { "io.modelcontextprotocol/serverInfo": { name: "postern", version: "0.1.0" } },
      },
    });
  });

  it("takes an encoded Mcp-Name, and drops notifications", async () => {
    const encoded = { ...CALL, "Mcp-Name": `=?base64?${btoa("docs__search")}?=` };
    const called = await request("tools/call", { name: "docs__search" }, META, encoded);
    expect(await called.json()).toMatchObject({ result: { content: [] } });
    const body = JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params: { _meta: META } });
    expect((await agent.post("/mcp", body)).status).toBe(202);
    expect((await agent.post("/mcp", body, { "MCP-Protocol-Version": "2025-11-25" })).status).toBe(400);
  });
});

describe("what a client admits", () => {
  it("only JSON, or only a stream, is what it gets [P-7]", async () => {
    const stream = await agent.legacy("/mcp", "ping", {}, { Accept: "text/event-stream" });
    expect(stream.headers.get("Content-Type")).toBe("text/event-stream");
    expect(await stream.text()).toBe('event: message\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n');
    const json = await agent.legacy("/mcp", "ping", {}, { Accept: "application/json" });
    expect(await json.json()).toEqual({ jsonrpc: "2.0", id: 1, result: {} });
  });
});
