/** Runs through the gateway: whose stack counts for which call, and what becomes of runs. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { d1RunStore } from "../../src/runs/runs.store.ts";
import { Session } from "../../src/sessions/session.object.ts";
import { createAgent } from "../support/agent.ts";
import { storedValue } from "../support/api.ts";
import { startPriced, startRun } from "../support/priced.ts";
import { type CallTool, executeCaller, legacyCaller, modernCaller, WAYS } from "../support/tool-callers.ts";

afterEach(() => void vi.useRealTimers());

/** A call that can be told from others by its row. */
const mark = (call: CallTool, name: string) => call("list_instructions", { kind: name });

/** The run of each marked call. */
function markedRuns(rows: readonly Record<string, unknown>[]): Record<string, unknown> {
  const marked = rows.flatMap(({ args, run_id }) => {
    const kind = (args as { kind?: string } | null)?.kind;
    return kind === undefined ? [] : [[kind, run_id] as const];
  });
  return Object.fromEntries(marked);
}

describe.each(WAYS)("a run, %s,", (_, via) => {
  it("has the calls that enter while it is on top; its start is a call of the run around it [OT-15, OT-17]", async () => {
    const { send, rows } = await startPriced();
    const call = via(send);
    await mark(call, "before");
    const outer = await startRun(call, { label: "outer", doctrine: "rule/a" });
    expect(outer).toMatch(/^[0-9a-f]{32}$/);
    await mark(call, "in-outer");
    const inner = await startRun(call, { label: "inner" });
    await mark(call, "in-inner");
    await modernCaller(send)("docs__free");
    await call("set_instruction", { kind: "refused", slug: "a", body: "b" });
    const finished = await call("run_finish", { run_id: inner, outcome: "done", note: "fine" });
    expect(JSON.parse(finished.text)).toEqual({ ok: true, run_id: inner, outcome: "done", was_open: true });
    await mark(call, "in-outer-again");
    await call("run_finish", { run_id: outer, outcome: "blocked" });
    await mark(call, "after");
    const again = await call("run_finish", { run_id: outer, outcome: "done" });
    expect(JSON.parse(again.text)).toEqual({ ok: true, run_id: outer, outcome: "done", was_open: false });

    const all = await rows();
    expect(markedRuns(all)).toEqual({
      ...{ before: null, "in-outer": outer, "in-inner": inner, refused: inner, "in-outer-again": outer, after: null },
    });
    const runOf = (tool: string, argument: string, value: string) =>
      all
        .filter((row) => row["tool"] === tool && (row["args"] as Record<string, unknown>)[argument] === value)
        .map(({ run_id }) => run_id);
    expect(runOf("run_start", "label", "outer")).toEqual([null]);
    expect(runOf("run_start", "label", "inner")).toEqual([outer]);
    expect(runOf("run_finish", "run_id", inner)).toEqual([inner]);
    // The second time it was not open any more, and the call in no run.
    expect(runOf("run_finish", "run_id", outer).toSorted()).toEqual([outer, null].toSorted());
    expect(all.find(({ tool }) => tool === "free")).toMatchObject({ run_id: inner, server: "docs" });
  });

  it("may end out of order, and refuses an outcome that is none before it looks at the stack [OT-16]", async () => {
    const { send, rows } = await startPriced();
    const call = via(send);
    const [outer, inner] = [await startRun(call), await startRun(call)];
    const bad = await call("run_finish", { run_id: outer, outcome: "fine" });
    expect(bad).toMatchObject({
      ...{ isError: true, text: "invalid outcome: 'fine' (expected done, abandoned, failed or blocked)" },
    });
    await call("run_finish", { run_id: outer, outcome: "done" });
    await mark(call, "still-inner");
    await call("run_finish", { run_id: inner, outcome: "done" });
    await mark(call, "outside");
    expect(markedRuns(await rows())).toEqual({ "still-inner": inner, outside: null });
  });
});

describe("the stack of a call", () => {
  it("is its session's; two sessions of one principal, and calls without one, have their own [PS-40, T-48]", async () => {
    const { send, session, rows } = await startPriced();
    const [one, two] = [await session(), await session()];
    const without = modernCaller(send);
    const first = await startRun(one.call);
    const second = await startRun(two.call);
    const third = await startRun(without);
    await mark(one.call, "one");
    await mark(two.call, "two");
    await mark(without, "without");
    await mark(legacyCaller(send), "legacy-without");
    await mark(executeCaller(send), "execute");
    for (const [call, run_id] of [
      [one.call, second],
      [one.call, third],
      [without, first],
    ] as const) {
      expect(await call("run_finish", { run_id, outcome: "done" })).toMatchObject({ structured: { was_open: false } });
    }
    expect(markedRuns(await rows(one.id, two.id))).toEqual({
      ...{ one: first, two: second, without: third, "legacy-without": third, execute: third },
    });
  });

  it("is no other principal's: a session id of somebody else is unknown, and so are their runs [PS-40, T-48]", async () => {
    const { send, agent, gateway, session } = await startPriced();
    const own = await session();
    const run_id = await startRun(own.call);
    const shared = await startRun(modernCaller(send));
    const other = await createAgent(gateway, [{ server_id: "gateway", tools_to_execute: ["*"] }]);
    const theirs = (path: string, body: string, headers: Record<string, string>) => other.post(path, body, headers);
    const stolen = await other.legacy("/mcp", "tools/call", { name: "run_finish" }, own.headers);
    expect(stolen.status).toBe(404);
    for (const id of [run_id, shared]) {
      const finished = await modernCaller(theirs)("run_finish", { run_id: id, outcome: "done" });
      expect(finished).toMatchObject({ structured: { was_open: false } });
      const named = await modernCaller(theirs)("readme_agent", {}, { meta: { "dev.postern/run_id": id } });
      expect(named.error).toEqual({ code: -32602, message: `run not open: ${id}` });
    }
    expect(agent.key.virtual_key_id).not.toBe(other.key.virtual_key_id);
    expect(await own.call("run_finish", { run_id, outcome: "done" })).toMatchObject({ structured: { was_open: true } });
  });

  it("is the same in every isolate", async () => {
    const { call, elsewhere, rows } = await startPriced();
    const there = modernCaller(elsewhere());
    const outer = await startRun(call);
    await mark(there, "there");
    const inner = await startRun(there);
    await mark(call, "here");
    expect(await call("run_finish", { run_id: inner, outcome: "done" })).toMatchObject({
      structured: { was_open: true },
    });
    await mark(there, "there-again");
    expect(markedRuns(await rows())).toEqual({ there: outer, here: inner, "there-again": outer });
  });
});

describe("a run that a client names", () => {
  const naming = (run: unknown) => ({ meta: { "dev.postern/run_id": run } });

  it("is the run of the call, also when another is on top, and the run around one that begins [PS-40]", async () => {
    const { call, rows, upstream } = await startPriced();
    const [one, two] = [await startRun(call), await startRun(call)];
    await call("list_instructions", { kind: "named" }, naming(one));
    await call("docs__free", { kind: "upstream" }, naming(one));
    await call("run_start", { label: "inside" }, naming(one));
    await mark(call, "on-top");
    const all = await rows();
    const inside = all.find(({ args }) => (args as { label?: string } | null)?.label === "inside");
    expect(inside).toMatchObject({ run_id: one });
    const runs = markedRuns(all);
    expect(runs).toMatchObject({ named: one, upstream: one });
    expect([one, two]).not.toContain(runs["on-top"]);
    // It is for the gateway, and for nobody behind it.
    expect(upstream.calls().map(({ text }) => text.includes("dev.postern"))).toEqual([false]);
  });

  it.each([
    ["that has ended", (ended: string) => ended],
    ["that never was", () => "f".repeat(32)],
    ["that is no string", () => 5],
  ])("%s is refused, and nothing is called [PS-40]", async (_, of) => {
    const { call, rows, upstream } = await startPriced();
    const ended = await startRun(call);
    await call("run_finish", { run_id: ended, outcome: "done" });
    const open = await startRun(call);
    const named = of(ended);
    for (const tool of ["docs__free", "docs__paid", "run_start"]) {
      const refused = await call(tool, { label: "refused" }, naming(named));
      expect(refused.error).toEqual({ code: -32602, message: `run not open: ${named}` });
    }
    expect(upstream.calls()).toEqual([]);
    const refused = (await rows()).filter(({ args }) => (args as { label?: string } | null)?.label === "refused");
    expect(refused).toHaveLength(3);
    for (const row of refused)
      expect(row).toMatchObject({ ok: false, error: "run not open", cost_usd: 0, run_id: open });
  });

  it("comes behind admission: an unknown tool stays unknown", async () => {
    const { call } = await startPriced();
    const refused = await call("docs__none", {}, naming("f".repeat(32)));
    expect(refused.error).toEqual({ code: -32602, message: "Unknown tool: docs__none" });
  });

  it("is one of its session where a client has one", async () => {
    const { session, rows } = await startPriced();
    const { call, id } = await session();
    const [one] = [await startRun(call), await startRun(call)];
    await call("list_instructions", { kind: "named" }, naming(one));
    expect(markedRuns(await rows(id))).toEqual({ named: one });
  });
});

describe("a call", () => {
  it("asks no object before it goes upstream, with a price or without, where no budget is open", async () => {
    const { call, upstream } = await startPriced();
    await startRun(call);
    const asked = vi.spyOn(Session.prototype, "admitCall");
    const order: string[] = [];
    upstream.change({ first: () => void order.push("upstream") });
    vi.spyOn(Session.prototype, "journal").mockImplementation(async () => void order.push("object"));
    await call("docs__free");
    await call("docs__paid");
    expect(order).toEqual(["upstream", "object", "upstream", "object"]);
    expect(asked).not.toHaveBeenCalled();
  });

  it("of a priced tool asks once, and believes for SNAPSHOT_TTL_MS that there is no budget", async () => {
    const { call } = await startPriced();
    const asked = vi.spyOn(Session.prototype, "admitCall");
    await call("docs__paid");
    await call("docs__paid");
    expect(asked).toHaveBeenCalledTimes(1);
    // From half of that on it asks behind the answer, beyond it before.
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_000 });
    await call("docs__paid");
    await call("docs__paid");
    expect(asked).toHaveBeenCalledTimes(2);
    expect(asked.mock.calls[1]?.[0]).toMatchObject({ price_nano: 0 });
    vi.setSystemTime(Date.now() + 6_000);
    await call("docs__paid");
    expect(asked.mock.calls.at(-1)?.[0]).toMatchObject({ price_nano: 100_000_000 });
  });
});

describe("a run that nobody ends", () => {
  const DAY = 86_400_000;

  it("is closed as abandoned a day after its last call, and that of the runs inside it [PS-43]", async () => {
    const { call, runs, stack } = await startPriced();
    const object = env.SESSION.getByName(stack);
    const [outer, inner] = [await startRun(call), await startRun(call)];
    const alone = await startRun(call, { label: "alone" });
    await call("run_finish", { run_id: alone, outcome: "failed" });
    await runs();
    const began = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now: began + DAY - 60_000 });
    await call("docs__free");
    expect((await runs()).map(({ status }) => status).toSorted()).toEqual(["finished", "open", "open"]);
    vi.setSystemTime(began + 2 * DAY - 120_000);
    await runDurableObjectAlarm(object);
    expect((await runs()).filter(({ status }) => status === "open")).toHaveLength(2);
    vi.setSystemTime(began + 2 * DAY);
    await runDurableObjectAlarm(object);
    await runInDurableObject(object, (instance) => instance.alarm?.());
    const byId = Object.fromEntries((await runs()).map((run) => [run["run_id"], run]));
    for (const id of [outer, inner]) {
      expect(byId[id]).toMatchObject({ status: "finished", outcome: "abandoned", finished_at: expect.any(String) });
    }
    expect(byId[alone]).toMatchObject({ outcome: "failed" });
    const late = await call("run_finish", { run_id: outer, outcome: "done" });
    expect(late).toMatchObject({ structured: { was_open: false } });
    expect(Object.values(await runs()).find(({ run_id }) => run_id === outer)).toMatchObject({ outcome: "abandoned" });
  });

  it("ends with its session", async () => {
    const { gateway, agent, session, runs } = await startPriced();
    const { call, id, headers } = await session();
    const run_id = await startRun(call);
    const Authorization = `Bearer ${agent.key.value}`;
    expect((await gateway.fetch("/mcp", { method: "DELETE", headers: { Authorization, ...headers } })).status).toBe(
      204,
    );
    expect(await runs(id)).toMatchObject([{ run_id, session_id: id, outcome: "abandoned" }]);
  });
});

describe("the runs of an object", () => {
  it("survive its eviction after every step, and the row of each call finds its run [T-23]", async () => {
    const { call, runs, rows, stack } = await startPriced();
    const evict = () => evictDurableObject(env.SESSION.getByName(stack));
    const outer = await startRun(call);
    await evict();
    const inner = await startRun(call);
    await evict();
    await mark(call, "inner");
    await evict();
    await call("run_finish", { run_id: inner, outcome: "done", note: "n" });
    await evict();
    await mark(call, "outer");
    await evict();
    expect(markedRuns(await rows())).toEqual({ inner, outer });
    const found = await runs();
    expect(found).toHaveLength(2);
    expect(found).toContainEqual(expect.objectContaining({ run_id: outer, status: "open", outcome: null, calls: 2 }));
    expect(found).toContainEqual(
      expect.objectContaining({ run_id: inner, parent_run_id: outer, outcome: "done", note: "n", calls: 2 }),
    );
  });

  it("reach D1 although it refuses at first, and an earlier state never takes the place of a later one", async () => {
    const { call, runs, stack } = await startPriced();
    const object = env.SESSION.getByName(stack);
    const run_id = await startRun(call);
    await env.DB.prepare("ALTER TABLE runs RENAME TO away").run();
    await runDurableObjectAlarm(object);
    await call("run_finish", { run_id, outcome: "done" });
    await env.DB.prepare("ALTER TABLE away RENAME TO runs").run();
    expect(await runs()).toMatchObject([{ run_id, outcome: "done" }]);
    const stored = await env.DB.prepare("SELECT * FROM runs").first<Record<string, unknown>>();
    await d1RunStore(env.DB).append(JSON.stringify([{ ...stored, outcome: null, finished_at: null, version: 1 }]));
    expect(await runs()).toMatchObject([{ run_id, outcome: "done" }]);
  });

  it("count a call once, however often its row comes", async () => {
    const { call, runs, stack, rows } = await startPriced();
    const run_id = await startRun(call);
    const sent: string[] = [];
    const { journal } = Session.prototype;
    vi.spyOn(Session.prototype, "journal").mockImplementation(async function (
      this: InstanceType<typeof Session>,
      text,
    ) {
      sent.push(text);
      await journal.call(this, text);
    });
    await call("docs__paid");
    await rows();
    // It has been moved, and comes once more: its first sender was not told that it had arrived.
    for (const text of [...sent]) await env.SESSION.getByName(stack).journal(text);
    expect(await runs()).toMatchObject([{ run_id, calls: 1, cost_usd: 0.1, spent_usd: 0.1 }]);
    expect((await rows()).filter(({ tool }) => tool === "paid")).toHaveLength(1);
  });

  it("are told once of what a request repeats", async () => {
    const { runs, stack } = await startPriced();
    const object = env.SESSION.getByName(stack);
    const place = { stack, org_id: "default", principal_id: "p", session_id: null, entered: 1, named: null };
    const draft = { run_id: "r".repeat(32), label: "x", doctrine: null, budget_nano: null };
    const first = await object.startRun(place, draft, "isolate");
    expect(await object.startRun(place, draft, "isolate")).toEqual(first);
    const end = { outcome: "done", note: null } as const;
    const closed = await object.finishRun(draft.run_id, end, "request", 2);
    expect(closed).toBeGreaterThan(1);
    expect(await object.finishRun(draft.run_id, end, "request", 2)).toBe(closed);
    expect(await object.finishRun(draft.run_id, end, "another", 3)).toBeNull();
    expect(await runs()).toHaveLength(1);
  });

  it("begin in one from before there were any, with the rows that it holds", async () => {
    const { call, stack, rows } = await startPriced();
    const object = env.SESSION.getByName(stack);
    await object.journal(JSON.stringify([]));
    await runInDurableObject(object, (_, { storage }) => {
      for (const table of ["run", "reservation", "counted", "belief"]) storage.sql.exec(`DROP TABLE ${table}`);
      storage.sql.exec("DROP TABLE followed; ALTER TABLE session DROP COLUMN client");
      storage.sql.exec("ALTER TABLE session ADD COLUMN takes_links INTEGER NOT NULL DEFAULT 0");
      storage.sql.exec("UPDATE schema_version SET version = 2");
      const row = { id: "call_old", org_id: "default", tool: "old", door: "/mcp", ok: true, attempts: 1 };
      const text = JSON.stringify({ ...row, created_at: Date.now(), duration_ms: 1, cost_nano: 0 });
      storage.sql.exec("INSERT INTO journal (call_id, row) VALUES ('call_old', ?)", text);
    });
    await evictDurableObject(object);
    const run_id = await startRun(call);
    await mark(call, "in-run");
    const all = await rows();
    expect(markedRuns(all)).toEqual({ "in-run": run_id });
    expect(all.find(({ id }) => id === "call_old")).toMatchObject({ run_id: null });
  });

  it("are not brought to an org that has gone", async () => {
    const { call, stack } = await startPriced();
    await startRun(call);
    await env.DB.prepare("DELETE FROM orgs").run();
    expect(await runDurableObjectAlarm(env.SESSION.getByName(stack))).toBe(true);
    expect(await storedValue("SELECT COUNT(*) FROM runs")).toBe(0);
  });
});
