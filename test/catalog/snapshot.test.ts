import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { d1CatalogStore } from "../../src/catalog/catalog.store.ts";
import type { ColoCache } from "../../src/platform/colo-cache.ts";
import { type Agent, agentOf, createAgent } from "../support/agent.ts";
import { accepted, generationOf, offline } from "../support/api.ts";
import { type FakeNetwork, startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const tool = (name: string, description = "first") =>
  JSON.stringify({ name, description, inputSchema: { type: "object" } });

const namesOf = async (response: Promise<Response>) => {
  const { result } = await (await response).json<{ result: { tools: { name: string }[]; nextCursor?: string } }>();
  return { names: result.tools.map(({ name }) => name), next: result.nextCursor };
};

/** The list as another isolate gives it, which remembers nothing of the first. */
function elsewhere(agent: Agent, network: FakeNetwork = offline, overrides = {}) {
  const gateway = startGateway(network, {}, overrides);
  const envelope = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  return async (path = "/mcp", params = {}) => {
    const response = await gateway.fetch(path, {
      method: "POST",
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { ...params, _meta: envelope } }),
      headers: {
        Authorization: `Bearer ${agent.key.value}`,
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
      },
    });
    return response.text();
  };
}

describe("a compiled list", () => {
  it("is shared between isolates by the colo's cache, without the database [CN-15]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search")] });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const first = await (await agent.modern("/mcp", "tools/list")).text();
    // No generation is raised by this: whoever asks the database now is told something else.
    await env.DB.prepare('UPDATE server_tools SET approved_definition = \'{"name":"other"}\'').run();
    expect(await elsewhere(agent)()).toBe(first);
  });

  it("is made from the database where the cache never hits [T-21, R-14]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search")] });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const first = await (await agent.modern("/mcp", "tools/list")).text();
    const asked: string[] = [];
    const cache: ColoCache = {
      get: async (key) => {
        asked.push(key);
        return null;
      },
      put: async () => undefined,
    };
    expect(await elsewhere(agent, offline, { cache })()).toBe(first);
    expect(asked).toHaveLength(2);
  });

  it("is kept for a minute, by its generation [CN-15, RG-27]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search")] });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const kept: [key: unknown, seconds: number][] = [];
    const cache: ColoCache = {
      get: async () => null,
      put: async (key, _, seconds) => void kept.push([JSON.parse(key)[0], seconds]),
    };
    await elsewhere(agent, offline, { cache })();
    expect(kept).toContainEqual(["tools", 60]);
  });

  it("of an older generation is never served [T-21, PS-7]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search")] });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs", definition_policy: "trust" });
    expect(await elsewhere(agent, upstream.network)()).toContain("first");
    upstream.change({ tools: [tool("search", "second")] });
    await accepted(await gateway.admin("POST", `/v1/servers/${agent.server_id}/discover`));
    expect(await elsewhere(agent, upstream.network)()).toContain("second");
    await accepted(await gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, { name: "papers" }));
    expect(await elsewhere(agent, upstream.network)()).toContain("papers__search");
  });

  it("is not another key's, whose tools are others", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search"), tool("erase")] });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    const { server_id } = agent;
    const other = await createAgent(gateway, [{ server_id, tools_to_execute: ["search"] }]);
    for (const round of [1, 2]) {
      expect([round, (await namesOf(agent.modern("/mcp", "tools/list"))).names]).toEqual([
        round,
        ["docs__erase", "docs__search"],
      ]);
      expect([round, (await namesOf(other.modern("/mcp", "tools/list"))).names]).toEqual([round, ["docs__search"]]);
    }
    await accepted(
      await gateway.admin("PATCH", `/v1/virtual-keys/${other.key.virtual_key_id}`, {
        servers: [{ server_id, tools_to_execute: ["erase"] }],
      }),
    );
    expect(await elsewhere(other)()).not.toContain("docs__search");
  });

  it("goes on behind the last name of a page, to the end", async () => {
    const names = Array.from({ length: 2_500 }, (_, at) => `t${String(at).padStart(4, "0")}`);
    const upstream = scriptedServer({ era: "modern", tools: names.map((name) => tool(name)) });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    const seen: string[] = [];
    let cursor: string | undefined;
    const sizes: number[] = [];
    do {
      const page = await namesOf(agent.modern("/mcp/docs", "tools/list", cursor === undefined ? {} : { cursor }));
      seen.push(...page.names);
      sizes.push(page.names.length);
      cursor = page.next;
    } while (cursor !== undefined);
    expect(sizes).toEqual([1_000, 1_000, 500]);
    expect(seen).toEqual(names);
  });

  it("leaves out a tool that has gone from the catalog since, and is not kept", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search"), tool("erase")] });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    await agent.modern("/mcp/docs", "tools/call", { name: "search", arguments: {} });
    await env.DB.batch([
      env.DB.prepare("DELETE FROM server_tools WHERE tool = 'erase'"),
      env.DB.prepare("UPDATE generations SET value = value + 1 WHERE org_id = '*'"),
    ]);
    expect((await namesOf(agent.modern("/mcp", "tools/list"))).names).toEqual(["docs__search"]);
    await env.DB.prepare('UPDATE server_tools SET approved_definition = \'{"name":"search","title":"T"}\'').run();
    expect(await (await agent.modern("/mcp", "tools/list")).text()).toContain('"title":"T"');
  });
});

describe("generations", () => {
  it("begin at random, so that a cache does not take a new database for a former one", async () => {
    expect(await generationOf()).toBeGreaterThan(1_000);
    expect(await generationOf("default")).not.toBe(await generationOf());
  });
});

describe("the snapshot", () => {
  it.each([
    ['{"readOnlyHint":true}', 1],
    ['{"idempotentHint":true,"readOnlyHint":false}', 1],
    ['{"readOnlyHint":"true"}', 0],
    ['{"readOnlyHint":1}', 0],
    ['{"destructiveHint":false}', 0],
    ["[]", 0],
    ["null", 0],
    ['"x"', 0],
  ])("knows whether a call may be repeated: annotations %s", async (annotations, repeatable) => {
    const upstream = scriptedServer({ era: "modern", tools: [`{"name":"search","annotations":${annotations}}`] });
    const { server_id } = await agentOf(startGateway(upstream.network), { name: "docs" });
    const { tools } = await d1CatalogStore(env.DB).read("default");
    expect(tools.filter((tool) => tool.server_id === server_id)).toMatchObject([{ tool: "search", repeatable }]);
  });
});
