/** Whose calls somebody sees: members their own, org admins those of the org, admins of the platform those of all. */
import { describe, expect, it } from "vitest";
import type { CallStats, CallView } from "../../src/calls/calls.wire.ts";
import { accepted, createOrg, refusal } from "../support/api.ts";
import { addCalls, callRow } from "../support/calls.ts";
import { startWithUsers } from "../support/users.ts";

const ACME = { "X-Org-Id": "acme" };
const CHIEF = { sub: "chief", platform: true };

/** Two calls of each of two members of acme, one of an agent there, and one in another org. */
async function start() {
  const gateway = await startWithUsers();
  await createOrg("acme");
  await createOrg("other");
  const put = (org: string, user: string, role: string) =>
    gateway.admin("PUT", `/v1/orgs/${org}/members/${user}`, { role });
  await accepted(await put("acme", "ann", "member"));
  await accepted(await put("acme", "bob", "member"));
  await accepted(await put("acme", "olga", "org_admin"));
  await accepted(await put("other", "ann", "member"));
  const own = (id: string, sub: string, org_id = "acme") =>
    callRow(id, { org_id, sub, virtual_key_id: null, run_id: "run_1", args: `{"by":"${sub}"}`, cost_nano: 1e9 });
  await addCalls(
    ...[own("ann1", "ann"), own("ann2", "ann"), own("bob1", "bob"), own("bob2", "bob")],
    ...[callRow("key1", { org_id: "acme" }), own("far", "ann", "other")],
  );
  const ask = async <T>(who: string | Record<string, unknown>, path: string, headers: Record<string, string> = ACME) =>
    accepted<T>(await gateway.as(who, "GET", path, undefined, headers));
  const ids = async (...args: Parameters<typeof ask>) =>
    (await ask<{ rows: CallView[] }>(...args)).rows.map(({ id }) => id).toSorted();
  return { gateway, ask, ids };
}

describe("the calls that somebody sees", () => {
  it("are their own for a member, with their arguments, in every answer", async () => {
    const { gateway, ask, ids } = await start();
    expect(await ids("ann", "/v1/calls")).toEqual(["ann1", "ann2"]);
    expect(await ids("ann", "/v1/calls?sort=duration_ms")).toEqual(["ann1", "ann2"]);
    expect(await ids("ann", "/v1/calls?user_id=ann&run_id=run_1")).toEqual(["ann1", "ann2"]);
    expect(await ids("ann", "/v1/calls?user_id=bob")).toEqual([]);
    expect(await ids("ann", "/v1/calls?virtual_key_id=key_1")).toEqual([]);
    expect(await ask<CallStats>("ann", "/v1/calls/stats")).toMatchObject({ total: 2, total_cost_usd: 2 });
    expect(await ask<CallStats>("ann", "/v1/calls/stats?run_id=run_1")).toMatchObject({ total: 2 });
    expect(await ask<CallStats>("ann", "/v1/calls/stats?user_id=bob")).toMatchObject({ total: 0 });
    const file = await gateway.as("ann", "GET", "/v1/calls/export", undefined, ACME);
    const lines = new TextDecoder()
      .decode(await file.arrayBuffer())
      .trim()
      .split("\n");
    expect(lines.map((line) => JSON.parse(line).id)).toEqual(["ann2", "ann1"]);
    expect(await ask<CallView>("ann", "/v1/calls/ann1")).toMatchObject({ id: "ann1", args: { by: "ann" } });
  });

  it("leave out those of others when one is asked for by its id", async () => {
    const { gateway } = await start();
    for (const [who, id] of [
      ["ann", "bob1"],
      ["ann", "key1"],
      ["ann", "far"],
      ["olga", "far"],
      ["olga", "nothing"],
    ] as const) {
      const response = await gateway.as(who, "GET", `/v1/calls/${id}`, undefined, ACME);
      expect([who, id, await refusal(response)]).toEqual([who, id, { status: 404, code: "not_found" }]);
    }
  });

  it("are those of the org for its admins, with all arguments", async () => {
    const { ask, ids } = await start();
    expect(await ids("olga", "/v1/calls")).toEqual(["ann1", "ann2", "bob1", "bob2", "key1"]);
    expect(await ids("olga", "/v1/calls?user_id=bob")).toEqual(["bob1", "bob2"]);
    expect(await ask<CallStats>("olga", "/v1/calls/stats")).toMatchObject({ total: 5, total_cost_usd: 4 });
    expect(await ask<CallView>("olga", "/v1/calls/bob1")).toMatchObject({ args: { by: "bob" } });
  });

  it("are those of the org that is named, or of all, for admins of the platform", async () => {
    const { ask, ids } = await start();
    expect(await ids(CHIEF, "/v1/calls")).toHaveLength(5);
    expect(await ids(CHIEF, "/v1/calls", {})).toEqual([]);
    const all = await ask<{ rows: CallView[]; filters: object }>(CHIEF, "/v1/calls?org_id=*");
    expect(all.rows.map(({ id, org_id }) => [id, org_id]).toSorted()).toEqual([
      ...["ann1", "ann2", "bob1", "bob2"].map((id) => [id, "acme"]),
      ["far", "other"],
      ["key1", "acme"],
    ]);
    expect(all.filters).toEqual({ org_id: "*" });
    expect(await ids(CHIEF, "/v1/calls?org_id=*&user_id=ann")).toEqual(["ann1", "ann2", "far"]);
    expect(await ask<CallStats>(CHIEF, "/v1/calls/stats?org_id=*&user_id=ann")).toMatchObject({ total: 3 });
    expect(await ask<CallStats>(CHIEF, "/v1/calls/stats?org_id=*&text=ann")).toMatchObject({ total: 3 });
    expect(await ask<CallView>(CHIEF, "/v1/calls/far?org_id=*")).toMatchObject({ id: "far" });
  });

  it("are never those of all orgs for anybody else", async () => {
    const { gateway } = await start();
    for (const who of ["ann", "olga"]) {
      for (const path of ["/v1/calls", "/v1/calls/stats", "/v1/calls/export", "/v1/calls/far"]) {
        const response = await gateway.as(who, "GET", `${path}?org_id=*`, undefined, ACME);
        expect([who, path, await refusal(response)]).toEqual([
          who,
          path,
          { status: 403, code: "forbidden", field: "org_id" },
        ]);
      }
    }
  });
});
