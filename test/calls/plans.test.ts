/** That no question to the call log reads all of it: each is answered from an index (`bench --part calls` says how fast). */
import { describe, expect, it } from "vitest";
import type { CallFilters, CallSort } from "../../src/calls/call-query.ts";
import { d1CallStatsStore } from "../../src/calls/call-stats.store.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { d1RetentionStore } from "../../src/calls/retention.store.ts";
import { addCalls, callRow, NOON, someCalls } from "../support/calls.ts";
import { planOf, recordingDatabase } from "../support/recording.ts";

/** The lines about the log and its sums, of all statements that some work makes. */
async function accesses(work: (db: D1Database) => Promise<unknown>): Promise<string[]> {
  const { db, statements } = recordingDatabase();
  await work(db);
  expect(statements.length).toBeGreaterThan(0);
  const plans = await Promise.all(statements.map(planOf));
  return plans.flat().filter((line) => /\b(tool_calls|call_sums)\b/.test(line));
}

const READS = /^SEARCH (tool_calls|call_sums)( EXISTS)? USING ((COVERING )?INDEX \w+|PRIMARY KEY)( \(|$)/;
/** The names of the indexes that are read. */
const indexesOf = (lines: readonly string[]) =>
  [
    ...new Set(
      lines.map((line) => /USING (?:COVERING )?INDEX (\w+)|USING (PRIMARY KEY)/.exec(line)?.slice(1).join("")),
    ),
  ].toSorted();

const LISTS: readonly [filters: CallFilters, index: string][] = [
  [{}, "tool_calls_by_time"],
  [{ from: NOON, to: NOON + 5 }, "tool_calls_by_time"],
  [{ sub: "ann" }, "tool_calls_by_user"],
  [{ run_id: "run_1" }, "tool_calls_by_run"],
  [{ session_id: "ses_1" }, "tool_calls_by_session"],
  [{ virtual_key_id: ["key_1"] }, "tool_calls_by_key"],
  [{ server_id: ["srv_1"] }, "tool_calls_by_server"],
  [{ tool: ["search"] }, "tool_calls_by_tool"],
  [{ server_id: ["srv_1"], tool: ["search"] }, "tool_calls_by_tool"],
  [{ ok: false }, "tool_calls_failed"],
  [{ ok: true }, "tool_calls_by_time"],
  [{ outcome: "refused" }, "tool_calls_failed"],
  [{ reason: "tool_blocked" }, "tool_calls_failed"],
  [{ text: "x", min_duration_ms: 5 }, "tool_calls_by_time"],
  [{ sub: "ann", run_id: "run_1", tool: ["search"], ok: false, text: "x" }, "tool_calls_by_user"],
  [{ server_id: ["srv_1", "srv_2"] }, "tool_calls_by_time"],
];
const ORDERS = [
  { by: "duration_ms", direction: "desc" },
  { by: "cost_usd", direction: "asc" },
] as const;
const slice = (sort: CallSort, isNext: boolean) => ({
  ...{ sort, limit: 25 },
  after: isNext ? { value: NOON, id: "call_1" } : null,
});

describe("a list of calls", () => {
  it.each(LISTS)("of %j is read from one index, in the order of time", async (filters, index) => {
    await addCalls(...someCalls(50, 2));
    for (const direction of ["asc", "desc"] as const) {
      for (const isNext of [false, true]) {
        const { db, statements } = recordingDatabase();
        await d1CallStore(db).list("default", filters, slice({ by: "created_at", direction }, isNext));
        const plan = (await Promise.all(statements.map(planOf))).flat();
        const lines = plan.filter((line) => line.includes("tool_calls"));
        expect(lines.length).toBeGreaterThan(0);
        for (const line of lines) expect(line).toMatch(READS);
        expect(indexesOf(lines)).toEqual([index]);
        expect(plan.join()).not.toContain("TEMP B-TREE");
      }
    }
  });

  it("of all orgs is read from one index", async () => {
    const all = await accesses((db) =>
      d1CallStore(db).list("*", { sub: "ann" }, slice({ by: "created_at", direction: "desc" }, true)),
    );
    for (const line of all) expect(line).toMatch(READS);
    expect(indexesOf(all)).toEqual(["tool_calls_by_age"]);
  });

  it.each(ORDERS)("in the order %j is read from an index, few candidates or many", async (sort) => {
    await addCalls(...someCalls(50, 2));
    for (const examined of [5, 5_000]) {
      for (const [filters] of LISTS) {
        const lines = await accesses((db) => d1CallStore(db, examined).list("default", filters, slice(sort, true)));
        for (const line of lines) expect([filters, line]).toEqual([filters, expect.stringMatching(READS)]);
      }
    }
  });

  it("by duration or cost walks along that order where there are many candidates", async () => {
    await addCalls(...someCalls(50, 2));
    for (const [by, index] of [
      ["duration_ms", "tool_calls_by_duration"],
      ["cost_usd", "tool_calls_by_cost"],
    ] as const) {
      const { db, statements } = recordingDatabase();
      await d1CallStore(db, 5).list("default", {}, slice({ by, direction: "desc" }, true));
      const [, ...walks] = await Promise.all(statements.map(planOf));
      expect(indexesOf(walks.flat().filter((line) => line.includes("tool_calls")))).toEqual([index]);
      expect(walks.flat().join()).not.toContain("TEMP B-TREE");
    }
  });
});

const STATS: readonly [filters: CallFilters, indexes: readonly string[]][] = [
  [{}, ["PRIMARY KEY"]],
  [{ ok: false }, ["PRIMARY KEY"]],
  [{ from: NOON - 40 * 86_400_000 - 5, to: NOON + 5 }, ["PRIMARY KEY", "tool_calls_by_time"]],
  [{ server_id: ["srv_1"] }, ["PRIMARY KEY"]],
  [{ server_id: ["srv_1"], tool: ["search"] }, ["PRIMARY KEY"]],
  [{ tool: ["search"] }, ["PRIMARY KEY", "call_sums_by_tool"]],
  [{ virtual_key_id: ["key_1"] }, ["PRIMARY KEY", "call_sums_by_key"]],
  [{ sub: "ann" }, ["PRIMARY KEY", "call_sums_by_user"]],
  [{ sub: "ann", tool: ["search"], from: NOON - 5 }, ["PRIMARY KEY", "call_sums_by_user", "tool_calls_by_user"]],
  [{ run_id: "run_1" }, ["tool_calls_by_run"]],
  [{ session_id: "ses_1", tool: ["search"] }, ["tool_calls_by_session"]],
  [{ text: "x", from: NOON }, ["tool_calls_by_time"]],
];

describe("statistics of calls", () => {
  it.each(STATS)("of %j are read from sums, or from one index", async (filters, indexes) => {
    await addCalls(...someCalls(50, 2));
    for (const scope of ["default", "*"]) {
      const lines = await accesses((db) => d1CallStatsStore(db).sums(scope, filters));
      for (const line of lines) expect(line).toMatch(READS);
      if (scope === "default") expect(indexesOf(lines)).toEqual(indexes);
    }
  });

  it("with a duration take its index where that is shorter than the range of time", async () => {
    await addCalls(...someCalls(50, 2).map((row, n) => ({ ...row, duration_ms: n })));
    const lines = await accesses((db) => d1CallStatsStore(db, 10).sums("default", { min_duration_ms: 45 }));
    expect(indexesOf(lines)).toEqual(["tool_calls_by_duration", "tool_calls_by_time"]);
    for (const line of lines) expect(line).toMatch(READS);
  });

  it("know the names there are from sums", async () => {
    const lines = await accesses(async (db) => {
      await d1CallStatsStore(db).names("default");
      await d1CallStatsStore(db).serversCalled("default", ["docs"]);
    });
    for (const line of lines) expect(line).toMatch(READS);
  });
});

describe("what is done to the log", () => {
  it("finds each row by its id, and the old ones by their time", async () => {
    await addCalls(...someCalls(50, 2));
    const lines = await accesses(async (db) => {
      await d1CallStore(db).append(JSON.stringify([callRow("a")]));
      await d1CallStore(db).get("default", "a");
      const store = d1RetentionStore(db);
      await store.expired(NOON);
      await store.oldest("default", NOON, 10);
      await store.remove("default", ["a"]);
      await store.forgetSums("default", 10);
    });
    for (const line of lines) expect(line).toMatch(READS);
  });
});
