import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"},"_meta":{"v/k":1.0}}';
const READ = '{"name":"read/file","inputSchema":{"type":"object"}}';

async function startDocs(server: Record<string, unknown> = {}) {
  const gateway = startGateway(scriptedServer({ era: "modern", tools: [SEARCH, READ] }).network);
  const agent = await agentOf(gateway, { name: "docs", ...server });
  const base = `/v1/servers/${agent.server_id}`;
  return {
    gateway,
    agent,
    base,
    record: async () => (await gateway.admin("GET", base)).json<Record<string, unknown>>(),
    tool: (method: string, name: string, body?: unknown) =>
      gateway.admin(method, `${base}/tools/${encodeURIComponent(name)}`, body),
    async listed() {
      const response = await agent.modern("/mcp/docs", "tools/list");
      return (await response.json<{ result: { tools: { name: string; _meta: unknown }[] } }>()).result.tools;
    },
  };
}

describe("PATCH /v1/servers/{id}/tools/{name}", () => {
  it("changes the policy of one tool, by its own name, and of no other", async () => {
    const { tool, listed, record } = await startDocs();
    const changed = await tool("PATCH", "read/file", { allowed: false, price_usd: 0.5 });
    expect(await changed.json()).toMatchObject({
      name: "read/file",
      allowed: false,
      auto_execute: false,
      price_usd: 0.5,
    });
    expect((await listed()).map(({ name }) => name)).toEqual(["search"]);
    expect(await record()).toMatchObject({
      allowed_tools: { search: true, "read/file": false },
      tool_pricing: { "read/file": 0.5 },
    });
    expect(await (await tool("PATCH", "read/file", { price_usd: null })).json()).toMatchObject({
      price_usd: null,
      allowed: false,
    });
    expect(await (await tool("GET", "search")).json()).toMatchObject({ name: "search", allowed: true });
  });

  it("refuses a blocked tool that is to run unasked, an unknown tool and a bad price", async () => {
    const { tool } = await startDocs();
    expect(await (await tool("PATCH", "search", { allowed: false, auto_execute: true })).json()).toMatchObject({
      status: 400,
      field: "auto_execute",
    });
    expect((await tool("PATCH", "missing", { allowed: true })).status).toBe(404);
    expect(await (await tool("PATCH", "search", { price_usd: -1 })).json()).toMatchObject({
      status: 400,
      field: "price_usd",
    });
    expect(await (await tool("PATCH", "search", { colour: 1 })).json()).toMatchObject({
      code: "unknown_field",
      field: "colour",
    });
  });
});

describe("the auto-execute list", () => {
  it("is shown to agents beside the server's own _meta, and refuses nothing [BF-61]", async () => {
    const { listed, tool, agent } = await startDocs({ tools_to_auto_execute: ["search"] });
    expect(await listed()).toMatchObject([
      { name: "read/file", _meta: { "dev.postern/auto_execute": false } },
      { name: "search", _meta: { "dev.postern/auto_execute": true, "v/k": 1 } },
    ]);
    await tool("PATCH", "search", { auto_execute: false });
    expect((await listed())[1]?._meta).toEqual({ "dev.postern/auto_execute": false, "v/k": 1 });
    const called = await agent.modern("/mcp/docs", "tools/call", { name: "search" });
    expect(await called.json()).toMatchObject({ result: { content: [] } });
  });
});

describe("POST /v1/servers/{id}/allowed-tools/copy", () => {
  it.each<[string, unknown, unknown]>([
    ["a map", { search: false, extra: true }, { search: false, extra: true, "read/file": false }],
    ["everything", ["*"], { search: true, "read/file": true }],
    ["nothing set yet", null, null],
  ])("copies %s [RB-33]", async (_, allowed_tools, expected) => {
    const { gateway, base, record } = await startDocs();
    const source = await gateway.admin("POST", "/v1/servers", {
      name: "source",
      server_url: "https://source.example/mcp",
      enabled: false,
      allowed_tools,
    });
    const { server_id } = await source.json<{ server_id: string }>();
    const copied = await gateway.admin("POST", `${base}/allowed-tools/copy`, { source_server_id: server_id });
    expect(copied.status).toBe(200);
    // Copying from a server whose own tools are not known yet leaves the tools known here as they fall under it.
    expect((await record())["allowed_tools"]).toEqual(expected);
  });

  it("changes nothing with the server itself as source, and finds no other", async () => {
    const { gateway, base, agent, record } = await startDocs();
    const before = await record();
    const same = await gateway.admin("POST", `${base}/allowed-tools/copy`, { source_server_id: agent.server_id });
    expect([same.status, await record()]).toEqual([200, before]);
    const missing = await gateway.admin("POST", `${base}/allowed-tools/copy`, { source_server_id: "srv_none" });
    expect(missing.status).toBe(404);
  });
});

describe("a call to a stdio server", () => {
  it.each([
    ["/mcp", "tools__anything"],
    ["/mcp/tools", "anything"],
  ])("at %s says that it waits for a bridge [T-51]", async (path, name) => {
    const { gateway } = await startDocs();
    const stdio = { name: "tools", connection_type: "stdio", stdio_config: { command: "npx" } };
    const agent = await agentOf(gateway, { ...stdio, server_url: undefined });
    const called = await agent.modern(path, "tools/call", { name });
    expect(await called.json()).toMatchObject({
      result: { isError: true, content: [{ type: "text", text: "server 'tools' is waiting for a bridge" }] },
    });
    expect(await agent.rows()).toMatchObject([{ ok: false, server: "tools", attempts: 0 }]);
  });
});
