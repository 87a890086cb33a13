import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { agentOf } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { resultOf, scriptedServer } from "../support/upstream.ts";

async function startPriced(price: number) {
  const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}', '{"name":"free"}'] });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs" });
  const path = `/v1/servers/${agent.server_id}`;
  const setPrice = async (usd: number) =>
    accepted(await gateway.admin("PATCH", `${path}/tools/search`, { price_usd: usd }));
  await setPrice(price);
  const call = async (tool = "search") => {
    await (await agent.modern("/mcp/docs", "tools/call", { name: tool, arguments: {} })).text();
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
