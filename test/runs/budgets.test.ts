/** Budgets of runs: what a call holds before it goes upstream, and what becomes of that (PS-41, PS-42). */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { CallAsk } from "../../src/sessions/run-ledger.ts";
import { Session } from "../../src/sessions/session.object.ts";
import { PRICE, startPriced, startRun } from "../support/priced.ts";
import { executeCaller, legacyCaller, modernCaller, WAYS } from "../support/tool-callers.ts";
import { resultOf } from "../support/upstream.ts";

afterEach(() => void vi.useRealTimers());

const NANO = 1_000_000_000;

describe("a budget", () => {
  it("is never passed: of 1,000 calls from two isolates, at once, as many succeed as it pays for [PS-41, T-27, R-31]", async () => {
    const { call, elsewhere, upstream, runs, rows } = await startPriced();
    const there = modernCaller(elsewhere());
    const run_id = await startRun(call, { budget_usd: 500 * PRICE });
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, at) => (at % 2 === 0 ? call : there)("docs__paid", { at })),
    );
    const refused = answers.filter(({ isError }) => isError);
    expect(refused).toHaveLength(500);
    expect(upstream.calls()).toHaveLength(500);
    expect(new Set(refused.map(({ text }) => text))).toEqual(
      new Set([`run budget exceeded: this call costs 0.1 USD, and 0 USD is left in run ${run_id}`]),
    );
    await rows();
    const [run] = await runs();
    // The calls that were refused are calls of the run as well.
    expect(run).toMatchObject({ run_id, budget_usd: 50, spent_usd: 50, cost_usd: 50, calls: 1_000 });
  }, 120_000);

  it.each([
    ["in a legacy session", async (of: Awaited<ReturnType<typeof startPriced>>) => (await of.session()).call],
    ["without one, legacy", async (of: Awaited<ReturnType<typeof startPriced>>) => legacyCaller(of.send)],
    ["modern", async (of: Awaited<ReturnType<typeof startPriced>>) => modernCaller(of.send)],
    ["modern, at the server's door", async (of: Awaited<ReturnType<typeof startPriced>>) => of.call],
  ])("takes three calls of 0.1 in 0.3, and not a fourth: %s [PS-42]", async (label, callerOf) => {
    const of = await startPriced();
    const own = await callerOf(of);
    const isDoor = label.endsWith("door");
    const paid = isDoor ? modernCaller(of.send, "/mcp/docs") : own;
    await startRun(own, { budget_usd: 0.3 });
    const results = [];
    for (let at = 0; at < 4; at++) results.push(await paid(isDoor ? "paid" : "docs__paid"));
    expect(results.map(({ isError }) => isError)).toEqual([false, false, false, true]);
    expect(results[3]?.text).toMatch(/^run budget exceeded: this call costs 0\.1 USD, and 0 USD is left in run /);
    expect(results[3]).not.toHaveProperty("error");
  });

  it("is refused at the execute door with 402 [BF-59]", async () => {
    const { send } = await startPriced();
    const execute = executeCaller(send);
    const run_id = await startRun(execute, { budget_usd: 0.15 });
    expect(await execute("docs__paid")).toMatchObject({ isError: false });
    const message = `run budget exceeded: this call costs 0.1 USD, and 0.05 USD is left in run ${run_id}`;
    expect((await execute("docs__paid")).error).toEqual({ code: "402 budget_exceeded", message });
  });

  it("lets calls without a price pass, whatever is left [PS-41]", async () => {
    const { call, upstream } = await startPriced();
    await startRun(call, { budget_usd: 0 });
    expect(await call("docs__paid")).toMatchObject({ isError: true });
    expect(await call("docs__free")).toMatchObject({ isError: false });
    expect(await call("readme_agent")).toMatchObject({ isError: false });
    expect(upstream.calls().map(({ message }) => (message["params"] as { name: string }).name)).toEqual(["free"]);
  });

  it("has a row for the refusal, with its reason, its run and no cost [PS-10, PS-12]", async () => {
    const { call, rows } = await startPriced();
    const run_id = await startRun(call, { budget_usd: 0.05 });
    await call("docs__paid", { q: 1 });
    expect((await rows())[0]).toMatchObject({
      ...{ server: "docs", tool: "paid", ok: false, error: "run budget exceeded", reason: "budget_exceeded" },
      ...{ run_id, cost_usd: 0, attempts: 0, args: { q: 1 } },
    });
  });

  it("binds the runs inside it, and one refusal holds nothing in any of them [PS-41]", async () => {
    const { call, runs } = await startPriced();
    const outer = await startRun(call, { budget_usd: 0.2 });
    const inner = await startRun(call, { budget_usd: 5 });
    const middle = await startRun(call);
    expect(await call("docs__paid")).toMatchObject({ isError: false });
    expect(await call("docs__paid")).toMatchObject({ isError: false });
    expect((await call("docs__paid")).text).toContain(`0 USD is left in run ${outer}`);
    await call("run_finish", { run_id: outer, outcome: "done" });
    // Nothing is around the others any more that would bind them, and nothing has been held by what was refused.
    expect(await call("docs__paid")).toMatchObject({ isError: false });
    const spent = Object.fromEntries(
      (await runs()).map(({ run_id, spent_usd, cost_usd }) => [run_id, [spent_usd, cost_usd]]),
    );
    expect(spent).toEqual({ [outer]: [0.2, 0], [inner]: [0.3, 0], [middle]: [0.3, 0.3] });
  });

  it("binds calls that name a run inside it, and none that name one outside", async () => {
    const { call } = await startPriced();
    const free = await startRun(call);
    const bound = await startRun(call, { budget_usd: 0.1 });
    const inside = await startRun(call);
    const paid = async (run: string) => (await call("docs__paid", {}, { meta: { "dev.postern/run_id": run } })).isError;
    expect([await paid(inside), await paid(inside), await paid(bound), await paid(free)]).toEqual([
      ...[false, true, true, false],
    ]);
  });

  it("counts the price at the time of the call", async () => {
    const { call, setPrice, runs } = await startPriced();
    await startRun(call, { budget_usd: 1 });
    await call("docs__paid");
    await setPrice(0.9);
    expect(await call("docs__paid")).toMatchObject({ isError: false });
    await setPrice(0.000000001);
    expect((await call("docs__paid")).text).toContain("this call costs 0.000000001 USD, and 0 USD is left");
    expect(await runs()).toMatchObject([{ spent_usd: 1 }]);
  });
});

describe("a call that fails", () => {
  it.each([
    ["by its tool", () => resultOf],
    ["because its server does", () => () => new Response("", { status: 500 })],
  ])("%s costs nothing, and what it held is free before its answer is there [PS-41, BF-62]", async (_, failing) => {
    const { call, upstream, runs } = await startPriced();
    await startRun(call, { budget_usd: PRICE });
    const fail = failing();
    upstream.change({ call: (seen) => fail(seen, '{"content":[],"isError":true}') });
    // Their rows do not arrive, so that nothing but what comes before the answer can free it.
    const lost = vi.spyOn(Session.prototype, "journal").mockImplementation(async () => undefined);
    for (let at = 0; at < 3; at++) {
      expect((await call("docs__paid")).text).not.toContain("budget");
    }
    lost.mockRestore();
    upstream.change({ call: (seen) => resultOf(seen, '{"content":[]}') });
    expect(await call("docs__paid")).toMatchObject({ isError: false });
    expect((await call("docs__paid")).text).toContain("run budget exceeded");
    expect(await runs()).toMatchObject([{ spent_usd: PRICE, cost_usd: PRICE, calls: 2 }]);
  });

  it("is not made at all where the object cannot be asked", async () => {
    const { call, upstream, rows } = await startPriced();
    await startRun(call, { budget_usd: PRICE });
    vi.spyOn(Session.prototype, "admitCall").mockRejectedValue(new Error("no"));
    const refused = await call("docs__paid");
    expect(refused).toMatchObject({ isError: true, text: expect.stringContaining("Nothing was changed.") });
    expect(upstream.calls()).toEqual([]);
    expect((await rows())[0]).toMatchObject({ tool: "paid", ok: false, cost_usd: 0 });
  });
});

describe("what a call holds", () => {
  const ask = (call_id: string, given: Partial<CallAsk> = {}): CallAsk => ({
    ...{ call_id, named: null, price_nano: PRICE * NANO, timeout_ms: 60_000 },
    ...given,
  });
  const rowOf = (id: string, run_id: string, ok: boolean) => ({
    ...{ id, created_at: Date.now(), org_id: "default", server: "docs", server_id: "s", tool: "paid", door: "/mcp" },
    ...{ sub: null, email: null, virtual_key_id: null, session_id: null, run_id, args: null, ok, error: null },
    ...{ reason: null, duration_ms: 1, upstream_ms: 1, attempts: 1, definition_hash: null },
    cost_nano: ok ? PRICE * NANO : 0,
  });

  /** A run with a budget of `calls` calls, and its object. */
  async function startHeld(calls: number) {
    const of = await startPriced();
    const run_id = await startRun(of.call, { budget_usd: calls * PRICE });
    const object = () => env.SESSION.getByName(of.stack);
    const admit = async (call_id: string) => (await object().admitCall(ask(call_id), "isolate")).kind;
    const evict = () => evictDurableObject(object());
    const sums = async () =>
      runInDurableObject(object(), (_, { storage }) =>
        storage.sql
          .exec<{ spent: number; reserved: number }>("SELECT spent_nano AS spent, reserved_nano AS reserved FROM run")
          .one(),
      );
    const journal = (id: string, ok: boolean) => object().journal(JSON.stringify([rowOf(id, run_id, ok)]));
    return { ...of, run_id, object, admit, evict, sums, journal };
  }
  const held = PRICE * NANO;

  it("is held once, however often the request comes, and survives eviction at every step [PS-41, T-23]", async () => {
    const { admit, evict, sums, object, journal } = await startHeld(2);
    expect(await admit("a")).toBe("in");
    await evict();
    expect([await admit("a"), await sums()]).toEqual(["in", { spent: 0, reserved: held }]);
    await admit("b");
    await evict();
    expect([await admit("c"), await sums()]).toEqual(["refused", { spent: 0, reserved: 2 * held }]);
    await journal("a", true);
    await evict();
    await journal("a", true);
    expect(await sums()).toEqual({ spent: held, reserved: held });
    await object().releaseCall("b");
    await evict();
    await object().releaseCall("b");
    await journal("b", false);
    expect(await sums()).toEqual({ spent: held, reserved: 0 });
    expect(await admit("c")).toBe("in");
  });

  it("counts as spent when nobody has said anything a minute behind the deadline [PS-41]", async () => {
    const { admit, object, sums, evict, runs, run_id } = await startHeld(1);
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now });
    await admit("a");
    vi.setSystemTime(now + 119_000);
    await runDurableObjectAlarm(object());
    expect(await sums()).toEqual({ spent: 0, reserved: held });
    await evict();
    vi.setSystemTime(now + 121_000);
    await runDurableObjectAlarm(object());
    await runInDurableObject(object(), (instance) => instance.alarm?.());
    expect(await sums()).toEqual({ spent: held, reserved: 0 });
    expect(await runs()).toMatchObject([{ run_id, spent_usd: PRICE, cost_usd: 0 }]);
    expect(await admit("b")).toBe("refused");
  });

  it("is given back when a call that was given up turns out to have failed, and not spent twice when it has not", async () => {
    const { admit, object, sums, journal } = await startHeld(2);
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now });
    await admit("a");
    await admit("b");
    vi.setSystemTime(now + 121_000);
    await runDurableObjectAlarm(object());
    expect(await sums()).toEqual({ spent: 2 * held, reserved: 0 });
    await journal("a", false);
    await journal("b", true);
    expect(await sums()).toEqual({ spent: held, reserved: 0 });
  });

  it("has an alarm by itself", async () => {
    const { admit, object } = await startHeld(1);
    await runDurableObjectAlarm(object());
    await admit("a");
    const at = await runInDurableObject(object(), (_, { storage }) => storage.getAlarm());
    expect(at).toBeLessThanOrEqual(Date.now() + 120_000);
  });
});

describe("an isolate that believes in no budget", () => {
  it("has stopped believing before one begins elsewhere, and then asks [PS-41, T-27]", async () => {
    const { call, elsewhere, upstream } = await startPriced();
    const there = modernCaller(elsewhere());
    await call("docs__paid");
    const asked = vi.spyOn(Session.prototype, "admitCall");
    // Time passes only where it is waited for.
    let now = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now });
    const waited: number[] = [];
    const { setTimeout: real } = globalThis;
    vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, ms = 0) => {
      if (ms <= 1_000 || ms > 5_000) return real(run, ms);
      waited.push(ms);
      now += ms;
      vi.setSystemTime(now);
      return real(run, 0);
    }) as typeof setTimeout);
    await startRun(there, { budget_usd: PRICE });
    expect(waited).toEqual([expect.any(Number)]);
    expect(asked).not.toHaveBeenCalled();
    upstream.seen.length = 0;
    expect(await call("docs__paid")).toMatchObject({ isError: false });
    expect((await call("docs__paid")).text).toContain("run budget exceeded");
    expect((await there("docs__paid")).text).toContain("run budget exceeded");
    expect(upstream.calls()).toHaveLength(1);
  });

  it("begins one itself without waiting for itself", async () => {
    const { call } = await startPriced();
    await call("docs__paid");
    const waiting = vi.spyOn(globalThis, "setTimeout");
    await startRun(call, { budget_usd: PRICE });
    expect(waiting.mock.calls.filter(([, ms = 0]) => ms > 1_000 && ms <= 5_000)).toEqual([]);
    expect(await call("docs__paid")).toMatchObject({ isError: false });
    expect((await call("docs__paid")).text).toContain("run budget exceeded");
  });

  it("charges nothing to a budget by a call that has held nothing in it, whatever its clock says", async () => {
    const { call, stack, rows, runs } = await startPriced();
    const outer = await startRun(call);
    const bound = await startRun(call, { budget_usd: PRICE });
    const late = (id: string, cost_nano: number) => ({
      ...{ id, created_at: Date.now(), entered: Date.now() * 1_000 + 999_999, org_id: "default" },
      ...{ server: "docs", server_id: "s", tool: id, door: "/mcp", sub: null, email: null, virtual_key_id: null },
      ...{ session_id: null, run_id: null, args: null, ok: true, error: null, reason: null, duration_ms: 1 },
      ...{ upstream_ms: 1, attempts: 1, definition_hash: null, cost_nano },
    });
    await env.SESSION.getByName(stack).journal(JSON.stringify([late("priced", NANO), late("unpriced", 0)]));
    const found = Object.fromEntries((await rows()).map(({ tool, run_id }) => [tool, run_id]));
    expect(found).toMatchObject({ priced: outer, unpriced: bound });
    const spent = Object.fromEntries((await runs()).map(({ run_id, spent_usd }) => [run_id, spent_usd]));
    expect(spent).toEqual({ [outer]: 1, [bound]: 0 });
  });
});

describe.each(WAYS)("run_start, %s,", (_, via) => {
  it("takes a budget, and gives back what it was given", async () => {
    const { send, runs } = await startPriced();
    const started = await via(send)("run_start", { label: "a", doctrine: "rule/a", budget_usd: 0.3 });
    const { run_id } = JSON.parse(started.text) as { run_id: string };
    expect(JSON.parse(started.text)).toEqual({ run_id, label: "a", doctrine: "rule/a" });
    expect(await runs()).toMatchObject([{ run_id, budget_usd: 0.3, spent_usd: 0 }]);
  });
});
