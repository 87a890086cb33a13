import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { Session } from "../../src/sessions/session.object.ts";
import { agentOf, createAgent } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';

async function startDocs(era: "legacy" | "modern" = "legacy", vars: Record<string, unknown> = {}) {
  const upstream = scriptedServer({ era, tools: [SEARCH] });
  const gateway = startGateway(upstream.network, vars);
  return { upstream, gateway, agent: await agentOf(gateway, { name: "docs" }) };
}

describe("a legacy session", () => {
  it.each([
    ["2025-03-26", "2025-03-26"],
    ["2025-06-18", "2025-06-18"],
    ["2025-11-25", "2025-11-25"],
    ["2024-11-05", "2025-11-25"],
    ["2099-01-01", "2025-11-25"],
  ])("that asks for %s gets %s, without contact to a server [P-24]", async (asked, given) => {
    const { upstream, agent } = await startDocs();
    upstream.seen.length = 0;
    const params = { protocolVersion: asked, capabilities: {}, clientInfo: { name: "a", version: "1" } };
    const response = await agent.legacy("/mcp", "initialize", params);
    expect(await response.json()).toEqual({
      jsonrpc: "2.0",
      id: 1,
      result: {
        protocolVersion: given,
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: "postern", version: "0.1.0" },
      },
    });
    expect(response.headers.get("Mcp-Session-Id")).toMatch(/^ses_[A-Za-z0-9_-]{32}$/);
    expect(upstream.seen).toEqual([]);
  });

  it("is unknown to another principal and at another door, in the same words [P-25]", async () => {
    const { gateway, agent } = await startDocs();
    const session = await agent.initialize("/mcp");
    const other = await createAgent(gateway, []);
    const answers = [
      await other.legacy("/mcp", "ping", {}, session),
      await agent.legacy("/mcp/docs", "ping", {}, session),
      await agent.legacy("/mcp", "ping", {}, { "Mcp-Session-Id": `ses_${"a".repeat(32)}` }),
      await agent.legacy("/mcp", "ping", {}, { "Mcp-Session-Id": "made-up" }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
    expect(new Set(await Promise.all(answers.map((answer) => answer.text()))).size).toBe(1);
    expect((await agent.legacy("/mcp", "ping", {}, session)).status).toBe(200);
  });

  it("survives the eviction of its object", async () => {
    const { agent } = await startDocs();
    const session = await agent.initialize("/mcp");
    await evictDurableObject(env.SESSION.getByName(session["Mcp-Session-Id"] ?? ""));
    expect((await agent.legacy("/mcp", "ping", {}, session)).status).toBe(200);
  });

  it("ends with DELETE, and its sessions at servers with it [P-26]", async () => {
    const { upstream, gateway, agent } = await startDocs();
    const session = await agent.initialize("/mcp");
    await agent.legacy("/mcp", "tools/call", { name: "docs__search" }, session);
    const end = () =>
      gateway.fetch("/mcp", { method: "DELETE", headers: { Authorization: `Bearer ${agent.key.value}`, ...session } });
    const open = upstream.calls()[0]?.headers.get("Mcp-Session-Id");
    upstream.seen.length = 0;
    expect((await end()).status).toBe(204);
    await vi.waitFor(() =>
      expect(upstream.seen.map(({ method, headers }) => [method, headers.get("Mcp-Session-Id")])).toEqual([
        ["DELETE", open],
      ]),
    );
    expect((await agent.legacy("/mcp", "ping", {}, session)).status).toBe(404);
    expect((await end()).status).toBe(404);
  });

  it("ends after a day without a request [R-10]", async () => {
    const { agent } = await startDocs();
    const session = await agent.initialize("/mcp");
    const object = env.SESSION.getByName(session["Mcp-Session-Id"] ?? "");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 23 * 3_600_000 });
    await runDurableObjectAlarm(object);
    expect((await agent.legacy("/mcp", "ping", {}, session)).status).toBe(200);
    vi.setSystemTime(Date.now() + 25 * 3_600_000);
    await runDurableObjectAlarm(object);
    expect((await agent.legacy("/mcp", "ping", {}, session)).status).toBe(404);
    vi.useRealTimers();
  });

  it.each([
    ["initialize with a session", (s: Record<string, string>) => ({ method: "initialize", headers: s }), 400, -32600],
    [
      "a version header that is not served",
      () => ({ method: "ping", headers: { "MCP-Protocol-Version": "2024-11-05" } }),
      400,
      -32600,
    ],
    ["a method that is not offered", () => ({ method: "prompts/list", headers: {} }), 200, -32601],
  ])("%s is refused", async (_, make, status, code) => {
    const { agent } = await startDocs();
    const { method, headers } = make(await agent.initialize("/mcp"));
    const response = await agent.legacy("/mcp", method, {}, headers as Record<string, string>);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ id: 1, error: { code } });
  });

  it("takes notifications and late responses in silence", async () => {
    const { agent } = await startDocs();
    const session = await agent.initialize("/mcp");
    for (const message of [{ method: "notifications/initialized" }, { id: 9, result: {} }]) {
      const taken = await agent.post("/mcp", JSON.stringify({ jsonrpc: "2.0", ...message }), session);
      expect([taken.status, await taken.text()]).toEqual([202, ""]);
    }
  });
});

describe("sessions with a legacy server", () => {
  const used = (upstream: ReturnType<typeof scriptedServer>) =>
    upstream.calls().map(({ headers }) => headers.get("Mcp-Session-Id"));

  it("are one per client session, and one for all calls of a principal without a session [R-13]", async () => {
    const { upstream, gateway, agent } = await startDocs();
    const server_id = agent.server_id;
    const other = await createAgent(gateway, [{ server_id, tools_to_execute: ["*"] }]);
    const [first, second] = [await agent.initialize("/mcp"), await agent.initialize("/mcp")];
    const call = (who: typeof other, headers = {}) =>
      who.legacy("/mcp", "tools/call", { name: "docs__search" }, headers);
    for (const send of [() => call(agent, first), () => call(agent, second), () => call(agent), () => call(other)]) {
      await send();
      await send();
    }
    const sessions = used(upstream);
    expect(sessions.filter((_, at) => at % 2 === 0)).toEqual(sessions.filter((_, at) => at % 2 === 1));
    expect(new Set(sessions).size).toBe(4);
  });

  it("is opened once for calls that begin at once", async () => {
    const { upstream, agent } = await startDocs();
    upstream.seen.length = 0;
    const calls = Array.from({ length: 10 }, () => agent.modern("/mcp", "tools/call", { name: "docs__search" }));
    for (const response of await Promise.all(calls))
      expect(await response.json()).toMatchObject({ result: { content: [] } });
    expect(upstream.seen.filter(({ message }) => message["method"] === "initialize")).toHaveLength(1);
    expect(new Set(upstream.calls().map(({ message }) => message["id"])).size, "ids of their own").toBe(10);
  });

  it("is opened anew when the server moves, and the old one is not used there", async () => {
    const { upstream, gateway, agent } = await startDocs();
    const call = () => agent.modern("/mcp", "tools/call", { name: "docs__search" });
    await call();
    await gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, { server_url: "https://moved.example/mcp" });
    await call();
    const [before, after] = upstream.calls();
    expect(after?.url).toBe("https://moved.example/mcp");
    expect(after?.headers.get("Mcp-Session-Id")).not.toBe(before?.headers.get("Mcp-Session-Id"));
  });
});

describe("the journal", () => {
  const sessionOf = (agent: { key: { virtual_key_id: string } }) =>
    env.SESSION.getByName(`default:default:key:${agent.key.virtual_key_id}`);

  it("keeps rows through an eviction, and moves each once however often the alarm runs [T-23]", async () => {
    const { gateway, agent } = await startDocs("modern");
    await agent.modern("/mcp", "tools/call", { name: "docs__search", arguments: { q: "x", token: "canary" } });
    const object = sessionOf(agent);
    await evictDurableObject(object);
    expect(await (await gateway.admin("GET", "/v1/calls")).json()).toMatchObject({ rows: [] });
    expect(await runDurableObjectAlarm(object)).toBe(true);
    await runInDurableObject(object, (instance) => instance.alarm?.());
    const rows = await agent.rows();
    expect(rows).toEqual([
      {
        id: expect.stringMatching(/^call_/),
        created_at: expect.stringMatching(/Z$/),
        org_id: "default",
        server: "docs",
        server_id: agent.server_id,
        tool: "search",
        exposed_name: "docs__search",
        door: "/mcp",
        sub: null,
        email: null,
        virtual_key_id: agent.key.virtual_key_id,
        session_id: null,
        run_id: null,
        parent_run_id: null,
        args: { q: "x", token: "[redacted]" },
        ok: true,
        outcome: "ok",
        error: null,
        reason: null,
        duration_ms: expect.any(Number),
        upstream_ms: expect.any(Number),
        gateway_ms: expect.any(Number),
        attempts: 1,
        cost_usd: 0,
        definition_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    ]);
  });

  it("tries again when D1 refuses, and loses nothing", async () => {
    const { agent } = await startDocs("modern");
    await agent.modern("/mcp", "tools/call", { name: "docs__search" });
    const object = sessionOf(agent);
    await env.DB.prepare("ALTER TABLE tool_calls RENAME TO away").run();
    await runDurableObjectAlarm(object);
    await env.DB.prepare("ALTER TABLE away RENAME TO tool_calls").run();
    expect(await runDurableObjectAlarm(object), "another alarm stands").toBe(true);
    expect(await agent.rows()).toHaveLength(1);
  });

  it("moves more rows than one batch holds, each once", async () => {
    const { agent } = await startDocs("modern");
    const rowOf = (n: number) => ({
      ...ROW,
      id: `call_${String(n).padStart(4, "0")}`,
      created_at: n,
      virtual_key_id: agent.key.virtual_key_id,
    });
    const object = sessionOf(agent);
    await object.journal(JSON.stringify(Array.from({ length: 1200 }, (_, n) => rowOf(n))));
    await object.journal(JSON.stringify([rowOf(3)]));
    await runDurableObjectAlarm(object);
    // What is left is due at once, and a due alarm fires by itself.
    await vi.waitFor(async () => {
      const counted = await env.DB.prepare("SELECT COUNT(*) AS count FROM tool_calls").first<{ count: number }>();
      expect(counted?.count).toBe(1200);
    });
  });

  it("takes calls with as many and as long arguments as a body holds, and none keeps the others back", async () => {
    const { agent } = await startDocs("modern");
    const many = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, n) => [`k${n}${"x".repeat(80)}`, "y".repeat(80)]),
    );
    const long = { ["k".repeat(1_000_000)]: "v".repeat(1_000_000), last: 1 };
    for (const args of [many, long, { q: "x" }]) {
      const called = await agent.modern("/mcp", "tools/call", { name: "docs__search", arguments: args });
      expect(await called.json()).toMatchObject({ result: { content: [] } });
    }
    const rows = await agent.rows();
    expect(rows.map(({ ok }) => ok)).toEqual([true, true, true]);
    for (const { args } of rows) expect(JSON.stringify(args).length).toBeLessThan(5_000);
    expect(rows[0]?.["args"]).toEqual({ q: "x" });
    expect(rows[2]?.["args"]).toMatchObject({ "…": "more arguments" });
  });

  it("moves rows that are too long for one batch in several", async () => {
    const { agent } = await startDocs("modern");
    const args = JSON.stringify({ text: "é".repeat(3_000) });
    const rowOf = (n: number) => ({ ...ROW, id: `call_${n}`, created_at: n, virtual_key_id: null, args });
    const object = sessionOf(agent);
    const rows = Array.from({ length: 400 }, (_, n) => rowOf(n));
    for (let at = 0; at < rows.length; at += 100) await object.journal(JSON.stringify(rows.slice(at, at + 100)));
    const left = await runInDurableObject(object, async (instance, { storage }) => {
      await instance.alarm?.();
      return storage.sql.exec<{ left: number }>("SELECT COUNT(*) AS left FROM journal").one().left;
    });
    expect(left, "rows that wait for the next batch").toBeGreaterThan(200);
    await vi.waitFor(async () => {
      const counted = await env.DB.prepare("SELECT COUNT(*) AS count FROM tool_calls").first<{ count: number }>();
      expect(counted?.count).toBe(400);
    });
  });

  it("that fails neither fails nor changes a call [T-26, OT-24]", async () => {
    const { agent } = await startDocs("modern");
    vi.spyOn(Session.prototype, "journal").mockRejectedValue(new Error("no"));
    const response = await agent.modern("/mcp", "tools/call", { name: "docs__search" });
    expect(await response.json()).toMatchObject({ result: { content: [] } });
  });

  it("in sync mode has the row before the answer goes out [PS-34]", async () => {
    const { agent } = await startDocs("modern", { JOURNAL_MODE: "sync" });
    const order: string[] = [];
    const { journal } = Session.prototype;
    vi.spyOn(Session.prototype, "journal").mockImplementation(async function (
      this: InstanceType<typeof Session>,
      rows,
    ) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      await journal.call(this, rows);
      order.push("stored");
    });
    await agent.modern("/mcp", "tools/call", { name: "docs__search" });
    order.push("answered");
    expect(order).toEqual(["stored", "answered"]);
  });
});

const ROW = {
  org_id: "default",
  server: "docs",
  server_id: "srv_1",
  tool: "search",
  door: "/mcp",
  sub: null,
  email: null,
  session_id: null,
  run_id: null,
  args: null,
  ok: true,
  error: null,
  reason: null,
  duration_ms: 1,
  upstream_ms: 1,
  attempts: 1,
  definition_hash: null,
};
