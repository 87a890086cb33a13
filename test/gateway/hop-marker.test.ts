import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { readConfig } from "../../src/config.ts";
import { HOP_HEADER, hopMarker } from "../../src/platform/hop-marker.ts";
import { Secret } from "../../src/platform/secret.ts";
import { agentOf } from "../support/agent.ts";
import { DOOR } from "../support/execute.ts";
import { startGateway } from "../support/gateway.ts";
import { sseServer } from "../support/sse-upstream.ts";
import { scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';
const OWN = readConfig(env).hop ?? "";
const OTHER = "another-gateway_123456";

describe("the marker of a gateway", () => {
  it("is its own, stays the same, and tells nothing of its keys [P-65]", () => {
    expect(OWN).toMatch(/^[A-Za-z0-9_-]{22}$/);
    expect(readConfig(env).hop).toBe(OWN);
    expect(hopMarker(new Secret(`k1:${btoa("another key for tests, 32 bytes!")}`))).not.toBe(OWN);
    expect(env.ENCRYPTION_KEYS).not.toContain(OWN);
    expect(hopMarker(new Secret(""))).toBeNull();
  });
});

describe("a request to a server", () => {
  it.each(["modern", "legacy"] as const)("of the %s era carries it, whatever it is for [P-65]", async (era) => {
    const upstream = scriptedServer({ era, tools: [SEARCH] });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    const session = await agent.initialize("/mcp/docs");
    await agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session);
    await agent.modern("/mcp/docs", "tools/call", { name: "search" });
    await gateway.fetch("/mcp/docs", {
      method: "DELETE",
      headers: { ...session, Authorization: `Bearer ${agent.key.value}` },
    });
    expect(upstream.calls()).toHaveLength(2);
    if (era === "legacy") expect(upstream.seen.map(({ method }) => method)).toContain("DELETE");
    expect(new Set(upstream.seen.map(({ headers }) => headers.get(HOP_HEADER)))).toEqual(new Set([OWN]));
  });

  it("over HTTP+SSE carries it on the stream and on each message [P-65]", async () => {
    const upstream = sseServer({ tools: [SEARCH] });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs", connection_type: "sse" });
    const called = await agent.modern(
      "/mcp/docs",
      "tools/call",
      { name: "search" },
      { headers: { [HOP_HEADER]: OTHER } },
    );
    expect(await called.text()).toContain('"content":[]');
    const seen = upstream.seen.map(({ method, message, headers }) => [
      message["method"] ?? method,
      headers.get(HOP_HEADER),
    ]);
    expect(seen).toContainEqual(["GET", OWN]);
    expect(seen).toContainEqual(["tools/call", `${OTHER}, ${OWN}`]);
    expect(seen.filter(([, hops]) => !String(hops).endsWith(OWN))).toEqual([]);
  });
});

describe("a request that comes in", () => {
  const doors = ["/mcp", "/mcp/docs", "/mcp/unknown", DOOR];
  it.each([
    ["POST with the marker alone", OWN],
    ["POST with the marker among others", `${OTHER}, ${OWN} ,x`],
  ])("by %s is refused at every door, before its credential is looked at [P-65]", async (_, hops) => {
    const upstream = scriptedServer({ era: "modern", tools: [SEARCH] });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    upstream.seen.length = 0;
    for (const door of doors) {
      for (const credential of [{}, { Authorization: `Bearer ${agent.key.value}` }]) {
        const headers = { ...credential, "Content-Type": "application/json", [HOP_HEADER]: hops };
        const response = await gateway.fetch(door, { method: "POST", headers, body: "{}" });
        expect(response.status, door).toBe(508);
        expect(await response.text()).toContain("This request has been through this gateway already");
      }
    }
    for (const method of ["GET", "DELETE"]) {
      const response = await gateway.fetch("/mcp/docs", { method, headers: { [HOP_HEADER]: OWN } });
      expect(response.status).toBe(508);
      expect(await response.json()).toMatchObject({ error: { code: 5080, data: { code: "loop_detected" } } });
    }
    expect(upstream.seen).toEqual([]);
  });

  it("by way of another gateway is served, and goes on with both markers [P-65]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [SEARCH] });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    const hop = { [HOP_HEADER]: `${OTHER},no marker, x` };
    expect((await agent.modern("/mcp/docs", "tools/call", { name: "search" }, { headers: hop })).status).toBe(200);
    await agent.legacy("/mcp", "tools/call", { name: "docs__search" }, hop);
    const key = { "x-bf-vk": agent.key.value, "Content-Type": "application/json" };
    const body = JSON.stringify({ id: "c", type: "function", function: { name: "docs__search" } });
    expect((await gateway.fetch(DOOR, { method: "POST", headers: { ...key, ...hop }, body })).status).toBe(200);
    const both = `${OTHER}, ${OWN}`;
    expect(upstream.calls().map(({ headers }) => headers.get(HOP_HEADER))).toEqual([both, both, both]);
  });

  it("ends a loop over another gateway at its second round, and the client hears why [P-65]", async () => {
    // Stands for a gateway whose server is this one.
    const upstream = scriptedServer({
      era: "modern",
      tools: [SEARCH],
      call: ({ text, headers }) => {
        const own = ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"].map((name) => [name, headers.get(name) ?? ""]);
        const hops = `${headers.get(HOP_HEADER)}, ${OTHER}`;
        return agent.post("/mcp/docs", text, { ...Object.fromEntries(own), [HOP_HEADER]: hops });
      },
    });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" });
    const response = await agent.modern("/mcp/docs", "tools/call", { name: "search" });
    expect(await response.json()).toMatchObject({ error: { code: 5080 } });
    expect(upstream.calls()).toHaveLength(1);
  });
});
