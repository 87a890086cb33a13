import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CallRow } from "../../src/calls/call.ts";
import { d1CallStatsStore } from "../../src/calls/call-stats.store.ts";
import { SPANS, slicesOf } from "../../src/calls/call-sums.ts";
import type { CallStats } from "../../src/calls/calls.wire.ts";
import { BUCKETS_PER_DOUBLING, percentile } from "../../src/calls/latency.ts";
import { accepted, createOrg, offline, stored } from "../support/api.ts";
import { addCalls, callRow, chance, NOON, refusedRow, someCalls } from "../support/calls.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const HOUR = 3_600_000;
const ask = async (gateway: TestGateway, query = "", headers = {}) =>
  accepted<CallStats>(await gateway.admin("GET", `/v1/calls/stats${query}`, undefined, headers));
const iso = (at: number) => new Date(at).toISOString();

/** What the statistics of some calls are, reckoned call by call. */
function expected(rows: readonly CallRow[]) {
  const measures = (some: readonly CallRow[]) => {
    const succeeded = some.filter(({ ok }) => ok).length;
    const nano = some.reduce((sum, { cost_nano }) => sum + cost_nano, 0);
    const took = some.reduce((sum, { duration_ms }) => sum + duration_ms, 0);
    return {
      total: some.length,
      succeeded,
      success_rate: some.length === 0 ? null : succeeded / some.length,
      average_duration_ms: some.length === 0 ? null : took / some.length,
      total_cost_usd: nano / 1e9,
    };
  };
  const groups = <K>(key: (row: CallRow) => K) =>
    [...Map.groupBy(rows, (row) => JSON.stringify(key(row)))].map(([text, some]) => ({
      ...(JSON.parse(text) as K),
      ...measures(some),
    }));
  return {
    ...measures(rows),
    by_server: groups(({ server_id, server }) => ({ server_id, server })),
    by_tool: groups(({ server_id, server, tool }) => ({ server_id, server, tool })),
    by_key: groups(({ virtual_key_id }) => ({ virtual_key_id })),
    by_day: groups(({ created_at }) => ({ day: iso(created_at).slice(0, 10) })),
  };
}

const LISTS = ["by_server", "by_tool", "by_key", "by_day"] as const;
const text = (value: unknown) => JSON.stringify(value);
/** In an order of their own, so that ties do not matter. */
const sorted = <T extends Record<(typeof LISTS)[number], unknown[]>>(stats: T) => ({
  ...stats,
  ...Object.fromEntries(LISTS.map((name) => [name, stats[name].toSorted((a, b) => (text(a) < text(b) ? -1 : 1))])),
});

const QUESTIONS: readonly [query: string, holds: (row: CallRow) => boolean][] = [
  ["", () => true],
  ["server_id=srv_1", (row) => row.server_id === "srv_1"],
  ["tool=tool_1", (row) => row.tool === "tool_1"],
  ["server_id=srv_0&tool=tool_2", (row) => row.server_id === "srv_0" && row.tool === "tool_2"],
  ["virtual_key_id=key_1", (row) => row.virtual_key_id === "key_1"],
  ["user_id=user_1", (row) => row.sub === "user_1"],
  ["user_id=user_0&virtual_key_id=key_2", (row) => row.sub === "user_0" && row.virtual_key_id === "key_2"],
  ["virtual_key_id=key_0&tool=tool_0", (row) => row.virtual_key_id === "key_0" && row.tool === "tool_0"],
  ["ok=true", (row) => row.ok],
  ["ok=false", (row) => !row.ok],
  ["outcome=refused&virtual_key_id=key_1", (row) => row.outcome === "refused" && row.virtual_key_id === "key_1"],
  ["run_id=run_1", (row) => row.run_id === "run_1"],
  ["session_id=ses_2&tool=tool_1", (row) => row.session_id === "ses_2" && row.tool === "tool_1"],
  ["reason=tool_blocked", (row) => row.reason === "tool_blocked"],
  ["min_duration_ms=40&max_duration_ms=1000", (row) => row.duration_ms >= 40 && row.duration_ms <= 1_000],
  ["text=WORD3", (row) => row.args?.includes("word3") ?? false],
  ["tool=nothing", () => false],
];

/** Beginnings and ends within an hour, on one, and on a day. */
const RANGES: readonly (readonly [from: number | null, to: number | null])[] = [
  [null, null],
  [NOON - 40 * HOUR + 1, NOON + 41.5 * HOUR],
  [NOON - 60 * HOUR, NOON + 36 * HOUR],
  [NOON - 200.25 * HOUR, null],
  [null, NOON - 0.1 * HOUR],
  [NOON - 19.4 * 24 * HOUR - 1, NOON + 19.3 * 24 * HOUR + 1],
  [NOON, NOON + 0.2 * HOUR],
  [NOON, NOON],
];

describe("GET /v1/calls/stats", () => {
  it("counts exactly what the filters leave over, by server, tool, key and day", async () => {
    const rows = someCalls(900, 40);
    await addCalls(...rows);
    const gateway = startGateway(offline);
    for (const [query, holds] of QUESTIONS) {
      for (const [from, to] of RANGES) {
        const range = [from === null ? "" : `from=${iso(from)}`, to === null ? "" : `to=${iso(to)}`];
        const question = `?${[query, ...range].filter((part) => part !== "").join("&")}`;
        const some = rows.filter(
          (row) => holds(row) && row.created_at >= (from ?? -Infinity) && row.created_at < (to ?? Infinity),
        );
        const {
          p50_duration_ms: _50,
          p95_duration_ms: _95,
          p99_duration_ms: _99,
          filters: _,
          ...stats
        } = await ask(gateway, question);
        expect({ question, ...sorted(stats) }).toEqual({ question, ...sorted(expected(some)) });
      }
    }
  });
});

describe("percentiles", () => {
  it("are within five per cent of the exact ones, and exact for short calls", async () => {
    const pick = chance(3);
    for (const most of [9, 400, 90_000]) {
      const rows = Array.from({ length: 500 }, (_, n) => callRow(`call_${most}_${n}`, { duration_ms: pick(most + 1) }));
      await addCalls(...rows.map((row) => ({ ...row, virtual_key_id: `key_${most}` })));
      const sorted = rows.map(({ duration_ms }) => duration_ms).toSorted((a, b) => a - b);
      const stats = await ask(startGateway(offline), `?virtual_key_id=key_${most}`);
      for (const [share, given] of [
        [0.5, stats.p50_duration_ms],
        [0.95, stats.p95_duration_ms],
        [0.99, stats.p99_duration_ms],
      ] as const) {
        const exact = sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
        if (most < 10) expect(given).toBe(exact);
        else expect(Math.abs((given ?? Number.NaN) - exact)).toBeLessThanOrEqual(exact * 0.05 + 0.5);
      }
    }
  });

  it.each([
    [[], 0.5, null],
    [[7], 0.99, 7],
    [[0, 0, 5, 5], 0.5, 0],
    [[0, 0, 5, 5], 0.51, 5],
    [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.95, 10],
  ])("of %j at %f is %j", (durations, share, expected) => {
    const buckets = durations.map((ms) => Math.floor(BUCKETS_PER_DOUBLING * Math.log2(ms + 1)));
    const counted = new Map([...Map.groupBy(buckets, (bucket) => bucket)].map(([bucket, all]) => [bucket, all.length]));
    expect(percentile(counted, share)).toBe(expected);
  });
});

describe("statistics", () => {
  it("are null where there is nothing to reckon with", async () => {
    expect(await ask(startGateway(offline), "?ok=true")).toEqual({
      ...{ total: 0, succeeded: 0, success_rate: null, average_duration_ms: null, total_cost_usd: 0 },
      ...{ p50_duration_ms: null, p95_duration_ms: null, p99_duration_ms: null },
      ...{ by_server: [], by_tool: [], by_key: [], by_day: [] },
      filters: { ok: true },
    });
  });

  it("reckon money in whole nano-dollars", async () => {
    await addCalls(...["a", "b", "c"].map((id) => callRow(id, { cost_nano: 100_000_000, run_id: "run_1" })));
    for (const query of ["", "?run_id=run_1", "?virtual_key_id=key_1"]) {
      expect(await ask(startGateway(offline), query)).toMatchObject({ total_cost_usd: 0.3 });
    }
  });

  it("count a row once, however often it is added, alone or among others", async () => {
    const rows = someCalls(30, 1);
    await addCalls(...rows);
    await addCalls(...rows.slice(10), callRow("late"));
    await addCalls(callRow("late", { tool: "changed", cost_nano: 5 }), callRow("twice"), callRow("twice"));
    const stats = await ask(startGateway(offline));
    expect(stats.total).toBe(32);
    expect(sorted(stats)).toMatchObject(sorted(expected([...rows, callRow("late"), callRow("twice")])));
  });

  it("count nothing of rows that could not be stored", async () => {
    const broken = { ...callRow("b"), tool: null };
    const before = await stored();
    await expect(addCalls(callRow("a"), broken as never)).rejects.toMatchObject({ code: "unavailable" });
    expect(await stored()).toEqual(before);
  });

  it("know rows that have waited since before calls had an outcome", async () => {
    const old = (row: CallRow) => ({ ...row, outcome: undefined, cost_nano: undefined }) as never;
    const failed = callRow("c", { ok: false, outcome: "upstream_failed" });
    await addCalls(old(callRow("a")), old(refusedRow("b")), old(failed));
    expect(await ask(startGateway(offline), "?outcome=refused")).toMatchObject({ total: 1, total_cost_usd: 0 });
    const page = await accepted<{ rows: CallRow[] }>(await startGateway(offline).admin("GET", "/v1/calls"));
    expect(page.rows.map(({ id, outcome }) => [id, outcome])).toEqual([
      ["c", "upstream_failed"],
      ["b", "refused"],
      ["a", "ok"],
    ]);
  });

  it("show each org its own", async () => {
    await createOrg("acme");
    await addCalls(
      ...someCalls(40, 3),
      ...someCalls(9, 3, { org_id: "acme" }).map((row) => ({ ...row, id: `x${row.id}` })),
    );
    const gateway = startGateway(offline);
    const acme = { "X-Org-Id": "acme" };
    for (const query of ["?", "?tool=tool_1&", "?virtual_key_id=key_1&", "?text=word&"]) {
      const [one, other] = [await ask(gateway, query), await ask(gateway, query, acme)];
      const all = await ask(gateway, `${query}org_id=*`);
      expect([query, all.total]).toEqual([query, one.total + other.total]);
    }
    expect(await ask(gateway, "", acme)).toMatchObject({ total: 9 });
  });

  it("name a server as it was called last, and list the most used first", async () => {
    await addCalls(
      ...["a", "b", "c"].map((id) => callRow(id, { server_id: "srv_1", server: "before" })),
      callRow("z", { server_id: "srv_2", server: "other", tool: "rare" }),
    );
    await addCalls(callRow("d", { server_id: "srv_1", server: "now" }));
    const { by_server, by_tool } = await ask(startGateway(offline));
    expect(by_server.map(({ server_id, server, total }) => [server_id, server, total])).toEqual([
      ["srv_1", "now", 4],
      ["srv_2", "other", 1],
    ]);
    expect(by_tool.map(({ tool, total }) => [tool, total])).toEqual([
      ["search", 4],
      ["rare", 1],
    ]);
  });

  it("ask for a narrower range where only the calls themselves can tell, and there are many", async () => {
    await addCalls(...someCalls(90, 2));
    const store = d1CallStatsStore(env.DB, 29);
    for (const filters of [{ text: "word" }, { min_duration_ms: 1 }, { tool: ["tool_0"], max_duration_ms: 60_000 }]) {
      await expect(store.sums("default", filters)).rejects.toMatchObject({ code: "invalid_request", field: "from" });
    }
    for (const filters of [
      { reason: "tool_blocked" },
      { run_id: "run_1", text: "word" },
      { min_duration_ms: 10_000 },
    ]) {
      await expect(store.sums("default", filters)).resolves.toBeDefined();
    }
    const narrow = { text: "word", from: NOON - 3_600_000, to: NOON };
    expect((await store.sums("default", narrow)).days.length).toBeLessThanOrEqual(1);
  });
});

describe("the slices of a range", () => {
  const MS = Object.fromEntries(SPANS);
  const instant = fc.integer({ min: -3e12, max: 3e12 });

  it("cover it once, in whole spans, and leave less than an hour of calls at each end", () => {
    fc.assert(
      fc.property(instant, fc.integer({ min: 0, max: 60 * 86_400_000 }), (from, length) => {
        const slices = slicesOf(from, from + length);
        let at = from;
        for (const slice of slices) {
          expect(slice.from).toBe(at);
          expect(slice.to).toBeGreaterThan(slice.from);
          const ms = MS[slice.span];
          if (ms === undefined) expect(slice.to - slice.from).toBeLessThan(2 * HOUR);
          else expect([Math.abs(slice.from % ms), Math.abs(slice.to % ms)]).toEqual([0, 0]);
          at = slice.to;
        }
        expect(at).toBe(from + length);
        expect(slices.filter(({ span }) => span === "call").length).toBeLessThanOrEqual(2);
      }),
    );
  });

  it("have no end where the range has none", () => {
    expect(slicesOf(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)).toEqual([
      { span: "block", from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY },
    ]);
    expect(slicesOf(HOUR + 1, Number.POSITIVE_INFINITY).map(({ span }) => span)).toEqual([
      "call",
      "hour",
      "day",
      "block",
    ]);
    expect(slicesOf(5, 5)).toEqual([]);
    expect(slicesOf(6, 5)).toEqual([]);
  });
});
