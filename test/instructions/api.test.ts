/** Instructions as the JSON API has them (B.6). */
import { describe, expect, it } from "vitest";
import { accepted, createOrg, generationOf, refusal, stored } from "../support/api.ts";
import { startWithUsers } from "../support/users.ts";

const ACME = "/v1/orgs/acme";
const ALL = "/v1/instructions";
const RULE = `${ALL}/rule/a`;

/** The org `acme`: ann administers it, bob the group `eng`, cleo is a member; and the org `other` of zoe. */
async function start() {
  const gateway = await startWithUsers();
  await createOrg("acme");
  await createOrg("other");
  for (const [org, user, role] of [
    ["acme", "ann", "org_admin"],
    ["acme", "bob", "member"],
    ["acme", "cleo", "member"],
    ["other", "zoe", "org_admin"],
  ])
    await accepted(await gateway.admin("PUT", `/v1/orgs/${org}/members/${user}`, { role }));
  await accepted(await gateway.admin("POST", `${ACME}/groups`, { group_id: "eng", name: "Engineering" }), 201);
  await accepted(await gateway.admin("PUT", `${ACME}/groups/eng/members/bob`, { is_admin: true }));
  return gateway;
}

describe("instructions", () => {
  it("are written, read, listed and deleted", async () => {
    const gateway = await start();
    const generation = await generationOf("acme");
    const given = { body: "Ask.", title: "A", description: "When to ask.", frontmatter: { owner: "platform" } };
    const entry = {
      ...{ kind: "rule", slug: "a", group: null, title: "A", description: "When to ask.", version: 1 },
      ...{ set_by: "ann", updated_at: expect.stringMatching(/Z$/) },
    };
    const document = { ...entry, body: "Ask.", frontmatter: { owner: "platform" } };
    expect(await accepted(await gateway.as("ann", "PUT", RULE, given))).toEqual(document);
    expect(await generationOf("acme")).toBe(generation + 1);
    expect(await accepted(await gateway.as("cleo", "GET", RULE))).toEqual(document);
    expect(await accepted(await gateway.as("cleo", "GET", `${ALL}?kind=rule&group=`))).toEqual({
      ...{ rows: [entry], total_rows: 1, page: 0, page_size: 25 },
      ...{ filters: { kind: "rule", group: "" }, sort: { by: "kind", direction: "asc" } },
    });
    expect(await accepted(await gateway.as("ann", "DELETE", RULE))).toEqual({ deleted: true });
    expect(await generationOf("acme")).toBe(generation + 2);
    expect(await refusal(await gateway.as("cleo", "GET", RULE))).toEqual({ status: 404, code: "not_found" });
    expect(await refusal(await gateway.as("ann", "DELETE", RULE))).toEqual({ status: 404, code: "not_found" });
    expect(await accepted(await gateway.as("cleo", "GET", `${RULE}/revisions`))).toMatchObject({ rows: [entry] });
    expect(await accepted(await gateway.as("cleo", "GET", `${RULE}/revisions/1`))).toEqual(document);
    for (const version of ["0", "2", "x", "1.5", "1e400"]) {
      expect((await gateway.as("cleo", "GET", `${RULE}/revisions/${version}`)).status).toBe(404);
    }
  });

  it("are written by admins of the org, by those of a group in it, and by nobody else", async () => {
    const gateway = await start();
    const put = (user: string, query = "", body: unknown = { body: "Ask." }) =>
      gateway.as(user, "PUT", `${RULE}${query}`, body);
    const before = await stored();
    for (const [user, query] of [
      ["bob", ""],
      ["bob", "?group="],
      ["cleo", ""],
      ["cleo", "?group=eng"],
      ["cleo", "?group=none"],
    ] as const) {
      expect(await refusal(await put(user, query))).toEqual({ status: 403, code: "forbidden" });
      for (const [method, path, body] of [
        ["DELETE", "", undefined],
        ["POST", "/restore", { version: 1 }],
      ] as const) {
        expect((await gateway.as(user, method, `${RULE}${path}${query}`, body)).status).toBe(403);
      }
    }
    expect(await stored()).toEqual(before);
    await accepted(await put("bob", "?group=eng"));
    await accepted(await put("ann", "?group=eng"));
    expect(await accepted(await gateway.admin("PUT", RULE, { body: "Ask." }, { "X-Org-Id": "acme" }))).toMatchObject({
      ...{ version: 1, set_by: "admin-key" },
    });
    expect(await refusal(await put("ann", "?group=none"))).toEqual({ status: 404, code: "not_found", field: "group" });
  });

  it.each<[string, unknown, string | undefined]>([
    [`${ALL}/Rule/a`, { body: "Ask." }, "kind"],
    [`${ALL}/rule/a.b`, { body: "Ask." }, "slug"],
    [RULE, { body: " " }, "body"],
    [RULE, {}, "body"],
    [RULE, { body: "x".repeat(256 * 1024 + 1) }, "body"],
    [RULE, { body: "Ask.", title: "x".repeat(201) }, "title"],
    [RULE, { body: "Ask.", description: "x".repeat(1_001) }, "description"],
    [RULE, { body: "Ask.", title: null }, "title"],
    [RULE, { body: "Ask.", expected_version: -1 }, "expected_version"],
    [RULE, { body: "« On crève sinon » — Antonini" }, "body"],
  ])("are refused with the field to blame: %s %#", async (path, body, field) => {
    const gateway = await start();
    const before = await stored();
    expect(await refusal(await gateway.as("ann", "PUT", path, body))).toEqual({
      ...{ status: 400, code: "invalid_request", field },
    });
    expect(await stored()).toEqual(before);
  });

  it.each([["PUT", RULE, { body: "Ask.", bodi: "x" }, "bodi"]] as const)(
    "take no field that is not known",
    async (method, path, body, field) => {
      const gateway = await start();
      const unknown = { status: 400, code: "unknown_field" };
      expect(await refusal(await gateway.as("ann", method, path, body))).toEqual({ ...unknown, field });
      expect(await refusal(await gateway.as("ann", "GET", `${ALL}?knd=rule`))).toEqual({ ...unknown, field: "knd" });
    },
  );

  it("written at once are two versions, and by two who have seen the same one is refused [OT-14]", async () => {
    const gateway = await start();
    const put = (user: string, body: object) => gateway.as(user, "PUT", `${RULE}?group=eng`, body);
    const both = await Promise.all([put("ann", { body: "Ann." }), put("bob", { body: "Bob." })]);
    const written = await Promise.all(both.map((answer) => accepted<{ version: number; body: string }>(answer)));
    expect(written.map(({ version }) => version).toSorted()).toEqual([1, 2]);
    for (const { version, body } of written) {
      const path = `${RULE}/revisions/${version}?group=eng`;
      expect(await accepted(await gateway.as("bob", "GET", path))).toMatchObject({ version, body });
    }
    const edits = await Promise.all(["ann", "bob"].map((user) => put(user, { body: user, expected_version: 2 })));
    expect(edits.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    const lost = edits.find(({ status }) => status === 409);
    if (lost !== undefined) {
      expect(await refusal(lost)).toEqual({ status: 409, code: "conflict", field: "expected_version" });
    }
    expect(await accepted(await gateway.as("bob", "GET", `${RULE}/revisions`))).toMatchObject({ total_rows: 3 });
  });

  it("of an org with equal names are nobody else's", async () => {
    const gateway = await start();
    await accepted(await gateway.as("ann", "PUT", RULE, { body: "Acme." }));
    await accepted(await gateway.as("zoe", "PUT", RULE, { body: "Other." }));
    expect(await accepted(await gateway.as("zoe", "GET", RULE))).toMatchObject({ version: 1, body: "Other." });
    expect(await accepted(await gateway.as("zoe", "GET", `${ALL}/export`))).toMatchObject({ files: { length: 1 } });
    await accepted(await gateway.as("zoe", "DELETE", RULE));
    expect(await accepted(await gateway.as("cleo", "GET", RULE))).toMatchObject({ body: "Acme." });
    const foreign = await gateway.as("zoe", "GET", RULE, undefined, { "X-Org-Id": "acme" });
    expect(foreign.status).toBe(403);
  });

  it("of a group are for its members and for admins of the org", async () => {
    const gateway = await start();
    await accepted(await gateway.as("bob", "PUT", `${RULE}?group=eng`, { body: "Eng." }));
    for (const query of ["", "?group=eng"]) {
      for (const path of ["", "/revisions", "/revisions/1", "/diff"]) {
        expect((await gateway.as("cleo", "GET", `${RULE}${path}${query}`)).status).toBe(404);
        expect((await gateway.as("bob", "GET", `${RULE}${path}${query}`)).status).toBe(200);
        expect((await gateway.as("ann", "GET", `${RULE}${path}${query}`)).status).toBe(200);
      }
    }
    expect(await accepted(await gateway.as("cleo", "GET", ALL))).toMatchObject({ rows: [] });
    expect(await accepted(await gateway.as("cleo", "GET", `${ALL}?group=eng`))).toMatchObject({ rows: [] });
    expect(await accepted(await gateway.as("bob", "GET", ALL))).toMatchObject({ rows: [{ group: "eng" }] });
  });

  it("may have kinds that are called as other routes are", async () => {
    const gateway = await start();
    for (const kind of ["blocklist", "import", "export"]) {
      await accepted(await gateway.as("ann", "PUT", `${ALL}/${kind}/revisions`, { body: "Ask." }));
      const page = await accepted(await gateway.as("cleo", "GET", `${ALL}/${kind}/revisions/revisions`));
      expect(page).toMatchObject({ rows: [{ kind, slug: "revisions" }] });
    }
    expect(await accepted(await gateway.as("ann", "GET", `${ALL}/blocklist`))).toHaveProperty("terms");
    expect((await gateway.as("ann", "GET", `${ALL}/rule`)).status).toBe(404);
  });

  it("are restored and compared", async () => {
    const gateway = await start();
    for (const body of ["a\nb\n", "a\nc\n"]) await accepted(await gateway.as("ann", "PUT", RULE, { body }));
    expect(await accepted(await gateway.as("cleo", "GET", `${RULE}/diff?from=1&to=2`))).toEqual({
      ...{ kind: "rule", slug: "a", group: null, from: 1, to: 2, changes: [] },
      hunks: [{ from_line: 2, removed: ["b"], to_line: 2, added: ["c"] }],
    });
    const restored = await gateway.as("ann", "POST", `${RULE}/restore`, { version: 1, expected_version: 2 });
    expect(await accepted(restored)).toMatchObject({ version: 3, body: "a\nb\n" });
    expect(await refusal(await gateway.as("ann", "POST", `${RULE}/restore`, { version: 9 }))).toEqual({
      ...{ status: 404, code: "not_found" },
    });
    expect(await refusal(await gateway.as("cleo", "GET", `${RULE}/diff?from=x`))).toEqual({
      ...{ status: 400, code: "invalid_request", field: "from" },
    });
  });
});

describe("the blocklist", () => {
  const PATH = `${ALL}/blocklist`;
  const LIST = { terms: ["Antonini", "Thomas"], forbid_attribution: false };

  it("is per org, for its admins alone, and decides at once what may be written [OT-12]", async () => {
    const gateway = await start();
    const initial = { terms: [], forbid_attribution: true };
    expect(await accepted(await gateway.as("ann", "GET", PATH))).toEqual(initial);
    const generation = await generationOf("acme");
    expect(await accepted(await gateway.as("ann", "PUT", PATH, LIST))).toEqual(LIST);
    expect(await generationOf("acme")).toBe(generation + 1);
    expect(await accepted(await gateway.as("ann", "GET", PATH))).toEqual(LIST);
    expect(await accepted(await gateway.as("zoe", "GET", PATH))).toEqual(initial);
    for (const user of ["bob", "cleo"]) {
      expect((await gateway.as(user, "GET", PATH)).status).toBe(403);
      expect((await gateway.as(user, "PUT", PATH, LIST)).status).toBe(403);
      // Nor is it in what they may read of their org.
      const read = await accepted(await gateway.as(user, "GET", ACME));
      expect(JSON.stringify(read)).not.toMatch(/Antonini|blocklist/);
    }
    const org = await accepted(await gateway.as("ann", "PATCH", ACME, { name: "Acme" }));
    expect(JSON.stringify(org)).not.toMatch(/Antonini|blocklist/);
    const put = (user: string, given: object) => gateway.as(user, "PUT", RULE, given);
    const named = await put("ann", { body: "thomasine", title: "THÔMAS" });
    expect(await named.json()).toMatchObject({
      ...{ status: 400, code: "invalid_request" },
      detail: "write refused: forbidden term (person or client): 'Thomas'",
    });
    await accepted(await put("ann", { body: "« x » — Delgado" }));
    await accepted(await put("zoe", { body: "Thomas" }));
    expect(await (await put("zoe", { body: "« x » — Delgado" })).json()).toMatchObject({
      detail: "write refused: quotation attributed to a person",
      field: "body",
    });
    // Whoever may not write learns nothing of it.
    const asked = [{ body: "Thomas" }, { body: "Ask." }].map(async (given) => {
      const { request_id: _, ...answer } = await (await put("cleo", given)).json<Record<string, unknown>>();
      return answer;
    });
    const [named_, harmless] = await Promise.all(asked);
    expect(named_).toMatchObject({ status: 403, detail: "insufficient role: required 'org_admin', got 'member'" });
    expect(named_).toEqual(harmless);
  });

  it.each<[unknown, string]>([
    [{ terms: [] }, "forbid_attribution"],
    [{ forbid_attribution: true }, "terms"],
    [{ terms: [" "], forbid_attribution: true }, "terms.0"],
    [{ terms: ["x".repeat(201)], forbid_attribution: true }, "terms.0"],
    [{ terms: Array(1_001).fill("x"), forbid_attribution: true }, "terms"],
    [{ terms: null, forbid_attribution: true }, "terms"],
  ])("is not made of %#", async (body, field) => {
    const gateway = await start();
    const before = await stored();
    expect(await refusal(await gateway.as("ann", "PUT", PATH, body))).toEqual({
      ...{ status: 400, code: "invalid_request", field },
    });
    expect(await stored()).toEqual(before);
  });
});

describe("files", () => {
  it("go out and come in again, whole", async () => {
    const gateway = await start();
    const given = { body: "Ask.\r\n---\n", title: 'The "A"', frontmatter: { owner: "platform" } };
    await accepted(await gateway.as("ann", "PUT", RULE, given));
    await accepted(await gateway.as("ann", "PUT", `${RULE}?group=eng`, { body: "Eng." }));
    const exported = await accepted<{ files: { path: string }[] }>(await gateway.as("ann", "GET", `${ALL}/export`));
    expect(exported).toMatchObject({ next: null });
    expect(exported.files.map(({ path }) => path)).toEqual(["rule/a.md", "groups/eng/rule/a.md"]);
    await accepted(await gateway.as("ann", "DELETE", RULE));
    const { files } = exported;
    expect(await accepted(await gateway.as("ann", "POST", `${ALL}/import`, { files }))).toEqual({
      files: [
        { path: "rule/a.md", kind: "rule", slug: "a", group: null, version: 2 },
        { path: "groups/eng/rule/a.md", kind: "rule", slug: "a", group: "eng", version: 2 },
      ],
    });
    expect(await accepted(await gateway.as("ann", "GET", RULE))).toMatchObject({ ...given, version: 2 });
    expect(await accepted(await gateway.as("cleo", "GET", `${ALL}/export?kind=rule`))).toMatchObject({
      files: { length: 1 },
    });
    expect(await accepted(await gateway.as("ann", "GET", `${ALL}/export?from=1`))).toMatchObject({
      files: [{ path: "groups/eng/rule/a.md" }],
    });
  });

  it("are refused together, with a reason for each", async () => {
    const gateway = await start();
    const files = [
      { path: "a.md", content: "---\nkind: rule\nslug: a\n---\nAsk." },
      { path: "b.md", content: "---\nkind: rule\nslug: b\ntitel: B\n---\nAsk." },
    ];
    const before = await stored();
    const answer = await gateway.as("ann", "POST", `${ALL}/import`, { files });
    expect(await answer.json()).toMatchObject({
      ...{ status: 400, code: "invalid_request", detail: "1 of 2 files are refused. Nothing was written." },
      details: [{ path: "b.md", code: "invalid_request", field: "titel" }],
    });
    expect(await refusal(await gateway.as("cleo", "POST", `${ALL}/import`, { files }))).toEqual({
      ...{ status: 403, code: "forbidden" },
    });
    expect(await refusal(await gateway.as("bob", "POST", `${ALL}/import`, { files }))).toMatchObject({ status: 403 });
    expect(await stored()).toEqual(before);
  });
});
