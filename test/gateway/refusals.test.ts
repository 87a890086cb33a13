import { describe, expect, it } from "vitest";
import { agentOf, createAgent } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { type CallTool, executeCaller, legacyCaller, modernCaller, type Send } from "../support/tool-callers.ts";
import { scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';
const ERASE = '{"name":"erase","inputSchema":{"type":"object"}}';

function startDocs() {
  const upstream = scriptedServer({ era: "modern", tools: [SEARCH, ERASE] });
  return { upstream, gateway: startGateway(upstream.network) };
}

describe("a call that is not admitted", () => {
  it.each([
    ["modern", "/mcp"],
    ["legacy", "/mcp"],
    ["modern", "/mcp/docs"],
    ["legacy", "/mcp/docs"],
  ] as const)(
    "looks like an unknown tool to a %s client at %s and is logged with its reason [PS-12]",
    async (era, path) => {
      const { upstream, gateway } = startDocs();
      const agent = await agentOf(gateway, { name: "docs", allowed_tools: { search: true, erase: false } });
      const name = (tool: string) => (path === "/mcp" ? `docs__${tool}` : tool);
      for (const tool of ["erase", "missing"]) {
        const response = await agent[era](path, "tools/call", { name: name(tool), arguments: {} });
        expect(response.status).toBe(200);
        expect(await response.json()).toEqual({
          jsonrpc: "2.0",
          id: 1,
          error: { code: -32602, message: `Unknown tool: ${name(tool)}` },
        });
      }
      expect(upstream.calls()).toEqual([]);
      const rows = await agent.rows();
      expect(rows.map(({ ok, reason, attempts, door }) => ({ ok, reason, attempts, door }))).toEqual([
        { ok: false, reason: path === "/mcp" ? "not_visible" : "tool_unknown", attempts: 0, door: path },
        { ok: false, reason: "tool_blocked", attempts: 0, door: path },
      ]);
    },
  );

  it("of a blocked tool and of none is refused in the same words on every door, and listed on none [RB-16]", async () => {
    const { gateway } = startDocs();
    const agent = await agentOf(gateway, { name: "docs", allowed_tools: { search: true, erase: false } });
    const send: Send = (path, body, headers) => agent.post(path, body, headers);
    const doors: [string, CallTool, string][] = [
      ["/mcp", modernCaller(send), "docs__"],
      ["/mcp", legacyCaller(send), "docs__"],
      ["/mcp/docs", modernCaller(send, "/mcp/docs"), ""],
      ["/v1/mcp/tool/execute", executeCaller(send), "docs-"],
    ];
    for (const [path, call, prefix] of doors) {
      const [blocked, missing] = [await call(`${prefix}erase`), await call(`${prefix}other`)];
      expect(JSON.stringify(blocked).replaceAll("erase", "other")).toBe(JSON.stringify(missing));
      if (path.startsWith("/mcp")) expect(await (await agent.modern(path, "tools/list")).text()).not.toContain("erase");
    }
    const rows = (await agent.rows()).filter(({ tool }) => tool === "erase");
    expect(rows.map(({ reason }) => reason)).toEqual(doors.map(() => "tool_blocked"));
  });

  it("is refused on a disabled server, whose tools are not listed either [RG-26]", async () => {
    const { gateway } = startDocs();
    const agent = await agentOf(gateway, { name: "docs" });
    expect((await gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, { enabled: false })).status).toBe(200);
    const listed = await agent.modern("/mcp", "tools/list");
    expect(await listed.json()).toMatchObject({ result: { tools: [] } });
    const called = await agent.modern("/mcp", "tools/call", { name: "docs__search", arguments: {} });
    expect(await called.json()).toMatchObject({ error: { code: -32602 } });
    expect(await agent.rows()).toMatchObject([{ reason: "server_disabled", server: "docs", tool: "search" }]);
  });

  it("is refused where the key's list leaves the tool out, and where it is empty [T-30]", async () => {
    const { gateway } = startDocs();
    const { server_id } = await agentOf(gateway, { name: "docs", allow_on_all_virtual_keys: true });
    const names = async (servers: { server_id: string; tools_to_execute: string[] }[]) => {
      const agent = await createAgent(gateway, servers);
      const listed = await (await agent.modern("/mcp", "tools/list")).json<{ result: { tools: { name: string }[] } }>();
      const called = await (await agent.modern("/mcp", "tools/call", { name: "docs__erase" })).json();
      return { listed: listed.result.tools.map(({ name }) => name), called: "result" in (called as object) };
    };
    expect(await names([{ server_id, tools_to_execute: ["search"] }])).toEqual({
      listed: ["docs__search"],
      called: false,
    });
    expect(await names([{ server_id, tools_to_execute: [] }])).toEqual({ listed: [], called: false });
    expect(await names([])).toEqual({ listed: ["docs__erase", "docs__search"], called: true });
  });
});

describe("what a caller has no right to", () => {
  it("looks like what there is not, at every door and in either era [P-5]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [SEARCH], instructions: "Internal." });
    const gateway = await startWithUsers(upstream.network);
    const docs = { name: "docs", server_url: "https://docs.example/mcp" };
    for (const server of [docs, { name: "dead", server_url: "https://dead.example/mcp", enabled: false }]) {
      expect((await gateway.admin("POST", "/v1/servers", server)).status).toBe(201);
    }
    const agent = await createAgent(gateway, []);
    const callers: (() => Promise<Record<string, string>>)[] = [
      () => gateway.bearer("stranger"),
      async () => ({ Authorization: `Bearer ${agent.key.value}` }),
    ];
    const modern = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    upstream.seen.length = 0;
    for (const credential of callers) {
      /** Everything that can be asked about a server, and what was answered, without the names that were asked for. */
      const answers = async (slug: string, tool: string) => {
        const ask = async (path: string, method: string, params: Record<string, unknown>, era: "modern" | "legacy") => {
          const name = typeof params["name"] === "string" ? { "Mcp-Name": params["name"] } : {};
          const headers = { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, ...name };
          const sent = era === "modern" ? { ...params, _meta: modern } : params;
          const response = await gateway.fetch(path, {
            method: "POST",
            headers: {
              ...(await credential()),
              "Content-Type": "application/json",
              ...(era === "modern" ? headers : {}),
            },
            body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: sent }),
          });
          const text = await response.text();
          return [response.status, [...response.headers.keys()], text.replaceAll(slug, "*").replaceAll(tool, "?")];
        };
        const door = `/mcp/${slug}`;
        const handshake = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "a", version: "1" } };
        return [
          await ask(door, "initialize", handshake, "legacy"),
          await ask(door, "server/discover", {}, "modern"),
          ...(await Promise.all(
            (["modern", "legacy"] as const).flatMap((era) => [
              ask(door, "tools/list", {}, era),
              ask(door, "tools/call", { name: tool }, era),
              ask("/mcp", "tools/call", { name: `${slug}__${tool}` }, era),
            ]),
          )),
        ];
      };
      const unknown = await answers("nobody", "nothing");
      for (const slug of ["docs", "dead"]) expect(await answers(slug, "search"), slug).toEqual(unknown);
      expect(await answers("docs", "nothing")).toEqual(unknown);
      expect(JSON.stringify(unknown)).not.toContain("Internal");
    }
    expect(upstream.seen).toEqual([]);
  });
});

describe("a request without a good credential", () => {
  it.each(["/mcp", "/mcp/docs", "/mcp/nobody"])("gets the same 401 at %s [P-4]", async (path) => {
    const { gateway } = startDocs();
    await agentOf(gateway, { name: "docs" });
    const send = (headers: Record<string, string>) => gateway.fetch(path, { method: "POST", body: "{", headers });
    for (const headers of [{}, { Authorization: "Bearer sk-pst-wrong" }, { "x-api-key": "wrong" }]) {
      const response = await send(headers);
      expect(response.status).toBe(401);
      expect(response.headers.get("WWW-Authenticate")).toMatch(/^Bearer/);
      expect(await response.json()).toEqual({
        jsonrpc: "2.0",
        error: { code: -32600, message: "A valid credential is required.", data: { code: "unauthorized" } },
      });
    }
  });

  it("is refused at once when its key is switched off or deleted [PS-7]", async () => {
    const { gateway } = startDocs();
    const agent = await agentOf(gateway, { name: "docs" });
    const path = `/v1/virtual-keys/${agent.key.virtual_key_id}`;
    expect((await agent.modern("/mcp", "tools/list")).status).toBe(200);
    await gateway.admin("PATCH", path, { is_active: false });
    expect((await agent.modern("/mcp", "tools/list")).status).toBe(401);
    await gateway.admin("PATCH", path, { is_active: true });
    expect((await agent.modern("/mcp", "tools/list")).status).toBe(200);
    await gateway.admin("DELETE", path);
    expect((await agent.modern("/mcp", "tools/list")).status).toBe(401);
  });
});
