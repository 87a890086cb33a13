import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { agentOf } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { PRICE, startPriced as startPricedRuns, startRun } from "../support/priced.ts";
import { resultOf, scriptedServer } from "../support/upstream.ts";

async function startPriced(price: number, era: "modern" | "legacy" = "modern") {
  const upstream = scriptedServer({ era, tools: ['{"name":"search"}', '{"name":"free"}'] });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs" });
  const path = `/v1/servers/${agent.server_id}`;
  const setPrice = async (usd: number) =>
    accepted(await gateway.admin("PATCH", `${path}/tools/search`, { price_usd: usd }));
  await setPrice(price);
  const call = async (tool = "search", meta = {}) => {
    await (await agent.modern("/mcp/docs", "tools/call", { name: tool, arguments: {} }, { meta })).text();
    // Rows are in the order of their time, and a clock of milliseconds has only so many.
    await new Promise((resolve) => setTimeout(resolve, 2));
  };
  return { upstream, agent, setPrice, call };
}

describe("the cost of a call", () => {
  it("is the price of its tool at its time, if it succeeds [BF-62]", async () => {
    const { upstream, agent, setPrice, call } = await startPriced(0.001);
    await call();
    await call("free");
    await setPrice(2.5);
    await call();
    upstream.change({ call: (seen) => resultOf(seen, '{"content":[],"isError":true}') });
    await call();
    upstream.change({ call: () => new Response("", { status: 500 }) });
    await call();
    await call("unknown");
    expect((await agent.rows()).map(({ tool, ok, cost_usd }) => [tool, ok, cost_usd])).toEqual([
      ["unknown", false, 0],
      ["search", false, 0],
      ["search", false, 0],
      ["search", true, 2.5],
      ["free", true, 0],
      ["search", true, 0.001],
    ]);
  });

  it("is kept in whole nano-dollars", async () => {
    const { agent, call } = await startPriced(0.0000000014);
    await call();
    expect(await agent.rows()).toMatchObject([{ cost_usd: 0.000000001 }]);
  });

  it("is nothing for a row that has waited since before calls had one", async () => {
    const { agent, call } = await startPriced(1);
    await call();
    const [row] = await agent.rows();
    const { cost_usd: _, ...rest } = row ?? {};
    const old = { ...rest, id: "call_old", org_id: "default", args: null, created_at: 1 };
    await d1CallStore(env.DB).append(JSON.stringify([old]));
    expect((await agent.rows()).at(-1)).toMatchObject({ id: "call_old", cost_usd: 0 });
  });
});

describe("a call that needs several rounds", () => {
  const ASKS =
    '{"resultType":"input_required","requestState":"s","inputRequests":{"a":{"method":"elicitation/create"}}}';
  const meta = { "io.modelcontextprotocol/clientCapabilities": { elicitation: {} } };

  it("costs its price once, in the round that ends it [BF-62]", async () => {
    const { upstream, agent, call } = await startPriced(0.5);
    upstream.change({ call: (seen) => resultOf(seen, ASKS) });
    await call("search", meta);
    await call("search", meta);
    upstream.change({ call: (seen) => resultOf(seen, '{"resultType":"complete","content":[]}') });
    await call();
    const asking = { outcome: "input_required", ok: false, cost_usd: 0, error: "the server asks for input first" };
    expect(await agent.rows()).toMatchObject([{ outcome: "ok", ok: true, cost_usd: 0.5 }, asking, asking]);
  });

  it("takes its price from a budget once [PS-41]", async () => {
    const { call, upstream, agent } = await startPricedRuns({ call: (seen) => resultOf(seen, ASKS) });
    await startRun(call, { budget_usd: PRICE });
    const params = { name: "docs__paid", arguments: {} };
    for (let round = 0; round < 3; round++) {
      expect(await (await agent.modern("/mcp", "tools/call", params, { meta })).text()).toContain("input_required");
    }
    upstream.change({ call: (seen) => resultOf(seen, '{"resultType":"complete","content":[]}') });
    expect((await call("docs__paid")).isError).toBe(false);
    expect((await call("docs__paid")).text).toContain("run budget exceeded");
  });

  it("is no such call where a legacy server only has a member of that name", async () => {
    const legacy = await startPriced(0.5, "legacy");
    legacy.upstream.change({ call: (seen) => resultOf(seen, '{"resultType":"input_required","content":[]}') });
    await legacy.call();
    expect(await legacy.agent.rows()).toMatchObject([{ outcome: "ok", cost_usd: 0.5 }]);
  });
});

describe("what calls have cost", () => {
  it("is on the row, and summed by run, key, org and day", async () => {
    const { call, gateway, agent, setPrice, rows, runs } = await startPricedRuns();
    const run_id = await startRun(call);
    await call("docs__paid");
    await setPrice(0.25);
    await call("docs__paid");
    await call("docs__free");
    await call("run_finish", { run_id, outcome: "done" });
    await call("docs__paid");
    const all = await rows();
    const costs = all.filter(({ tool }) => tool === "paid").map(({ cost_usd }) => cost_usd);
    expect(costs.toSorted()).toEqual([0.25, 0.25, PRICE].toSorted());
    expect(await runs()).toMatchObject([{ run_id, cost_usd: PRICE + 0.25 }]);
    const virtual_key_id = agent.key.virtual_key_id;
    const day = `${all[0]?.["created_at"]}`.slice(0, 10);
    const stats = async (query = "") => accepted(await gateway.admin("GET", `/v1/calls/stats${query}`));
    const total_cost_usd = PRICE + 0.5;
    expect(await stats()).toMatchObject({
      ...{ total_cost_usd, by_key: [{ virtual_key_id, total_cost_usd }] },
      by_day: [{ day, total_cost_usd }],
    });
    expect(await stats(`?run_id=${run_id}`)).toMatchObject({ total_cost_usd: PRICE + 0.25 });
    expect(await stats(`?virtual_key_id=${virtual_key_id}`)).toMatchObject({ total_cost_usd });
  });
});
