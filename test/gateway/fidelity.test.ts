import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { events, idOf, resultOf, type Script, scriptedServer } from "../support/upstream.ts";

const TOOL = '{"name":"a.b","title":"A","inputSchema":{"type":"object"},"x-unknown":[1.0,12345678901234567890]}';
/** What a JSON round trip would change or lose. */
const RESULT =
  '{"content":[{"type":"image","data":"aGk=","mimeType":"image/png","x-new":{"deep":[1e400,-0,1.0]}},{"type":"future"}],' +
  '"structuredContent":{"n":12345678901234567890, "tab":"\\u0009","sep":"\u2028"},"isError":false,"_meta":{"v/k":1.50},"x-extra":null}';
const ARGUMENTS = '{"n":12345678901234567890,"one":1.0, "esc":"\\u00e9\\/","nested":{"id":7,"name":"x","_meta":{}}}';

async function startDocs(era: Script["era"], call?: Script["call"]) {
  const upstream = scriptedServer({ era, tools: [TOOL], call: call ?? ((seen) => resultOf(seen, RESULT)) });
  const gateway = startGateway(upstream.network);
  return { upstream, agent: await agentOf(gateway, { name: "docs" }) };
}

const MODERN_META =
  '"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}';
const MODERN_HEADERS = { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call" };

const TRACEPARENT = "00-8f3c1d5e7a9b40c2d4e6f80a1b2c3d4e-1a2b3c4d5e6f7081-01";

describe("a modern call to a modern server", () => {
  it("changes nothing but the tool's name, in the body and in Mcp-Name [P-44]", async () => {
    const result = RESULT.replace("{", '{"resultType":"future",');
    const { upstream, agent } = await startDocs("modern", (seen) => resultOf(seen, result));
    const body = (name: string) =>
      `{ "jsonrpc":"2.0","id":"c-17","method":"tools/call","params":{"name":"${name}","arguments":${ARGUMENTS},` +
      `"_meta":{${MODERN_META},"progressToken":"p","vendor/x":[1.0]},"x-param":1.0},"x-top":true}`;
    const headers = { ...MODERN_HEADERS, "Mcp-Name": "docs__a_b_1d0c73dc", "Mcp-Param-Region": "eu", "X-Org-Id": "o" };
    const response = await agent.post("/mcp", body("docs__a_b_1d0c73dc"), { ...headers, Cookie: "c=1" });
    expect(await response.text()).toBe(`{"jsonrpc":"2.0","id":"c-17","result":${result}}`);
    const [call] = upstream.calls();
    expect(call?.text).toBe(body("a.b"));
    expect(Object.fromEntries(call?.headers ?? [])).toMatchObject({
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "a.b",
      "mcp-param-region": "eu",
    });
    for (const name of ["authorization", "cookie", "x-org-id", "x-api-key", "mcp-session-id"]) {
      expect(call?.headers.has(name), name).toBe(false);
    }
  });

  it("has the result called complete that does not say what it is [P-9]", async () => {
    const { agent } = await startDocs("modern");
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "a.b" });
    const result = `${RESULT.slice(0, -1)},"resultType":"complete"}`;
    expect(await response.text()).toBe(`{"jsonrpc":"2.0","id":1,"result":${result}}`);
  });
});

describe("a legacy call in a session to a legacy server", () => {
  it("changes nothing but the tool's name", async () => {
    const { upstream, agent } = await startDocs("legacy");
    const session = await agent.initialize("/mcp");
    const body = (name: string) =>
      `{"jsonrpc":"2.0","method":"tools/call","params":{"_meta":{"progressToken":7},"arguments":${ARGUMENTS},"name":"${name}"},"id":3}`;
    const response = await agent.post("/mcp", body("docs__a_b_1d0c73dc"), session);
    expect(await response.text()).toBe(`{"jsonrpc":"2.0","id":3,"result":${RESULT}}`);
    const [call] = upstream.calls();
    expect(call?.text).toBe(body("a.b"));
    expect(call?.headers.get("MCP-Protocol-Version")).toBe("2025-11-25");
    expect(call?.headers.get("Mcp-Session-Id")).toMatch(/^up-/);
  });
});

describe("a modern call to a legacy server", () => {
  it("loses the envelope and gets ids of its own; the answer becomes a modern one", async () => {
    const { upstream, agent } = await startDocs("legacy", (seen) =>
      events(
        `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${idOf(seen)},"progress":0.50}}`,
        `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"low"}}`,
        `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"high"}}`,
        `{"jsonrpc":"2.0","id":${idOf(seen)},"result":${RESULT}}`,
      ),
    );
    const meta = `{${MODERN_META},"io.modelcontextprotocol/logLevel":"warning","progressToken":"p-1","vendor/x":1.0,"traceparent":"${TRACEPARENT}"}`;
    const body = `{"jsonrpc":"2.0","id":"c-1","method":"tools/call","params":{"name":"a.b","arguments":${ARGUMENTS},"_meta":${meta}}}`;
    const response = await agent.post("/mcp/docs", body, { ...MODERN_HEADERS, "Mcp-Name": "a.b" });
    const sent = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
    const serverInfo = '"io.modelcontextprotocol/serverInfo":{"name":"scripted","version":"1"}';
    const result = `${RESULT.slice(0, -1).replace('"v/k":1.50', `"v/k":1.50,${serverInfo}`)},"resultType":"complete"}`;
    expect(sent).toEqual([
      'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p-1","progress":0.50}}',
      'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"high"}}',
      `data: {"jsonrpc":"2.0","id":"c-1","result":${result}}`,
    ]);
    const [call] = upstream.calls();
    const ownId = JSON.stringify(call?.message["id"]);
    expect(call?.text).toBe(
      `{"jsonrpc":"2.0","id":${ownId},"method":"tools/call","params":{"name":"a.b","arguments":${ARGUMENTS},` +
        `"_meta":{"progressToken":${ownId},"vendor/x":1.0,"traceparent":"${TRACEPARENT}"}}}`,
    );
    expect(call?.headers.has("Mcp-Method")).toBe(false);
  });

  it("turns errors of 2025 into ones that a modern client knows [P-22]", async () => {
    const codes = [-32002, -32042, -32050, -32000, -32602];
    const { agent } = await startDocs("legacy", (seen) => {
      const code = (seen.message["params"] as { arguments: { code: number } }).arguments.code;
      return events(`{"jsonrpc":"2.0","id":${idOf(seen)},"error":{"code":${code},"message":"m","data":[1.0]}}`);
    });
    const spoken: unknown[] = [];
    for (const code of codes) {
      const response = await agent.modern("/mcp/docs", "tools/call", { name: "a.b", arguments: { code } });
      const data = (await response.text()).split("data: ")[1] ?? "";
      expect(data).toContain('"data":[1.0]');
      spoken.push((JSON.parse(data) as { error: { code: number } }).error.code);
    }
    expect(spoken).toEqual([-32602, -32603, -32603, -32000, -32602]);
  });
});

describe("a legacy call to a modern server", () => {
  it("gets the envelope that it lacks, and an answer without what its era does not know", async () => {
    const result = `{"resultType":"complete","content":[],"ttlMs":1,"cacheScope":"public","structuredContent":[1.0],"x":1.0}`;
    const { upstream, agent } = await startDocs("modern", (seen) => resultOf(seen, result));
    const session = await agent.initialize("/mcp/docs", "2025-06-18");
    const response = await agent.post(
      "/mcp/docs",
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a.b","arguments":${ARGUMENTS}}}`,
      session,
    );
    expect(await response.text()).toBe(
      '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"[1.0]"}],"x":1.0}}',
    );
    const [call] = upstream.calls();
    expect(call?.text).toContain(`"arguments":${ARGUMENTS}`);
    expect(call?.message["params"]).toMatchObject({
      _meta: {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { name: "agent", version: "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
      },
    });
    expect(call?.headers.get("Mcp-Name")).toBe("a.b");
  });
});

describe("tools/list", () => {
  it.each(["modern", "legacy"] as const)(
    "shows a %s client the definition byte for byte, but for its name [P-47]",
    async (era) => {
      const { upstream, agent } = await startDocs("modern");
      const before = upstream.seen.length;
      const atServer = await (await agent[era]("/mcp/docs", "tools/list")).text();
      const shown = `${TOOL.slice(0, -1)},"_meta":{"dev.postern/auto_execute":false}}`;
      expect(atServer).toContain(`"tools":[${shown}]`);
      const atAll = await (await agent[era]("/mcp", "tools/list")).text();
      expect(atAll).toContain(`"tools":[{"name":"docs__a_b_1d0c73dc",${shown.slice('{"name":"a.b",'.length)}]`);
      expect(upstream.seen.length, "requests to the server").toBe(before);
    },
  );

  it("is private and for a stated time to a modern client [P-10]", async () => {
    const { agent } = await startDocs("modern");
    const listed = await agent.modern("/mcp", "tools/list");
    expect(await listed.json()).toMatchObject({
      result: {
        resultType: "complete",
        ttlMs: 5000,
        cacheScope: "private",
        _meta: { "io.modelcontextprotocol/serverInfo": { name: "postern" } },
      },
    });
  });

  it("hides an outputSchema that is no object from a legacy client [protocol 3.5.4]", async () => {
    const tool = '{"name":"list","inputSchema":{"type":"object"},"outputSchema":{"type":"array"}}';
    const upstream = scriptedServer({ era: "modern", tools: [tool] });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    expect(await (await agent.legacy("/mcp/docs", "tools/list")).text()).not.toContain("outputSchema");
    expect(await (await agent.modern("/mcp/docs", "tools/list")).text()).toContain("outputSchema");
  });

  it("pages through more than a thousand tools, sorted by name, each once [P-11]", async () => {
    const tools = Array.from(
      { length: 2500 },
      (_, i) => `{"name":"t${(i * 7919) % 2500}","inputSchema":{"type":"object"}}`,
    );
    const upstream = scriptedServer({ era: "modern", tools });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const response = await agent.modern("/mcp/docs", "tools/list", cursor === undefined ? {} : { cursor });
      const { result } = await response.json<{ result: { tools: { name: string }[]; nextCursor?: string } }>();
      names.push(...result.tools.map(({ name }) => name));
      cursor = result.nextCursor;
    } while (cursor !== undefined);
    expect(names).toHaveLength(2500);
    expect(names).toEqual([...new Set(names)].sort());
    const bad = await agent.modern("/mcp/docs", "tools/list", { cursor: "%%%" });
    expect(await bad.json()).toMatchObject({ error: { code: -32602 } });
  });
});
