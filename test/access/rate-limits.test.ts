import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { type Agent, agentOf, createAgent } from "../support/agent.ts";
import { createOrg, offline, refusal } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

/** The platform's limiter counts by key and minute, over all tests: each counts keys of its own. */
function limiter() {
  const name = crypto.randomUUID();
  const asked: string[] = [];
  return {
    asked,
    limit({ key }: { key: string }) {
      asked.push(key);
      return env.TEST_RATE.limit({ key: `${name} ${key}` });
    },
  };
}

const server = () => scriptedServer({ era: "modern", tools: ['{"name":"search"}'] }).network;
const list = (agent: Agent) => agent.modern("/mcp", "tools/list");
const statuses = async (responses: Promise<Response>[]) => (await Promise.all(responses)).map(({ status }) => status);

describe("the rate of requests", () => {
  it("of a key ends with 429, when to try again, and a JSON-RPC error that says so", async () => {
    const gateway = startGateway(server(), { PRINCIPAL_RATE: limiter() });
    const agent = await agentOf(gateway, { name: "docs" });
    const other = await createAgent(gateway, []);
    expect(await statuses([list(agent), list(agent), list(agent)])).toEqual([200, 200, 200]);
    for (const refused of [
      await list(agent),
      await agent.legacy("/mcp/docs", "tools/list"),
      await agent.modern("/mcp", "tools/call", { name: "docs__search", arguments: {} }),
    ]) {
      expect(refused.status).toBe(429);
      expect(refused.headers.get("Retry-After")).toBe("60");
      expect(await refused.json()).toMatchObject({
        error: { code: 4290, data: { code: "rate_limited", retry_after: 60 } },
      });
    }
    expect((await list(other)).status).toBe(200);
  });

  it("of an org counts all of its keys together, and no other org's", async () => {
    const gateway = startGateway(server(), { ORG_RATE: limiter() });
    await createOrg("acme");
    const agents = [await agentOf(gateway, { name: "docs" }), await createAgent(gateway, [])];
    const created = await gateway.admin("POST", "/v1/virtual-keys", { name: "theirs" }, { "X-Org-Id": "acme" });
    const { value } = await created.json<{ value: string }>();
    const requests = [0, 1, 0, 1]
      .map((at) => agents[at])
      .flatMap((agent) => (agent === undefined ? [] : [list(agent)]));
    expect((await statuses(requests)).toSorted()).toEqual([200, 200, 200, 429]);
    const theirs = await gateway.fetch("/mcp", {
      method: "POST",
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
      headers: { "x-api-key": value, "Content-Type": "application/json" },
    });
    expect(theirs.status).toBe(200);
  });

  it("is not limited where the operator has bound no limiter", async () => {
    const gateway = startGateway(server(), { PRINCIPAL_RATE: undefined, ORG_RATE: undefined, ADDRESS_RATE: undefined });
    const agent = await agentOf(gateway, { name: "docs" });
    expect(await statuses([list(agent), list(agent), list(agent), list(agent)])).toEqual([200, 200, 200, 200]);
  });
});

describe("failed authentications", () => {
  it.each(["/mcp", "/v1/servers", "/api/mcp/clients"])("of one address end with 429 at %s", async (path) => {
    const gateway = startGateway(offline, { ADDRESS_RATE: limiter() });
    const from = (address: string, credential: string) =>
      gateway.fetch(path, {
        method: path === "/mcp" ? "POST" : "GET",
        headers: { Authorization: `Bearer ${credential}`, "CF-Connecting-IP": address },
      });
    for (let at = 0; at < 3; at++) expect((await from("192.0.2.1", "guess")).status).toBe(401);
    const refused = await from("192.0.2.1", "guess");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("Retry-After")).toBe("60");
    expect((await from("192.0.2.2", "guess")).status).toBe(401);
    if (path === "/v1/servers") {
      expect(await refusal(refused)).toEqual({ status: 429, code: "rate_limited" });
      // Whoever shares the address and has a valid credential is let in.
      expect((await from("192.0.2.1", env.ADMIN_KEY)).status).toBe(200);
    }
  });

  it("are not counted while they succeed", async () => {
    const counted = limiter();
    const gateway = startGateway(server(), { ADDRESS_RATE: counted });
    await list(await agentOf(gateway, { name: "docs" }));
    expect(counted.asked).toEqual([]);
  });
});
