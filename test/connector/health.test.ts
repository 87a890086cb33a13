import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Connector } from "../../src/connector/connector.object.ts";
import { nextLook, type Plan, planAfter } from "../../src/connector/schedule.ts";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { events, idOf, rpcError, type Script, scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';
const MINUTE = 60_000;

afterEach(() => void vi.useRealTimers());

async function startDocs(script: Partial<Script> = {}, server: Record<string, unknown> = {}) {
  const upstream = scriptedServer({ era: "legacy", tools: [SEARCH], ...script });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs", ...server });
  const object = env.CONNECTOR.getByName(agent.server_id);
  return {
    upstream,
    gateway,
    agent,
    object,
    async record() {
      const response = await gateway.admin("GET", `/v1/servers/${agent.server_id}`);
      return response.json<{ state: string; status: string; last_failure: { stage: string } | null }>();
    },
    /** Moves time to the next look and lets it happen; returns what the server was asked. */
    async look() {
      const at = await runInDurableObject(object, (_, { storage }) => storage.getAlarm());
      expect(at, "an alarm stands").not.toBeNull();
      vi.useFakeTimers({ toFake: ["Date"], now: (at ?? 0) + 1 });
      upstream.seen.length = 0;
      expect(await runDurableObjectAlarm(object)).toBe(true);
      return upstream.seen.map(({ method, message }) => message["method"] ?? method);
    },
  };
}

describe("the health of a server", () => {
  it.each<[string, Script["era"], boolean, string[]]>([
    [
      "a ping to a legacy one",
      "legacy",
      true,
      ["initialize", "notifications/initialized", "ping", "tools/list", "DELETE"],
    ],
    ["a list where ping is off", "legacy", false, ["initialize", "notifications/initialized", "tools/list", "DELETE"]],
    ["server/discover to a modern one", "modern", true, ["server/discover"]],
  ])("is asked with %s [BF-14]", async (_, era, is_ping_available, asked) => {
    // The script knows no ping, which is no illness either: then the list decides.
    const { look, record } = await startDocs({ era }, { is_ping_available });
    expect(await look()).toEqual(asked);
    expect(await record()).toMatchObject({ state: "connected", last_failure: null });
  });

  it.each([
    ["connect", 503],
    ["auth", 401],
  ])(
    "is lost with the fifth failure to %s in a row and comes back with one success [BF-64, PS-65]",
    async (stage, status) => {
      const { upstream, look, record } = await startDocs({ era: "modern" }, {});
      const states: string[] = [];
      const asked: unknown[] = [];
      for (const failures of [4, 6]) {
        upstream.change({ first: () => new Response("no", { status }) });
        for (let n = 0; n < failures; n++) {
          asked.push((await look()).join());
          expect(await record()).toMatchObject({ status: "active", last_failure: { stage } });
          states.push((await record()).state);
        }
        upstream.change({ first: undefined });
        await look();
        expect(await record()).toMatchObject({ state: "connected", last_failure: null });
      }
      const connected = Array(4).fill("connected");
      expect(states).toEqual([...connected, ...connected, "disconnected", "disconnected"]);
    },
  );

  it("is asked for again and again where no discovery has succeeded yet, until one does [PS-65]", async () => {
    const { upstream, look, record } = await startDocs({
      era: "modern",
      first: () => new Response("no", { status: 503 }),
    });
    const states = [(await record()).state];
    for (let n = 0; n < 6; n++) {
      expect(await look()).toEqual(["server/discover"]);
      states.push((await record()).state);
    }
    // The registration was one look, and the fifth of them in a row that failed is the fourth by alarm.
    expect(states).toEqual([...Array(4).fill("error"), ...Array(3).fill("disconnected")]);
    upstream.change({ first: undefined });
    expect(await look()).toEqual(["server/discover", "tools/list"]);
    expect(await record()).toMatchObject({ state: "connected", last_failure: null });
  });

  it.each([
    ["HEALTH_INTERVAL_MS", 300_000],
    ["DISCOVERY_INTERVAL_MS", 600_000],
  ] as const)(
    "is looked at every %s, give or take a tenth; both at 0 switch it off [PS-65]",
    async (name, standard) => {
      const { object } = await startDocs({ era: "modern" });
      const off = { HEALTH_INTERVAL_MS: "0", DISCOVERY_INTERVAL_MS: "0" };
      const waits = await runInDurableObject(object, async (_, state) => {
        const waitWith = async (vars: Record<string, string>) => {
          await new Connector(state, { ...env, ...vars } as unknown as Env).discover();
          const at = await state.storage.getAlarm();
          return at === null ? null : (at - Date.now()) / MINUTE;
        };
        const without: Record<string, string> = { ...off };
        delete without[name];
        return [await waitWith(without), await waitWith(off), await waitWith({ ...off, [name]: "3600000" })];
      });
      // In tenths of what they should be, rounded: 9 to 11.
      const tenths = (wait: number | null | undefined, ms: number) => Math.round(((wait ?? 0) * 10 * MINUTE) / ms);
      expect(waits[1]).toBeNull();
      for (const tenth of [tenths(waits[0], standard), tenths(waits[2], 3_600_000)]) {
        expect([9, 10, 11]).toContain(tenth);
      }
    },
  );

  it("goes on being looked at after an eviction, and discovers what has changed", async () => {
    const { upstream, agent, object, look } = await startDocs({ era: "modern" });
    upstream.change({ tools: [SEARCH.replace('"search"', '"search","title":"T"')] });
    await evictDurableObject(object);
    const asked: unknown[] = [];
    for (let n = 0; n < 3; n++) asked.push(...(await look()));
    expect(asked).toContain("tools/list");
    expect(await (await agent.modern("/mcp", "tools/list")).text()).not.toContain('"title":"T"');
  });
});

describe("a change at the server", () => {
  it.each(["modern", "legacy"] as const)(
    "is shown after the next discovery, which nobody has to ask for: %s [R-15]",
    async (era) => {
      const { upstream, agent, look } = await startDocs({ era }, { definition_policy: "trust", allowed_tools: ["*"] });
      const shown = async () => (await agent.modern("/mcp", "tools/list")).text();
      expect(await shown()).toContain('"docs__search"');
      const renamed = SEARCH.replace('"search"', '"find","title":"T"');
      upstream.change({ tools: [renamed] });
      // Two looks at its health stand before each discovery.
      for (let n = 0; n < 3; n++) await look();
      const after = await shown();
      expect(after).toContain('"docs__find"');
      expect(after).toContain('"title":"T"');
      expect(after).not.toContain('"docs__search"');
      upstream.change({ tools: [renamed.replace('"T"', '"U"')] });
      for (let n = 0; n < 3; n++) await look();
      expect(await shown()).toContain('"title":"U"');
    },
  );
});

describe("POST /v1/servers/{id}/reconnect", () => {
  it("answers the record, or why there is no connection [BF-43]", async () => {
    const { gateway, agent, upstream } = await startDocs();
    const reconnect = () => gateway.admin("POST", `/v1/servers/${agent.server_id}/reconnect`);
    expect(await (await reconnect()).json()).toMatchObject({ server_id: agent.server_id, state: "connected" });
    upstream.change({ first: () => new Response("no", { status: 401 }) });
    const failed = await reconnect();
    expect(failed.status).toBe(502);
    expect(await failed.json()).toMatchObject({ detail: "The server refused the credential (HTTP 401)." });
    await gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, { enabled: false });
    expect((await reconnect()).status).toBe(400);
  });
});

describe("a server that says its tools have changed", () => {
  it("is discovered again, behind the answer of the call that said so", async () => {
    const { upstream, agent, gateway } = await startDocs({
      call: (seen) =>
        events(
          '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
          `{"jsonrpc":"2.0","id":${idOf(seen)},"result":{"content":[]}}`,
        ),
    });
    await gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, { allowed_tools: ["*"] });
    upstream.change({ tools: [SEARCH, SEARCH.replace("search", "read")] });
    await (await agent.modern("/mcp/docs", "tools/call", { name: "search" })).text();
    await gateway.settled();
    expect(await (await agent.modern("/mcp/docs", "tools/list")).text()).toContain('"read"');
  });
});

describe("planAfter", () => {
  const intervals = { healthMs: 5 * MINUTE, discoveryMs: 10 * MINUTE };
  const plan: Plan = { failures: 0, health_at: 0, discovery_at: 10 };

  it("spreads what is due, a tenth to either side", () => {
    expect(planAfter("discovery", true, plan, 0, intervals, 0)).toEqual({
      failures: 0,
      health_at: 4.5 * MINUTE,
      discovery_at: 9 * MINUTE,
    });
    expect(planAfter("health", true, plan, 0, intervals, 1)).toEqual({
      failures: 0,
      health_at: 5.5 * MINUTE,
      discovery_at: 10,
    });
  });

  it("asks a lost server less and less often, up to a limit", () => {
    const waits = [0, 3, 4, 5, 6, 7, 20].map(
      (failures) => planAfter("health", false, { ...plan, failures }, 0, intervals, 0.5).health_at,
    );
    expect(waits).toEqual([5, 5, 5, 10, 20, 40, 40].map((minutes) => minutes * MINUTE));
  });

  it("leaves out what is switched off", () => {
    const off = planAfter("discovery", true, plan, 0, { healthMs: 0, discoveryMs: 0 }, 0.5);
    expect([off.health_at, off.discovery_at, nextLook(off)]).toEqual([null, null, null]);
  });
});

it("a pong is enough, and an error that is none is a failure", async () => {
  const { upstream, look, record } = await startDocs();
  upstream.change({
    first: ({ message }) => (message["method"] === "ping" ? rpcError(message, -32603, 200) : undefined),
  });
  expect(await look()).toEqual(["initialize", "notifications/initialized", "ping", "DELETE"]);
  expect(await record()).toMatchObject({ state: "connected", last_failure: { stage: "connect" } });
});
