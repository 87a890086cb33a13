import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import type { InProcessServer } from "../../src/registry/inprocess.ts";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { createAgent } from "../support/agent.ts";
import { accepted, createOrg, generationOf, offline, refusal, stored } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const list = async (gateway: TestGateway, query = "", headers = {}) =>
  (await accepted<{ rows: ServerView[] }>(await gateway.admin("GET", `/v1/servers${query}`, undefined, headers))).rows;

/** A server with one tool, as code would bring it. */
function clockServer(tool = "now", name = "clock"): InProcessServer {
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name, version: "1" });
    const inputSchema = z.object({ zone: z.string() });
    server.registerTool(tool, { description: "tells the time", inputSchema }, ({ zone }) => ({
      content: [{ type: "text", text: `noon in ${zone}` }],
    }));
    return server;
  });
  return { name, display_name: "Clock", fetch: (request) => handler.fetch(request) };
}

const startWith = (...inProcess: InProcessServer[]) => startGateway(offline, {}, { inProcess });

describe("the built-in server", () => {
  it("is listed, for every org [PS-29]", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    const [server, ...others] = await list(gateway, "", { "X-Org-Id": "acme" });
    expect(others).toEqual([]);
    expect(server).toMatchObject({
      server_id: "gateway",
      name: "gateway",
      display_name: "Postern",
      connection_type: "inprocess",
      server_url: null,
      enabled: true,
      auth_type: "none",
      status: "active",
      state: "connected",
      tool_mode: "all",
      allow_on_all_virtual_keys: true,
      org_ids: [],
    });
    expect(await accepted(await gateway.admin("GET", "/v1/servers/gateway"))).toEqual(server);
    expect(await list(gateway, "?transport=inprocess")).toEqual([server]);
    expect((await accepted<{ entries: unknown[] }>(await gateway.admin("GET", "/v1/allowlist"))).entries).toEqual([]);
  });

  it("takes no write, and says so [PS-29]", async () => {
    const gateway = startGateway(offline);
    const [before, generation] = [await stored(), await generationOf()];
    const writes: [string, string, unknown?][] = [
      ["PATCH", "", { display_name: "Mine" }],
      ["PATCH", "", {}],
      ["DELETE", ""],
      ["POST", "/reconnect"],
      ["POST", "/discover"],
      ["PUT", "/org-ids", { org_ids: ["default"] }],
      ["PUT", "/allowed-tools", { allowed_tools: null }],
      ["POST", "/allowed-tools/copy", { source_server_id: "gateway" }],
      ["PATCH", "/tools/run_start", { allowed: false }],
    ];
    for (const [method, path, body] of writes) {
      const response = await gateway.admin(method, `/v1/servers/gateway${path}`, body);
      expect([method, path, await refusal(response)]).toEqual([method, path, { status: 400, code: "read_only" }]);
    }
    expect([await stored(), await generationOf()]).toEqual([before, generation]);
  });

  it("can be assigned to a key [PS-29]", async () => {
    const gateway = startGateway(offline);
    const servers = [{ server_id: "gateway", tools_to_execute: ["run_start"] }];
    const created = await gateway.admin("POST", "/v1/virtual-keys", { name: "agent", servers });
    expect(await accepted(created, 201)).toMatchObject({ servers });
  });
});

describe("a server that code brings [PS-63]", () => {
  it("is registered, listed as read-only, and its tools are called like any other's", async () => {
    const gateway = startWith(clockServer());
    expect(await list(gateway, "?name=clock")).toMatchObject([
      { server_id: "clock", display_name: "Clock", connection_type: "inprocess", state: "connected" },
    ]);
    expect(await refusal(await gateway.admin("DELETE", "/v1/servers/clock"))).toEqual({
      status: 400,
      code: "read_only",
    });
    const agent = await createAgent(gateway, []);
    const params = { name: "clock__now", arguments: { zone: "UTC" } };
    for (const call of [agent.modern("/mcp", "tools/call", params), agent.legacy("/mcp", "tools/call", params)]) {
      const response = await call;
      expect(await response.text()).toContain("noon in UTC");
    }
    expect(await (await agent.modern("/mcp/clock", "tools/list")).text()).toContain('"name":"now"');
    expect(await agent.rows()).toMatchObject([
      { server_id: "clock", tool: "now", ok: true },
      { server_id: "clock", tool: "now", ok: true },
    ]);
  });

  it("is provided once, and follows its code", async () => {
    await list(startWith(clockServer()));
    const agent = await createAgent(startWith(clockServer("later")), []);
    const tools = await (await agent.modern("/mcp/clock", "tools/list")).text();
    expect(tools).toContain('"name":"later"');
    expect(tools).not.toContain('"name":"now"');
    expect(await list(startWith(clockServer("later")), "?name=clock")).toHaveLength(1);
  });

  it("does not take the place of one that an admin has registered", async () => {
    const own = await startGateway(offline).admin("POST", "/v1/servers", {
      name: "clock",
      server_url: "https://clock.example/mcp",
      enabled: false,
    });
    expect(own.status).toBe(201);
    const gateway = startWith(clockServer());
    expect(await list(gateway, "?name=clock")).toMatchObject([{ connection_type: "http", display_name: "clock" }]);
  });
});
