/** An aggregate of many servers, some of which do not answer. Nothing is timed: what has happened is counted. */
import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { agentOf, createAgent } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { type Script, scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';

/** Servers by name, each at a host of its own. */
function manyServers(names: readonly string[], eraOf: (at: number) => Script["era"]) {
  const servers = new Map(names.map((name, at) => [name, scriptedServer({ era: eraOf(at), tools: [SEARCH] })]));
  const of = (url: string) => servers.get(new URL(url).hostname.split(".")[0] ?? "");
  const network = async (request: Request) => of(request.url)?.network(request) ?? new Response(null, { status: 404 });
  return { servers, network };
}

it.each(["modern", "legacy"] as const)(
  "calls and lists neither change nor wait while five of twenty servers hang: a %s client [R-12]",
  async (era) => {
    const names = Array.from({ length: 20 }, (_, at) => `s${String(at).padStart(2, "0")}`);
    const { servers, network } = manyServers(names, (at) => (at % 2 === 0 ? "modern" : "legacy"));
    const gateway = startGateway(network);
    for (const name of names) {
      const server_url = `https://${name}.example/mcp`;
      const fields = { name, server_url, allow_on_all_virtual_keys: true };
      expect((await gateway.admin("POST", "/v1/servers", fields)).status).toBe(201);
    }
    const agent = await createAgent(gateway, []);
    const session = era === "legacy" ? await agent.initialize("/mcp") : {};
    const ask = (method: string, params: Record<string, unknown> = {}) =>
      era === "legacy" ? agent.legacy("/mcp", method, params, session) : agent.modern("/mcp", method, params);
    const call = async (name: string) => (await ask("tools/call", { name: `${name}__search` })).text();
    const answersOfOthers = async () => {
      const greeting = era === "legacy" ? "ping" : "server/discover";
      const answers = [await (await ask("tools/list")).text(), await (await ask(greeting)).text()];
      for (const name of others) answers.push(await call(name));
      return answers;
    };
    const [hanging, others] = [names.slice(0, 5), names.slice(5)];
    const before = await answersOfOthers();
    expect(before[0]).toContain('"s00__search"');

    const gate = { isOpen: false };
    for (const name of hanging) {
      // Asked again and again: a promise of the test must not be waited for in an object.
      const hang = async () => {
        while (!gate.isOpen) await new Promise((resolve) => setTimeout(resolve, 5));
        return undefined;
      };
      servers.get(name)?.change({ first: hang });
    }
    for (const server of servers.values()) server.seen.length = 0;
    let ended = 0;
    const waiting = hanging.map((name) => call(name).finally(() => ended++));
    await vi.waitFor(() => {
      for (const name of hanging) expect(servers.get(name)?.seen, name).toHaveLength(1);
    }, 10_000);

    expect(await answersOfOthers()).toEqual(before);
    expect(ended, "calls to the hanging servers that have ended").toBe(0);
    for (const name of others) expect(servers.get(name)?.calls(), name).toHaveLength(1);
    for (const name of hanging) expect(servers.get(name)?.seen, "nothing but the call itself").toHaveLength(1);
    gate.isOpen = true;
    for (const text of await Promise.all(waiting)) expect(text).toContain('"content":[]');
  },
);

it("tools/list asks no server, and the database as often for 1 server as for 100 [R-16]", async () => {
  const names = Array.from({ length: 100 }, (_, at) => `s${at}`);
  const { servers, network } = manyServers(names, () => "modern");
  const gateway = startGateway(network);
  const register = async (name: string) => {
    const fields = { name, server_url: `https://${name}.example/mcp`, allow_on_all_virtual_keys: true };
    expect((await gateway.admin("POST", "/v1/servers", fields)).status).toBe(201);
  };
  const agent = await createAgent(gateway, []);
  /** The list as an isolate makes it that remembers nothing, and how often it has asked the database. */
  const listAnew = async () => {
    let asked = 0;
    const counting = {
      prepare(query: string) {
        asked++;
        return env.DB.prepare(query);
      },
      batch: (statements: D1PreparedStatement[]) => env.DB.batch(statements),
    };
    const cache = { get: async () => null, put: async () => undefined };
    const anew = startGateway(network, { DB: counting }, { cache });
    for (const server of servers.values()) server.seen.length = 0;
    const headers = { Authorization: `Bearer ${agent.key.value}`, "Content-Type": "application/json" };
    const body = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
    const response = await anew.fetch("/mcp", { method: "POST", headers, body });
    const { result } = await response.json<{ result: { tools: unknown[] } }>();
    const seen = [...servers.values()].reduce((sum, server) => sum + server.seen.length, 0);
    return { tools: result.tools.length, seen, asked };
  };
  const [first = "", ...rest] = names;
  await register(first);
  const one = await listAnew();
  expect(one).toMatchObject({ tools: 1, seen: 0 });
  expect(one.asked).toBeGreaterThan(0);
  for (const name of rest) await register(name);
  expect(await listAnew()).toEqual({ ...one, tools: 100 });
}, 60_000);

it("a call that waits in vain ends at its deadline, also when its legacy client has left [P-68]", async () => {
  const upstream = scriptedServer({ era: "modern", tools: [SEARCH] });
  const aborted = vi.fn();
  const gateway = startGateway((request) => {
    request.signal.addEventListener("abort", aborted);
    return upstream.network(request);
  });
  const agent = await agentOf(gateway, { name: "docs", timeout_ms: 1_000 });
  upstream.change({ call: () => new Promise<Response>(() => undefined) });
  aborted.mockClear();
  const client = new AbortController();
  const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}';
  const headers = { Authorization: `Bearer ${agent.key.value}`, "Content-Type": "application/json" };
  const answered = gateway.fetch("/mcp/docs", { method: "POST", headers, body, signal: client.signal });
  await vi.waitFor(() => expect(upstream.calls()).toHaveLength(1), 10_000);
  client.abort();
  await answered.catch(() => undefined);
  expect(await agent.rows()).toMatchObject([{ ok: false, outcome: "upstream_timeout", attempts: 1 }]);
  expect(aborted).toHaveBeenCalledTimes(1);
  expect(upstream.calls()).toHaveLength(1);
});
