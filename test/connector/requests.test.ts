/** What every request to a server is made of, whoever asks: discovery, health checks and calls (RG-28). */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { type Script, scriptedServer } from "../support/upstream.ts";

const CONFIG = { headers: { "X-Api-Key": "s3cret", Authorization: "Basic YQ==" }, note: "kept", team: { id: 7 } };

afterEach(() => void vi.useRealTimers());

/** Registers, discovers, calls from both eras and checks a server; gives all that it was sent. */
async function everyRequest(era: Script["era"], fields: Record<string, unknown>) {
  const upstream = scriptedServer({ era, tools: ['{"name":"search","inputSchema":{"type":"object"}}'] });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs", config: CONFIG, ...fields });
  await gateway.admin("POST", `/v1/servers/${agent.server_id}/discover`);
  await (await agent.modern("/mcp", "tools/call", { name: "docs__search" })).text();
  const session = await agent.initialize("/mcp/docs");
  await (await agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session)).text();
  const object = env.CONNECTOR.getByName(agent.server_id);
  const at = await runInDurableObject(object, (_, { storage }) => storage.getAlarm());
  vi.useFakeTimers({ toFake: ["Date"], now: (at ?? 0) + 1 });
  expect(await runDurableObjectAlarm(object)).toBe(true);
  return upstream.seen;
}

const METHODS = {
  legacy: ["initialize", "notifications/initialized", "ping", "server/discover", "tools/call", "tools/list"],
  modern: ["server/discover", "tools/call", "tools/list"],
};

describe.each(["legacy", "modern"] as const)("every request to a %s server", (era) => {
  it("is JSON-RPC over POST, takes both kinds of answer, and carries the admin's headers [RG-28]", async () => {
    const seen = await everyRequest(era, {});
    const posts = seen.filter(({ method }) => method !== "DELETE");
    expect([...new Set(posts.map(({ message }) => message["method"]))].toSorted()).toEqual(METHODS[era]);
    for (const { method, headers, message } of posts) {
      expect([method, message["jsonrpc"], headers.get("Content-Type"), headers.get("Accept")]).toEqual([
        ...["POST", "2.0", "application/json", "application/json, text/event-stream"],
      ]);
    }
    for (const { headers } of seen) {
      expect([headers.get("X-Api-Key"), headers.get("Authorization")]).toEqual(["s3cret", "Basic YQ=="]);
    }
  });

  it("says nothing of what else the config holds", async () => {
    for (const { url, text, headers } of await everyRequest(era, {})) {
      expect(JSON.stringify([url, text, ...headers])).not.toMatch(/kept|note|team/);
    }
  });

  it("carries none of the admin's headers with auth_type none [RG-28]", async () => {
    const seen = await everyRequest(era, { auth_type: "none" });
    expect(seen.length).toBeGreaterThan(0);
    for (const { headers } of seen) {
      expect([headers.get("X-Api-Key"), headers.get("Authorization")]).toEqual([null, null]);
    }
  });
});
