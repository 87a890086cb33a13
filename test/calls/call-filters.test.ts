import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { CallRow } from "../../src/calls/call.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { accepted, offline, refusal } from "../support/api.ts";
import { addCalls, callRow, NOON, refusedRow, someCalls } from "../support/calls.ts";
import { startGateway } from "../support/gateway.ts";

interface Page {
  readonly rows: { id: string; created_at: string; duration_ms: number; cost_usd: number }[];
  readonly next_cursor: string | null;
  readonly filters: Record<string, unknown>;
  readonly sort: { by: string; direction: string };
}

const gateway = () => startGateway(offline);
const list = async (query: string) => accepted<Page>(await gateway().admin("GET", `/v1/calls?${query}`));
const iso = (at: number) => encodeURIComponent(new Date(at).toISOString());

describe("the filters of the call log", () => {
  const rows = [
    callRow("a", { server_id: "srv_a", tool: "search", sub: "ann", duration_ms: 5, args: '{"q":"Grüße 100%"}' }),
    callRow("b", { virtual_key_id: "key_2", run_id: "run_1", session_id: "ses_1", duration_ms: 50, cost_nano: 7 }),
    refusedRow("c", { created_at: NOON + 1_000, duration_ms: 500 }),
    callRow("d", {
      ...{ created_at: NOON + 2_000, ok: false, outcome: "upstream_timeout", duration_ms: 5_000 },
      error: "The server did not answer in time.",
    }),
  ];

  it.each([
    ["server_id=srv_a", ["a"]],
    ["tool=search", ["d", "c", "b", "a"]],
    ["user_id=ann", ["a"]],
    ["virtual_key_id=key_2", ["b"]],
    ["run_id=run_1", ["b"]],
    ["session_id=ses_1", ["b"]],
    ["ok=true", ["b", "a"]],
    ["ok=false", ["d", "c"]],
    ["reason=tool_blocked", ["c"]],
    ["outcome=upstream_timeout", ["d"]],
    ["outcome=ok", ["b", "a"]],
    ["outcome=refused&ok=true", []],
    [`from=${iso(NOON + 1_000)}`, ["d", "c"]],
    [`to=${iso(NOON + 1_000)}`, ["b", "a"]],
    [`from=${iso(NOON + 1)}&to=${iso(NOON + 2_000)}`, ["c"]],
    ["from=2026-11-01T13:00:01%2B01:00", ["d", "c"]],
    ["min_duration_ms=50", ["d", "c", "b"]],
    ["max_duration_ms=50", ["b", "a"]],
    ["min_duration_ms=50&max_duration_ms=500&ok=true", ["b"]],
    ["text=SEARCH", ["d", "c", "b", "a"]],
    ["text=in%20Time", ["d"]],
    ["text=100%25", ["a"]],
    [`text=${encodeURIComponent("Grüße")}`, ["a"]],
    ["text=_", []],
    ["run_id=run_1&tool=search&text=q", []],
  ])("leave over what matches %s", async (query, found) => {
    await addCalls(...rows);
    expect((await list(query)).rows.map(({ id }) => id)).toEqual(found);
  });

  it("are told as they were applied", async () => {
    const query = `ok=false&outcome=refused&from=2026-11-01T13:00:00%2B01:00&min_duration_ms=007&text=x&user_id=ann`;
    expect((await list(query)).filters).toEqual({
      ...{ ok: false, outcome: "refused", from: "2026-11-01T12:00:00.000Z", min_duration_ms: 7, text: "x" },
      user_id: "ann",
    });
  });

  it.each([
    ["from=yesterday", "from"],
    ["from=2026-11-01", "from"],
    ["from=2026-11-01T12:00:00", "from"],
    ["to=2026-13-01T12:00:00Z", "to"],
    ["to=", "to"],
    ["min_duration_ms=fast", "min_duration_ms"],
    ["min_duration_ms=-1", "min_duration_ms"],
    ["max_duration_ms=1.5", "max_duration_ms"],
    ["max_duration_ms=", "max_duration_ms"],
    ["outcome=maybe", "outcome"],
    ["ok=1", "ok"],
    ["tool=", "tool"],
    ["server_id=", "server_id"],
    ["text=", "text"],
    [`text=${"x".repeat(201)}`, "text"],
    ["sort=tool", "sort"],
    ["direction=up", "direction"],
    ["org_id=acme", "org_id"],
    ["org_id=*&sort=cost_usd", "sort"],
  ])("refuse %s, and so does every other question", async (query, field) => {
    for (const path of ["/v1/calls", "/v1/calls/export", "/v1/calls/stats"]) {
      const isOrder = /sort=|direction=/.test(query) && path === "/v1/calls/stats";
      const expected = isOrder
        ? { code: "unknown_field", field: query.includes("sort=") ? "sort" : "direction" }
        : { code: "invalid_request", field };
      expect(await refusal(await gateway().admin("GET", `${path}?${query}`))).toEqual({ status: 400, ...expected });
    }
  });
});

/** What the list is to show, reckoned by hand. */
function ordered(rows: readonly CallRow[], by: "created_at" | "duration_ms" | "cost_nano", direction: string) {
  const up = rows.toSorted((a, b) => a[by] - b[by] || (a.id < b.id ? -1 : 1));
  return (direction === "asc" ? up : up.reverse()).map(({ id }) => id);
}

const SORTS = [
  ["created_at", "created_at"],
  ["duration_ms", "duration_ms"],
  ["cost_usd", "cost_nano"],
] as const;

describe("the orders of the call log", () => {
  it.each(SORTS.flatMap(([sort, by]) => (["asc", "desc"] as const).map((direction) => [sort, direction, by] as const)))(
    "page by %s, %s, each row once, also over equal values",
    async (sort, direction, by) => {
      // Few different values of each kind.
      const rows = someCalls(120, 2).map((row, n) => ({ ...row, created_at: NOON + (n % 7), duration_ms: n % 5 }));
      await addCalls(...rows);
      for (const filter of ["", "&ok=true", "&virtual_key_id=key_1", "&min_duration_ms=2&max_duration_ms=3"]) {
        const found: string[] = [];
        let cursor: string | null = "";
        while (cursor !== null && found.length < 200) {
          const from: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
          const page: Page = await list(`sort=${sort}&direction=${direction}&page_size=17${filter}${from}`);
          expect(page.sort).toEqual({ by: sort, direction });
          found.push(...page.rows.map(({ id }) => id));
          cursor = page.next_cursor;
        }
        const holds: Record<string, (row: CallRow) => boolean> = {
          "": () => true,
          "&ok=true": ({ ok }) => ok,
          "&virtual_key_id=key_1": ({ virtual_key_id }) => virtual_key_id === "key_1",
          "&min_duration_ms=2&max_duration_ms=3": ({ duration_ms }) => duration_ms === 2 || duration_ms === 3,
        };
        expect(found).toEqual(ordered(rows.filter(holds[filter] ?? (() => false)), by, direction));
      }
    },
  );

  it("take no cursor of another order", async () => {
    await addCalls(...someCalls(5, 1));
    const { next_cursor } = await list("page_size=2&sort=duration_ms");
    const response = await gateway().admin("GET", `/v1/calls?cursor=${encodeURIComponent(next_cursor ?? "")}`);
    expect(await refusal(response)).toEqual({ status: 400, code: "invalid_request", field: "cursor" });
  });
});

describe("a page that may look at few entries only", () => {
  const rows = someCalls(300, 3);

  it.each(SORTS.flatMap(([sort, by]) => (["asc", "desc"] as const).map((direction) => [sort, direction, by] as const)))(
    "says where to go on, until everything is found: by %s, %s",
    async (sort, direction, by) => {
      await addCalls(...rows);
      const store = d1CallStore(env.DB, 8);
      const isAsked = (row: CallRow) => row.args === '{"q":"word3"}' && row.tool === "tool_1";
      const found: string[] = [];
      let [after, pages, empty] = [null as Awaited<ReturnType<typeof store.list>>["next"], 0, 0];
      do {
        const slice = { sort: { by: sort, direction }, after, limit: 3 };
        const page = await store.list("default", { text: "WORD3", tool: ["tool_1"] }, slice);
        expect(page.rows.length).toBeLessThanOrEqual(3);
        found.push(...page.rows.map(({ id }) => id));
        if (page.rows.length === 0) empty++;
        after = page.next;
        pages++;
      } while (after !== null && pages < 100);
      expect(found).toEqual(ordered(rows.filter(isAsked), by, direction));
      expect(empty, "pages without a row").toBeGreaterThan(0);
    },
  );

  it("goes on behind a range of time and a cursor alike", async () => {
    await addCalls(...rows);
    const store = d1CallStore(env.DB, 20);
    const filters = { from: NOON - 3_600_000, to: NOON + 3_600_000 };
    const within = rows.filter(({ created_at }) => created_at >= filters.from && created_at < filters.to);
    const sort = { by: "created_at", direction: "desc" } as const;
    const later = { value: NOON + 40 * 3_600_000, id: "z" };
    const page = await store.list("default", filters, { sort, after: later, limit: 200 });
    expect(page.rows.map(({ id }) => id)).toEqual(ordered(within, "created_at", "desc").slice(0, 20));
  });
});
