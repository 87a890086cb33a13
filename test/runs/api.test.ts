/** `/v1/runs`: who sees which runs, by which filters, in which order (B.6). */
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import type { RunRow } from "../../src/runs/run.ts";
import { d1RunStore } from "../../src/runs/runs.store.ts";
import { accepted, createOrg, offline, refusal } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { startWithUsers, type UserGateway } from "../support/users.ts";

interface Page {
  readonly rows: { run_id: string }[];
  readonly next_cursor: string | null;
  readonly page_size: number;
  readonly filters: unknown;
  readonly sort: unknown;
}

const AT = Date.parse("2026-03-01T12:00:00.000Z");
const MINUTE = 60_000;

const run = (run_id: string, given: Partial<RunRow> = {}): RunRow => ({
  ...{ run_id, org_id: "acme", principal_id: "bob", session_id: null, label: run_id, doctrine: null },
  ...{ parent_run_id: null, budget_nano: null, spent_nano: 0, calls: 0, cost_nano: 0, outcome: null, note: null },
  ...{ started_at: AT, finished_at: null, version: 1 },
  ...given,
});

const store = (...runs: RunRow[]) => d1RunStore(env.DB).append(JSON.stringify(runs));

let gateway: UserGateway;
beforeEach(async () => {
  gateway = await startWithUsers();
  await createOrg("acme");
  await createOrg("other");
  for (const [user, role] of Object.entries({ ann: "org_admin", bob: "member", cleo: "member" })) {
    const headers = { "X-Org-Id": "acme" };
    await accepted(await gateway.admin("PUT", `/v1/orgs/acme/members/${user}`, { role }, headers));
  }
});

async function listed(user: string | Record<string, unknown>, query = "", headers: Record<string, string> = {}) {
  const { rows } = await accepted<Page>(await gateway.as(user, "GET", `/v1/runs${query}`, undefined, headers));
  return rows.map(({ run_id }) => run_id);
}

describe("a run on the API", () => {
  it("shows its status, calls, cost and duration [PS-43]", async () => {
    await store(
      run("done", {
        ...{ session_id: "ses_1", doctrine: "rule/a", parent_run_id: "open", budget_nano: 300_000_000, calls: 4 },
        ...{ spent_nano: 200_000_000, cost_nano: 100_000_001, outcome: "done", note: "n", finished_at: AT + 1_500 },
      }),
      run("open", { principal_id: "key:key_1" }),
    );
    const done = await accepted(await gateway.as("bob", "GET", "/v1/runs/done"));
    expect(done).toEqual({
      ...{ run_id: "done", org_id: "acme", user_id: "bob", session_id: "ses_1", label: "done", doctrine: "rule/a" },
      ...{ parent_run_id: "open", status: "finished", outcome: "done", note: "n", calls: 4, cost_usd: 0.100000001 },
      ...{ spent_usd: 0.2, budget_usd: 0.3, started_at: "2026-03-01T12:00:00.000Z" },
      ...{ finished_at: "2026-03-01T12:00:01.500Z", duration_ms: 1_500 },
    });
    const open = await accepted<Record<string, unknown>>(await gateway.as("ann", "GET", "/v1/runs/open"));
    expect(open).toMatchObject({
      ...{ user_id: "key:key_1", status: "open", outcome: null, budget_usd: null, finished_at: null },
    });
    gateway.passed += 1_000;
    const later = await accepted<Record<string, unknown>>(await gateway.as("ann", "GET", "/v1/runs/open"));
    expect(Number(later["duration_ms"]) - Number(open["duration_ms"])).toBe(1_000);
  });

  it("is for whoever began it and for admins of its org; to others it is not there", async () => {
    await store(run("mine"), run("theirs", { principal_id: "cleo" }), run("foreign", { org_id: "other" }));
    expect([await listed("bob"), await listed("cleo"), await listed("ann")]).toEqual([
      ...[["mine"], ["theirs"], ["theirs", "mine"]],
    ]);
    expect(await listed("bob", "?user_id=cleo")).toEqual([]);
    expect(await listed("ann", "?user_id=cleo")).toEqual(["theirs"]);
    expect((await gateway.as("bob", "GET", "/v1/runs/mine")).status).toBe(200);
    for (const [user, id] of [
      ...[
        ["bob", "theirs"],
        ["ann", "foreign"],
        ["bob", "none"],
      ],
    ] as const) {
      const refused = await refusal(await gateway.as(user ?? "", "GET", `/v1/runs/${id}`));
      expect(refused).toEqual({ status: 404, code: "not_found" });
    }
  });

  it("of every org is shown to admins of the platform, or of the one that they name", async () => {
    await store(run("acme"), run("other", { org_id: "other" }));
    const root = { sub: "root", platform: true };
    expect(await listed(root)).toEqual(["other", "acme"]);
    expect(await listed(root, "", { "X-Org-Id": "acme" })).toEqual(["acme"]);
    expect((await gateway.as(root, "GET", "/v1/runs/other")).status).toBe(200);
    const named = await gateway.as(root, "GET", "/v1/runs/other", undefined, { "X-Org-Id": "acme" });
    expect(named.status).toBe(404);
  });
});

describe("the list of runs", () => {
  it.each([
    ["", ["e", "d", "c", "b", "a"]],
    ["?open=true", ["e", "a"]],
    ["?open=false", ["d", "c", "b"]],
    ["?outcome=done", ["d", "b"]],
    ["?outcome=abandoned", ["c"]],
    ["?open=true&outcome=done", []],
    ["?from=2026-03-01T12:01:00Z&to=2026-03-01T12:03:00Z", ["c", "b"]],
    ["?from=2026-03-01T13:03:00%2B01:00", ["e", "d"]],
  ])("is narrowed by %s, newest first", async (query, expected) => {
    const at = (minutes: number, given: Partial<RunRow> = {}) => ({ started_at: AT + minutes * MINUTE, ...given });
    const ended = (outcome: RunRow["outcome"]) => ({ outcome, finished_at: AT + 10 * MINUTE });
    await store(
      ...[run("a", at(0)), run("b", at(1, ended("done"))), run("c", at(2, ended("abandoned")))],
      ...[run("d", at(3, ended("done"))), run("e", at(4))],
    );
    expect(await listed("ann", query)).toEqual(expected);
  });

  it("shows what it has applied, and pages by a cursor that lets nothing slip [PS-71]", async () => {
    await store(...Array.from({ length: 7 }, (_, at) => run(`r${at}`, { started_at: AT + Math.floor(at / 3) })));
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = `?page_size=3&open=true&from=2026-03-01T12:00:00Z${cursor === null ? "" : `&cursor=${cursor}`}`;
      const page: Page = await accepted(await gateway.as("ann", "GET", `/v1/runs${query}`));
      expect(page).toMatchObject({
        ...{ page_size: 3, filters: { open: true, from: "2026-03-01T12:00:00.000Z" } },
        sort: { by: "started_at", direction: "desc" },
      });
      seen.push(...page.rows.map(({ run_id }) => run_id));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(seen).toEqual(["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
  });

  it.each([
    ["?open=maybe", "open"],
    ["?outcome=fine", "outcome"],
    ["?from=yesterday", "from"],
    ["?to=2026-03-01", "to"],
    ["?cursor=x", "cursor"],
    [`?cursor=${btoa('["x",1]')}`, "cursor"],
  ])("refuses %s, naming the field", async (query, field) => {
    const refused = await refusal(await gateway.as("ann", "GET", `/v1/runs${query}`));
    expect(refused).toEqual({ status: 400, code: "invalid_request", field });
  });

  it("goes with its org", async () => {
    await store(run("a"), run("b", { org_id: "other" }));
    await accepted(await gateway.admin("DELETE", "/v1/orgs/acme", undefined, { "X-Org-Id": "acme" }));
    await createOrg("acme");
    const admin: TestGateway = startGateway(offline);
    const page = await accepted<Page>(await admin.admin("GET", "/v1/runs"));
    expect(page.rows.map(({ run_id }) => run_id)).toEqual(["b"]);
  });
});
