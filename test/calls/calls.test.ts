import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { CallRow } from "../../src/calls/call.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { accepted, createOrg, offline, refusal, stored } from "../support/api.ts";
import { addCalls, NOON, refusedRow, callRow as row } from "../support/calls.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

async function startWith(...rows: CallRow[]): Promise<TestGateway> {
  await addCalls(...rows);
  return startGateway(offline);
}

interface CallPage {
  readonly rows: { id: string }[];
  readonly next_cursor: string | null;
  readonly page_size: number;
  readonly filters: Record<string, unknown>;
}

const list = async (gateway: TestGateway, query = "", headers = {}) =>
  accepted<CallPage>(await gateway.admin("GET", `/v1/calls${query}`, undefined, headers));
const ids = async (gateway: TestGateway, query = "", headers = {}) =>
  (await list(gateway, query, headers)).rows.map(({ id }) => id);

describe("GET /v1/calls", () => {
  it("answers an empty page with what was applied", async () => {
    expect(await list(await startWith())).toEqual({
      rows: [],
      next_cursor: null,
      page_size: 25,
      filters: {},
      sort: { by: "created_at", direction: "desc" },
    });
  });

  it("answers whole rows, arguments open and times in ISO 8601 [PS-73]", async () => {
    const gone = { server: null, server_id: null, definition_hash: null };
    const asked = { args: '{"q":"x","n":1}', session_id: "ses_1", run_id: "run_1", parent_run_id: "run_0" };
    const refused = refusedRow("b", { ...gone, created_at: NOON + 1 });
    const gateway = await startWith(row("a", { ...asked, sub: "ann", email: "ann@acme.example" }), refused);
    const shown = ({ cost_nano, ...kept }: CallRow) => ({ ...kept, cost_usd: cost_nano / 1e9 });
    expect((await list(gateway)).rows).toEqual([
      { ...shown(refused), created_at: "2026-11-01T12:00:00.001Z", gateway_ms: 12 },
      {
        ...{ ...shown(row("a", asked)), created_at: "2026-11-01T12:00:00.000Z", args: { q: "x", n: 1 } },
        ...{ sub: "ann", email: "ann@acme.example", upstream_ms: 9, gateway_ms: 3 },
      },
    ]);
  });

  it("pages from the newest to the oldest, each row once, also over equal times", async () => {
    const times = [0, 0, 0, 1, 1, 2, 0, 1];
    const rows = times.map((time, at) => row(`call_${at}`, { created_at: NOON + time }));
    const gateway = await startWith(...rows);
    const expected = rows.toSorted((a, b) => b.created_at - a.created_at || (a.id < b.id ? 1 : -1)).map(({ id }) => id);
    for (const size of [1, 2, 3, 7, 8, 9]) {
      const found: string[] = [];
      let cursor: string | null = "";
      for (let pages = 0; cursor !== null && pages < 20; pages++) {
        const from: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
        const page: CallPage = await list(gateway, `?page_size=${size}${from}`);
        expect(page.page_size).toBe(size);
        found.push(...page.rows.map(({ id }) => id));
        cursor = page.next_cursor;
      }
      expect(found).toEqual(expected);
    }
  });

  it("goes on where a page ended, whatever has come since", async () => {
    const gateway = await startWith(row("a"), row("b"), row("c"));
    const first = await list(gateway, "?page_size=2");
    expect(first.rows.map(({ id }) => id)).toEqual(["c", "b"]);
    await d1CallStore(env.DB).append(JSON.stringify([row("d", { created_at: NOON + 5 }), row("bb")]));
    expect(await ids(gateway, `?page_size=2&cursor=${encodeURIComponent(first.next_cursor ?? "")}`)).toEqual(["a"]);
  });

  it.each([
    ["?page_size=0", 1],
    ["?page_size=-1", 1],
    ["?page_size=201", 200],
    ["?page_size=many", 25],
  ])("applies %s as %i", async (query, size) => {
    expect((await list(await startWith(), query)).page_size).toBe(size);
  });

  it.each([
    ["?server_id=srv_docs", { server_id: "srv_docs" }, ["c", "a"]],
    ["?tool=erase", { tool: "erase" }, ["c"]],
    ["?virtual_key_id=key_2", { virtual_key_id: "key_2" }, ["b"]],
    ["?ok=true", { ok: true }, ["b", "a"]],
    ["?ok=false", { ok: false }, ["c"]],
    ["?server_id=srv_docs&ok=true", { server_id: "srv_docs", ok: true }, ["a"]],
    ["?tool=ERASE", { tool: "ERASE" }, []],
    ["?tool=%25", { tool: "%" }, []],
  ])("filters by %s", async (query, filters, found) => {
    const gateway = await startWith(
      row("a"),
      row("b", { server_id: "srv_other", virtual_key_id: "key_2" }),
      row("c", { tool: "erase", ok: false }),
    );
    const page = await list(gateway, query);
    expect(page.filters).toEqual(filters);
    expect(page.rows.map(({ id }) => id)).toEqual(found);
  });

  it("keeps its filters from page to page", async () => {
    const gateway = await startWith(row("a"), row("b", { ok: false }), row("c"), row("d"));
    const { next_cursor } = await list(gateway, "?ok=true&page_size=2");
    expect(await ids(gateway, `?ok=true&cursor=${encodeURIComponent(next_cursor ?? "")}`)).toEqual(["a"]);
  });

  it.each([
    ["?ok=maybe", "invalid_request", "ok"],
    ["?ok=", "invalid_request", "ok"],
    ["?colour=red", "unknown_field", "colour"],
  ])("refuses %s", async (query, code, field) => {
    const response = await startGateway(offline).admin("GET", `/v1/calls${query}`);
    expect(await refusal(response)).toEqual({ status: 400, code, field });
  });

  const cursor = (value: unknown) => encodeURIComponent(btoa(JSON.stringify(value)));

  it("refuses a cursor that it did not give", async () => {
    const texts = [
      "",
      "x",
      "%00",
      "bm90IGpzb24=",
      cursor(null),
      cursor({}),
      cursor([]),
      cursor(["created_at", "desc", NOON]),
      cursor(["created_at", "desc", "soon", "a"]),
      cursor(["created_at", "desc", NOON, 1]),
      cursor(["created_at", "desc", 1.5, "a"]),
      cursor(["created_at", "desc", null, "a"]),
      cursor(["created_at", "desc", NOON, "a", "b"]),
      cursor(["tool", "desc", NOON, "a"]),
      cursor(["created_at", "asc", NOON, "a"]),
      cursor(["duration_ms", "desc", NOON, "a"]),
    ];
    const gateway = startGateway(offline);
    for (const text of texts) {
      const answer = await refusal(await gateway.admin("GET", `/v1/calls?cursor=${text}`));
      expect({ text, ...answer }).toEqual({ text, status: 400, code: "invalid_request", field: "cursor" });
    }
  });

  it("shows each org its own rows, also behind another org's cursor and by another org's ids", async () => {
    await createOrg("acme");
    const gateway = await startWith(
      row("a"),
      row("b", { org_id: "acme", virtual_key_id: "key_2" }),
      row("c"),
      row("d", { org_id: "acme" }),
    );
    const acme = { "X-Org-Id": "acme" };
    expect(await ids(gateway)).toEqual(["c", "a"]);
    expect(await ids(gateway, "", acme)).toEqual(["d", "b"]);
    expect(await ids(gateway, "?virtual_key_id=key_2")).toEqual([]);
    const { next_cursor } = await list(gateway, "?page_size=1", acme);
    expect(await ids(gateway, `?cursor=${encodeURIComponent(next_cursor ?? "")}`)).toEqual(["c", "a"]);
  });
});

describe("the call log", () => {
  it("has a row once, however often it is added, and as it was first", async () => {
    const store = d1CallStore(env.DB);
    await store.append(JSON.stringify([row("a"), row("b")]));
    await store.append(JSON.stringify([row("b", { tool: "changed" }), row("c")]));
    await store.append(JSON.stringify([]));
    const rows = (await stored())["tool_calls"] ?? [];
    expect(rows.map(({ id, tool }) => [id, tool])).toEqual([
      ["a", "search"],
      ["b", "search"],
      ["c", "search"],
    ]);
  });
});
