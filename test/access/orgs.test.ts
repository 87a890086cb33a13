import { describe, expect, it } from "vitest";
import { accepted, createOrg, generationOf, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { startWithUsers } from "../support/users.ts";

const ACME = "/v1/orgs/acme";

/** A gateway with the org `acme`: ann administers it, bob and cleo are members, bob administers the group `eng`. */
async function startAcme() {
  const gateway = await startWithUsers();
  await accepted(await gateway.admin("POST", "/v1/orgs", { org_id: "acme", name: "Acme" }), 201);
  await accepted(await gateway.admin("PUT", `${ACME}/members/ann`, { role: "org_admin", email: "ann@acme.example" }));
  for (const user of ["bob", "cleo"])
    await accepted(await gateway.as("ann", "PUT", `${ACME}/members/${user}`, { role: "member" }));
  await accepted(await gateway.as("ann", "POST", `${ACME}/groups`, { group_id: "eng", name: "Engineering" }), 201);
  await accepted(await gateway.as("ann", "PUT", `${ACME}/groups/eng/members/bob`, { is_admin: true }));
  return gateway;
}

describe("orgs", () => {
  it("are created, read, listed and changed", async () => {
    const gateway = await startAcme();
    const none = { readme: "", instructions: "", call_retention_days: null };
    const org = { org_id: "acme", name: "Acme", ...none, created: expect.stringMatching(/Z$/) };
    expect(await accepted(await gateway.as("cleo", "GET", ACME))).toEqual(org);
    expect(await accepted(await gateway.as("cleo", "GET", "/v1/orgs"))).toMatchObject({ rows: [org], total_rows: 1 });
    expect(await accepted(await gateway.admin("GET", "/v1/orgs"))).toMatchObject({
      rows: [{ org_id: "acme" }, { org_id: "default" }],
    });
    const patch = { name: " Acme Inc. ", readme: "Read me.", instructions: "Be brief." };
    expect(await accepted(await gateway.as("ann", "PATCH", ACME, patch))).toEqual({
      ...org,
      ...patch,
      name: "Acme Inc.",
    });
    expect(await accepted(await gateway.as("ann", "PATCH", ACME, {}))).toMatchObject({ readme: "Read me." });
  });

  it.each([
    [{ org_id: "acme", name: "Again" }, 409, "conflict", "org_id"],
    [{ org_id: "*", name: "All" }, 400, "invalid_request", "org_id"],
    [{ org_id: "-a", name: "A" }, 400, "invalid_request", "org_id"],
    [{ org_id: "a".repeat(65), name: "A" }, 400, "invalid_request", "org_id"],
    [{ org_id: "b", name: " " }, 400, "invalid_request", "name"],
    [{ org_id: "b", name: "B", readme: "x" }, 400, "unknown_field", "readme"],
  ])("are not created from %j", async (body, status, code, field) => {
    const gateway = await startAcme();
    const before = await stored();
    expect(await refusal(await gateway.admin("POST", "/v1/orgs", body))).toEqual({ status, code, field });
    expect(await stored()).toEqual(before);
  });

  it("are deleted with all that is theirs, and never make a server global by that [T-34]", async () => {
    const gateway = await startAcme();
    await createOrg("other");
    const own = await register(gateway, { name: "own", org_ids: ["acme"] });
    const shared = await register(gateway, { name: "shared", org_ids: ["acme", "other"] });
    await accepted(await gateway.admin("PUT", `/v1/servers/${shared.server_id}/contexts/acme`, { context: "ours" }));
    await accepted(await gateway.admin("POST", "/v1/virtual-keys", { name: "agent" }, { "X-Org-Id": "acme" }), 201);
    await accepted(await gateway.as("ann", "PUT", "/v1/instructions/rule/a?group=eng", { body: "Ask." }));
    const before = await stored();
    expect(await refusal(await gateway.admin("DELETE", ACME))).toEqual({ status: 409, code: "conflict" });
    expect(await stored()).toEqual(before);
    await accepted(await gateway.admin("DELETE", `/v1/servers/${own.server_id}`));
    expect(await accepted(await gateway.admin("DELETE", ACME))).toEqual({ deleted: true });
    expect(await accepted(await gateway.admin("GET", `/v1/servers/${shared.server_id}`))).toMatchObject({
      org_ids: ["other"],
    });
    const { orgs, groups, members, group_members, virtual_keys, server_contexts, ...others } = await stored();
    const { instructions, instruction_revisions } = others;
    expect({ groups, members, group_members, virtual_keys, server_contexts }).toEqual({
      ...{ groups: [], members: [], group_members: [], virtual_keys: [], server_contexts: [] },
    });
    expect({ instructions, instruction_revisions }).toEqual({ instructions: [], instruction_revisions: [] });
    expect(orgs?.map(({ org_id }) => org_id)).toEqual(["default", "other"]);
    expect(await refusal(await gateway.admin("DELETE", ACME))).toEqual({ status: 404, code: "not_found" });
  });

  it("that stand for requests which name none cannot be deleted", async () => {
    const gateway = startGateway(offline);
    expect(await refusal(await gateway.admin("DELETE", "/v1/orgs/default"))).toEqual({ status: 409, code: "conflict" });
  });

  it("begin at another generation when they are made again", async () => {
    const gateway = await startAcme();
    const first = await generationOf("acme");
    await accepted(await gateway.admin("DELETE", ACME));
    expect(await generationOf("acme")).toBe(-1);
    await accepted(await gateway.admin("POST", "/v1/orgs", { org_id: "acme", name: "Acme" }), 201);
    expect(await generationOf("acme")).not.toBe(first);
  });
});

describe("members", () => {
  it("are added, listed, changed and taken out, each with effect for the next request", async () => {
    const gateway = await startAcme();
    const generation = await generationOf("acme");
    expect(await accepted(await gateway.as("cleo", "GET", `${ACME}/members`))).toMatchObject({
      rows: [
        { user_id: "ann", role: "org_admin", email: "ann@acme.example" },
        { user_id: "bob", role: "member", email: null },
        { user_id: "cleo", role: "member" },
      ],
    });
    expect((await gateway.as("cleo", "PATCH", ACME, {})).status).toBe(403);
    await accepted(await gateway.as("ann", "PUT", `${ACME}/members/cleo`, { role: "org_admin" }));
    expect((await gateway.as("cleo", "PATCH", ACME, {})).status).toBe(200);
    await accepted(await gateway.as("ann", "DELETE", `${ACME}/members/cleo`));
    expect((await gateway.as("cleo", "GET", ACME)).status).toBe(403);
    expect(await generationOf("acme")).toBeGreaterThanOrEqual(generation + 2);
    expect((await gateway.as("ann", "DELETE", `${ACME}/members/cleo`)).status).toBe(404);
  });

  it("keep one who administers the org, unless whoever runs the platform says otherwise", async () => {
    const gateway = await startAcme();
    const before = await stored();
    for (const [method, body] of [
      ["PUT", { role: "member" }],
      ["DELETE", undefined],
    ] as const) {
      expect(await refusal(await gateway.as("ann", method, `${ACME}/members/ann`, body))).toEqual({
        status: 409,
        code: "conflict",
      });
    }
    expect(await stored()).toEqual(before);
    await accepted(await gateway.as("ann", "PUT", `${ACME}/members/bob`, { role: "org_admin" }));
    // Two who take each other out at once leave one.
    const answers = await Promise.all([
      gateway.as("ann", "DELETE", `${ACME}/members/bob`),
      gateway.as("bob", "DELETE", `${ACME}/members/ann`),
    ]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    expect(await storedValue("SELECT COUNT(*) FROM members WHERE role = 'org_admin'")).toBe(1);
    const left = await storedValue<string>("SELECT user_id FROM members WHERE role = 'org_admin'");
    await accepted(await gateway.admin("DELETE", `${ACME}/members/${left}`));
  });

  it.each([["a%0Ab"], ["x".repeat(256)]])("are not called %s", async (user) => {
    const gateway = await startAcme();
    const response = await gateway.as("ann", "PUT", `${ACME}/members/${user}`, { role: "member" });
    expect(await refusal(response)).toEqual({ status: 400, code: "invalid_request", field: "user_id" });
  });

  it("may have names that need encoding in a path", async () => {
    const gateway = await startAcme();
    const user = "auth0|7/é @x";
    await accepted(await gateway.as("ann", "PUT", `${ACME}/members/${encodeURIComponent(user)}`, { role: "member" }));
    expect((await gateway.as(user, "GET", ACME)).status).toBe(200);
  });
});

describe("groups", () => {
  it("are for org admins to make, rename and delete", async () => {
    const gateway = await startAcme();
    const path = `${ACME}/groups`;
    expect(await accepted(await gateway.as("cleo", "GET", path))).toMatchObject({
      rows: [{ group_id: "eng", name: "Engineering" }],
    });
    expect(await refusal(await gateway.as("ann", "POST", path, { group_id: "eng", name: "X" }))).toEqual({
      ...{ status: 409, code: "conflict", field: "group_id" },
    });
    expect(await accepted(await gateway.as("ann", "PATCH", `${path}/eng`, { name: "Eng" }))).toMatchObject({
      name: "Eng",
    });
    expect(await accepted(await gateway.as("ann", "DELETE", `${path}/eng`))).toEqual({ deleted: true });
    for (const [method, body] of [
      ["GET", undefined],
      ["PATCH", { name: "X" }],
      ["DELETE", undefined],
    ] as const) {
      expect((await gateway.as("ann", method, `${path}/eng`, body)).status).toBe(404);
    }
    expect((await stored())["group_members"]).toEqual([]);
  });

  it("are deleted with their instructions, and no others", async () => {
    const gateway = await startAcme();
    await accepted(await gateway.as("ann", "POST", `${ACME}/groups`, { group_id: "ops", name: "Operations" }), 201);
    for (const query of ["", "?group=eng", "?group=ops"]) {
      await accepted(await gateway.as("ann", "PUT", `/v1/instructions/rule/a${query}`, { body: "Ask." }));
    }
    expect((await gateway.as("ann", "DELETE", `${ACME}/groups/none`)).status).toBe(404);
    await accepted(await gateway.as("ann", "DELETE", `${ACME}/groups/eng`));
    const { instructions, instruction_revisions } = await stored();
    for (const rows of [instructions, instruction_revisions]) {
      expect(rows?.map(({ group_id }) => group_id).toSorted()).toEqual(["", "ops"]);
    }
    // A later group of that id begins with nothing.
    await accepted(await gateway.as("ann", "POST", `${ACME}/groups`, { group_id: "eng", name: "Another" }), 201);
    expect((await gateway.as("ann", "GET", "/v1/instructions/rule/a/revisions?group=eng")).status).toBe(404);
  });

  it("take members of the org in by their admins, and admins by org admins only [OT-2]", async () => {
    const gateway = await startAcme();
    const put = (user: string, whom: string, body: object) =>
      gateway.as(user, "PUT", `${ACME}/groups/eng/members/${whom}`, body);
    expect((await put("cleo", "cleo", {})).status).toBe(403);
    expect(await accepted(await put("bob", "cleo", {}))).toMatchObject({ user_id: "cleo", is_admin: false });
    expect(await refusal(await put("bob", "cleo", { is_admin: true }))).toMatchObject({
      status: 403,
      field: "is_admin",
    });
    expect(await refusal(await put("bob", "bob", { is_admin: false }))).toMatchObject({ status: 403 });
    // What is left out stays.
    expect(await accepted(await put("ann", "bob", {}))).toMatchObject({ is_admin: true });
    expect((await put("ann", "stranger", {})).status).toBe(404);
    expect((await gateway.as("ann", "PUT", `${ACME}/groups/none/members/cleo`, {})).status).toBe(404);
    expect((await gateway.as("bob", "DELETE", `${ACME}/groups/eng/members/cleo`)).status).toBe(200);
    expect((await gateway.as("bob", "DELETE", `${ACME}/groups/eng/members/cleo`)).status).toBe(404);
    expect((await gateway.as("bob", "DELETE", `${ACME}/groups/eng/members/bob`)).status).toBe(403);
    // Whoever leaves the org leaves its groups.
    await accepted(await gateway.as("ann", "DELETE", `${ACME}/members/bob`));
    expect((await stored())["group_members"]).toEqual([]);
  });
});
