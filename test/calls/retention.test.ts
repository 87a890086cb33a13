/** How calls leave the log: when their org says, whole days at a time, and never before they are in the archive. */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { runSchedule } from "../../src/app.ts";
import type { CallRow } from "../../src/calls/call.ts";
import type { CallStats } from "../../src/calls/calls.wire.ts";
import { d1RetentionStore } from "../../src/calls/retention.store.ts";
import { type RetentionDeps, sweepCalls } from "../../src/calls/retention.ts";
import { accepted, createOrg, offline, refusal, stored, storedValue } from "../support/api.ts";
import { addCalls, callRow, NOON } from "../support/calls.ts";
import { startGateway } from "../support/gateway.ts";

const DAY = 86_400_000;
const run = (vars: Record<string, unknown> = {}) =>
  runSchedule({ ...env, ...vars } as unknown as Env, { clock: () => NOON });
const withArchive = { CALL_ARCHIVE: env.TEST_ARCHIVE };
const left = async (orgId = "default") =>
  (
    await env.DB.prepare("SELECT id FROM tool_calls WHERE org_id = ? ORDER BY created_at, id").bind(orgId).all<{
      id: string;
    }>()
  ).results.map(({ id }) => id);
const keep = (days: number | null, orgId = "default") =>
  env.DB.prepare("UPDATE orgs SET call_retention_days = ? WHERE org_id = ?").bind(days, orgId).run();

/** The files of the archive by name, each as the ids of its lines. */
async function archived(): Promise<Record<string, string[]>> {
  const { objects } = await env.TEST_ARCHIVE.list();
  const files = await Promise.all(
    objects.map(async ({ key }) => {
      const text = new TextDecoder().decode(await (await env.TEST_ARCHIVE.get(key))?.arrayBuffer());
      return [
        key,
        text
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line).id),
      ] as const;
    }),
  );
  return Object.fromEntries(files);
}

/** A call so many days before today, in UTC, at noon. */
const daysAgo = (id: string, days: number, changes: Partial<CallRow> = {}) =>
  callRow(id, { created_at: NOON - days * DAY, ...changes });

describe("the days that an org keeps calls", () => {
  it("are for ever unless it says otherwise, and are changed by its admins", async () => {
    const gateway = startGateway(offline);
    const patch = (call_retention_days: unknown) => gateway.admin("PATCH", "/v1/orgs/default", { call_retention_days });
    expect(await accepted(await gateway.admin("GET", "/v1/orgs/default"))).toMatchObject({ call_retention_days: null });
    expect(await accepted(await patch(30))).toMatchObject({ call_retention_days: 30 });
    expect(await accepted(await gateway.admin("PATCH", "/v1/orgs/default", {}))).toMatchObject({
      call_retention_days: 30,
    });
    for (const wrong of [0, -1, 1.5, "7", 36_501]) {
      const answer = await refusal(await patch(wrong));
      expect({ wrong, ...answer }).toEqual({
        ...{ wrong, status: 400, code: "invalid_request", field: "call_retention_days" },
      });
    }
    expect(await accepted(await patch(null))).toMatchObject({ call_retention_days: null });
  });
});

describe("the schedule", () => {
  it("removes nothing of an org that keeps its calls for ever", async () => {
    await addCalls(daysAgo("a", 4_000));
    const before = await stored();
    await run(withArchive);
    expect(await stored()).toEqual(before);
    expect(await archived()).toEqual({});
  });

  it("removes whole days that are older than the org keeps, of that org alone", async () => {
    await createOrg("acme");
    await addCalls(
      ...[0, 1, 2, 3, 4, 40].map((days) => daysAgo(`d${days}`, days)),
      // The first and the last instant of the day that stays, and the last before it.
      callRow("first", { created_at: NOON - 2.5 * DAY }),
      callRow("last", { created_at: NOON - 2.5 * DAY - 1 }),
      daysAgo("other", 40, { org_id: "acme" }),
    );
    await keep(2);
    await run();
    expect(await left()).toEqual(["first", "d2", "d1", "d0"]);
    expect(await left("acme")).toEqual(["other"]);
    expect(await archived()).toEqual({});
  });

  it("puts each day of each org into a file of its own first, where there is an archive", async () => {
    await createOrg("acme");
    await addCalls(
      ...["b", "a"].map((id) => daysAgo(id, 5, { args: '{"q":"x"}', cost_nano: 5 })),
      daysAgo("c", 4),
      daysAgo("d", 5, { org_id: "acme" }),
      daysAgo("e", 0),
    );
    await keep(1);
    await keep(1, "acme");
    await run(withArchive);
    expect(await archived()).toEqual({
      "calls/acme/2026-10-27/d.ndjson": ["d"],
      "calls/default/2026-10-27/a.ndjson": ["a", "b"],
      "calls/default/2026-10-28/c.ndjson": ["c"],
    });
    const file = await env.TEST_ARCHIVE.get("calls/default/2026-10-27/a.ndjson");
    const [line = ""] = new TextDecoder().decode(await file?.arrayBuffer()).split("\n");
    expect(JSON.parse(line)).toMatchObject({ org_id: "default", args: { q: "x" }, cost_usd: 5e-9, gateway_ms: 3 });
    expect(await left()).toEqual(["e"]);
    await run(withArchive);
    expect(Object.keys(await archived())).toHaveLength(3);
  });

  it("leaves what was counted, so that statistics go on telling of days that are gone", async () => {
    await addCalls(daysAgo("a", 5, { cost_nano: 1e9 }), daysAgo("b", 0));
    const gateway = startGateway(offline);
    const ask = async () => accepted<CallStats>(await gateway.admin("GET", "/v1/calls/stats"));
    const before = await ask();
    await keep(1);
    await run();
    expect(await left()).toEqual(["b"]);
    expect(await ask()).toEqual(before);
    expect(before).toMatchObject({ total: 2, total_cost_usd: 1 });
  });

  it("removes all of an org that is no more, what was counted too, and lets nobody take its id before", async () => {
    const gateway = startGateway(offline);
    const create = () => gateway.admin("POST", "/v1/orgs", { org_id: "acme", name: "Acme" });
    await accepted(await create(), 201);
    await addCalls(daysAgo("a", 5, { org_id: "acme" }), daysAgo("b", 0, { org_id: "acme" }), daysAgo("c", 0));
    await accepted(await gateway.admin("DELETE", "/v1/orgs/acme"));
    expect(await refusal(await create())).toEqual({ status: 409, code: "conflict", field: "org_id" });
    await run(withArchive);
    expect(await left("acme")).toEqual([]);
    expect(await storedValue("SELECT COUNT(*) FROM call_sums WHERE org_id = 'acme'")).toBe(0);
    expect(Object.values(await archived()).flat()).toEqual(["a", "b"]);
    expect(await left()).toEqual(["c"]);
    await accepted(await create(), 201);
  });
});

describe("a sweep that fails", () => {
  const deps = (changes: Partial<RetentionDeps> = {}): RetentionDeps => ({
    store: d1RetentionStore(env.DB),
    archive: { put: async (name, text) => void (await env.TEST_ARCHIVE.put(name, text)) },
    clock: () => NOON,
    ...changes,
  });
  const ids = Array.from({ length: 5 }, (_, n) => `c${n}`);

  it("removes nothing that is not in the archive, and goes on with other orgs", async () => {
    await createOrg("acme");
    await addCalls(...ids.map((id) => daysAgo(id, 5)), daysAgo("x", 5, { org_id: "acme" }));
    await keep(1);
    await keep(1, "acme");
    const put = vi.fn(async (name: string, text: string) => {
      if (name.includes("default")) throw new Error("no bucket");
      await env.TEST_ARCHIVE.put(name, text);
    });
    await expect(sweepCalls(deps({ archive: { put } }))).rejects.toThrow("could not be removed");
    expect(await left()).toEqual(ids);
    expect(await left("acme")).toEqual([]);
    await sweepCalls(deps());
    expect(await left()).toEqual([]);
    expect(await archived()).toMatchObject({ "calls/default/2026-10-27/c0.ndjson": ids });
  });

  it("between the file and the removal leaves both, and the next writes the same file", async () => {
    await addCalls(...ids.map((id) => daysAgo(id, 5)));
    await keep(1);
    const store = d1RetentionStore(env.DB);
    const remove = () => Promise.reject(new Error("no database"));
    await expect(sweepCalls(deps({ store: { ...store, remove } }))).rejects.toThrow();
    expect([await left(), await archived()]).toEqual([ids, { "calls/default/2026-10-27/c0.ndjson": ids }]);
    await sweepCalls(deps());
    expect([await left(), await archived()]).toEqual([[], { "calls/default/2026-10-27/c0.ndjson": ids }]);
  });

  it("never removes a call that has come while the file was written", async () => {
    await addCalls(...ids.map((id) => daysAgo(id, 5)));
    await keep(1);
    const store = d1RetentionStore(env.DB);
    let isFirst = true;
    const put = async (name: string, text: string) => {
      await env.TEST_ARCHIVE.put(name, text);
      if (isFirst) await addCalls(daysAgo("late", 5));
      isFirst = false;
    };
    await sweepCalls(deps({ store, archive: { put } }));
    expect(await left()).toEqual([]);
    expect(await archived()).toEqual({
      "calls/default/2026-10-27/c0.ndjson": ids,
      "calls/default/2026-10-27/late.ndjson": ["late"],
    });
  });

  it("twice at once leaves the log and the archive as once", async () => {
    await addCalls(...ids.map((id) => daysAgo(id, 5)));
    await keep(1);
    await Promise.all([sweepCalls(deps()), sweepCalls(deps())]);
    expect([await left(), await archived()]).toEqual([[], { "calls/default/2026-10-27/c0.ndjson": ids }]);
  });
});

describe("one run", () => {
  it("does a bounded amount of work, in turns of the orgs, and the next goes on", async () => {
    const rows = (org_id: string, files: number) =>
      Array.from({ length: files }, (_, n) => daysAgo(`${org_id}-${n}`, n + 2, { org_id }));
    const waiting = { a: rows("a", 150), b: rows("b", 20) };
    const files: string[] = [];
    const store = {
      expired: async () => Object.keys(waiting).map((org_id) => ({ org_id, before: NOON })),
      oldest: async (orgId: string) => waiting[orgId as "a" | "b"].slice(0, 1),
      remove: async (orgId: string) => void waiting[orgId as "a" | "b"].shift(),
      forgetSums: async () => false,
    };
    const archive = { put: async (name: string) => void files.push(name.split("/")[1] ?? "") };
    await sweepCalls({ store, archive, clock: () => NOON });
    expect(files.slice(0, 4)).toEqual(["a", "b", "a", "b"]);
    expect(files.length).toBeLessThanOrEqual(100);
    expect(files.filter((org) => org === "b")).toHaveLength(20);
    await sweepCalls({ store, archive, clock: () => NOON });
    expect([waiting.a.length, waiting.b.length]).toEqual([0, 0]);
  });

  it("takes a thousand calls of one day at a time", async () => {
    const many = Array.from({ length: 1_200 }, (_, n) => daysAgo(`c${String(n).padStart(4, "0")}`, 5));
    for (let at = 0; at < many.length; at += 400) await addCalls(...many.slice(at, at + 400));
    await keep(1);
    await run(withArchive);
    expect(Object.entries(await archived()).map(([name, ids]) => [name, ids.length])).toEqual([
      ["calls/default/2026-10-27/c0000.ndjson", 1_000],
      ["calls/default/2026-10-27/c1000.ndjson", 200],
    ]);
    expect(await left()).toEqual([]);
  });
});
