/** One suite for both forms of each thing that instructions are given from outside (OT-13, OT-26). */
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { d1MemberStore } from "../../src/access/members.store.ts";
import { d1BlocklistStore } from "../../src/instructions/blocklist.store.ts";
import type { RoleStore } from "../../src/instructions/caller.ts";
import {
  inMemoryBlocklists,
  inMemoryInstructions,
  inMemoryRoles,
} from "../../src/instructions/in-memory-instructions.ts";
import type { InstructionDraft, InstructionKey } from "../../src/instructions/instruction.ts";
import { d1InstructionStore } from "../../src/instructions/instructions.store.ts";
import { createOrg, generationOf, stored, storedValue } from "../support/api.ts";

const KEY: InstructionKey = { group_id: "", kind: "rule", slug: "a" };
const ALL = { page: 0, page_size: 100 };

const draft = (given: Partial<InstructionDraft> = {}): InstructionDraft => ({
  ...KEY,
  title: "A",
  description: "First.",
  body: "Ask.\n",
  frontmatter: { owner: "platform" },
  set_by: "ann",
  updated_at: 1,
  expected_version: null,
  ...given,
});
const writtenAs = (version: number, { expected_version: _, ...given }: InstructionDraft, org_id = "acme") => ({
  org_id,
  ...given,
  version,
});
const entryOf = ({ body: _, frontmatter: __, ...entry }: ReturnType<typeof writtenAs>) => entry;

const FORMS = [
  ["D1", () => d1InstructionStore(env.DB)],
  ["memory", inMemoryInstructions],
] as const;

describe.each(FORMS)("instructions in %s", (_, create) => {
  const start = async () => {
    await createOrg("acme");
    await createOrg("other");
    return create();
  };

  it("are kept version by version, the last one in force", async () => {
    const store = await start();
    const [one, two] = [
      draft(),
      draft({ title: "", body: "Ask twice.", frontmatter: {}, set_by: "bob", updated_at: 2 }),
    ];
    expect(await store.put("acme", [one])).toEqual([1]);
    expect(await store.put("acme", [two])).toEqual([2]);
    expect(await store.latest("acme", KEY)).toEqual(writtenAs(2, two));
    expect(await store.revision("acme", KEY, 1)).toEqual(writtenAs(1, one));
    expect(await store.revision("acme", KEY, 3)).toBeNull();
    expect(await store.history("acme", KEY, ALL)).toEqual({
      rows: [entryOf(writtenAs(2, two)), entryOf(writtenAs(1, one))],
      total: 2,
    });
    expect(await store.history("acme", KEY, { page: 1, page_size: 1 })).toMatchObject({
      ...{ rows: [{ version: 1 }], total: 2 },
    });
  });

  it("are deleted with their revisions staying, and go on where they were", async () => {
    const store = await start();
    await store.put("acme", [draft()]);
    expect(await store.delete("acme", KEY)).toBe(true);
    expect(await store.delete("acme", KEY)).toBe(false);
    expect(await store.latest("acme", KEY)).toBeNull();
    expect(await store.list("acme", { groups: null }, ALL)).toEqual({ rows: [], total: 0 });
    expect(await store.places("acme", "rule", "a")).toEqual([{ group_id: "", isLive: false }]);
    expect(await store.revision("acme", KEY, 1)).toMatchObject({ body: "Ask.\n" });
    expect(await store.put("acme", [draft({ expected_version: 0 })])).toEqual([2]);
  });

  it("are listed by kind, slug and group, of those groups and that kind alone", async () => {
    const store = await start();
    for (const [kind, slug, group_id] of [
      ["rule", "b", ""],
      ["rule", "a", "ops"],
      ["skill", "a", ""],
      ["rule", "a", "eng"],
      ["rule", "a", ""],
    ] as const)
      await store.put("acme", [draft({ kind, slug, group_id })]);
    const list = async (filter: Parameters<typeof store.list>[1], page = ALL) => {
      const { rows, total } = await store.list("acme", filter, page);
      return [total, ...rows.map(({ kind, slug, group_id }) => `${kind}/${slug}/${group_id}`)];
    };
    const all = ["rule/a/", "rule/a/eng", "rule/a/ops", "rule/b/", "skill/a/"];
    expect(await list({ groups: null })).toEqual([5, ...all]);
    expect(await list({ groups: ["", "eng"] })).toEqual([4, ...all.filter((name) => name !== "rule/a/ops")]);
    expect(await list({ groups: [] })).toEqual([0]);
    expect(await list({ groups: null, kind: "skill" })).toEqual([1, "skill/a/"]);
    expect(await list({ groups: null, kind: "%" })).toEqual([0]);
    expect(await list({ groups: null }, { page: 1, page_size: 2 })).toEqual([5, "rule/a/ops", "rule/b/"]);
    const documents = await store.documents("acme", { groups: null, kind: "rule" }, 1, 2);
    expect(documents).toEqual([writtenAs(1, draft({ group_id: "eng" })), writtenAs(1, draft({ group_id: "ops" }))]);
    expect(await store.places("acme", "rule", "a")).toEqual(
      ["", "eng", "ops"].map((group_id) => ({ group_id, isLive: true })),
    );
  });

  it("of two orgs never meet, whatever their names", async () => {
    const store = await start();
    await store.put("acme", [draft()]);
    await store.put("other", [draft({ body: "Theirs." })]);
    await store.put("other", [draft({ body: "Theirs still." })]);
    expect(await store.latest("acme", KEY)).toMatchObject({ org_id: "acme", version: 1, body: "Ask.\n" });
    expect(await store.revision("acme", KEY, 2)).toBeNull();
    expect(await store.history("acme", KEY, ALL)).toMatchObject({ total: 1 });
    expect(await store.list("acme", { groups: null }, ALL)).toMatchObject({ total: 1, rows: [{ org_id: "acme" }] });
    expect(await store.documents("acme", { groups: null }, 0, 10)).toHaveLength(1);
    expect(await store.delete("acme", KEY)).toBe(true);
    expect(await store.places("acme", "rule", "a")).toEqual([{ group_id: "", isLive: false }]);
    expect(await store.latest("other", KEY)).toMatchObject({ version: 2, body: "Theirs still." });
  });

  it("written at once get one version each, without a gap, and none is lost [OT-14]", async () => {
    const store = await start();
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 2, maxLength: 8 }),
        fc.stringMatching(/^[a-z]{12}$/),
        async (bodies, slug) => {
          const key = { ...KEY, slug };
          const versions = await Promise.all(
            bodies.map(async (body) => (await store.put("acme", [draft({ slug, body })]))[0]),
          );
          expect(versions.toSorted()).toEqual(bodies.map((_, at) => at + 1));
          for (const [at, body] of bodies.entries()) {
            expect(await store.revision("acme", key, versions[at] ?? 0)).toMatchObject({ body });
          }
          const last = bodies[versions.indexOf(bodies.length)];
          expect(await store.latest("acme", key)).toMatchObject({ version: bodies.length, body: last });
        },
      ),
      { numRuns: 10 },
    );
  });

  it("are refused to a writer who has seen another version, who then has changed nothing", async () => {
    const store = await start();
    const conflict = { code: "conflict", field: "expected_version" };
    await expect(store.put("acme", [draft({ expected_version: 1 })])).rejects.toMatchObject(conflict);
    const outcomes = await Promise.allSettled([
      store.put("acme", [draft({ expected_version: 0, set_by: "ann" })]),
      store.put("acme", [draft({ expected_version: 0, set_by: "bob" })]),
    ]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({ reason: conflict });
    expect(await store.put("acme", [draft({ expected_version: 1 })])).toEqual([2]);
    expect(await store.history("acme", KEY, ALL)).toMatchObject({ total: 2 });
  });

  it("are written together or not at all", async () => {
    const store = await start();
    expect(await store.put("acme", [draft(), draft({ slug: "b" }), draft({ group_id: "eng" })])).toEqual([1, 1, 1]);
    await expect(
      store.put("acme", [draft({ slug: "c" }), draft({ expected_version: 7 }), draft({ slug: "d" })]),
    ).rejects.toMatchObject({ code: "conflict" });
    expect(await store.list("acme", { groups: null }, ALL)).toMatchObject({ total: 3 });
    expect(await store.places("acme", "rule", "c")).toEqual([]);
  });

  it("are at most a thousand, those of groups included", async () => {
    const store = await start();
    for (let at = 0; at < 1_000; at += 250) {
      await store.put(
        "acme",
        Array.from({ length: 250 }, (_, more) => draft({ slug: `s${at + more}`, group_id: at === 0 ? "eng" : "" })),
      );
    }
    const full = { code: "conflict", message: expect.stringContaining("at most 1000") };
    await expect(store.put("acme", [draft({ slug: "one-more" })])).rejects.toMatchObject(full);
    await expect(store.put("acme", [draft({ slug: "s250" }), draft({ slug: "new" })])).rejects.toMatchObject(full);
    expect(await store.put("acme", [draft({ slug: "s250" })])).toEqual([2]);
    await store.delete("acme", { ...KEY, slug: "s250" });
    expect(await store.put("acme", [draft({ slug: "one-more" })])).toEqual([1]);
    expect(await store.put("other", [draft()])).toEqual([1]);
  });

  it("keep every character of a text", async () => {
    const store = await start();
    const text = fc.string({ unit: fc.constantFrom(..."aÀ😀'\"\\%\n\r\t\u2028\u0001\u007f\uffff"), maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(text, text, async (title, body) => {
        await store.put("acme", [draft({ title, body, frontmatter: { note: title } })]);
        expect(await store.latest("acme", KEY)).toMatchObject({ title, body, frontmatter: { note: title } });
      }),
      { numRuns: 10 },
    );
  });
});

describe("instructions in D1", () => {
  it("raise the generation of their org with each write, and only with one that happens", async () => {
    await createOrg("acme");
    const other = await generationOf("default");
    const store = d1InstructionStore(env.DB);
    await store.put("acme", [draft()]);
    expect(await generationOf("acme")).toBe(1);
    await store.put("acme", [draft(), draft({ slug: "b" })]);
    expect(await generationOf("acme")).toBe(2);
    await expect(store.put("acme", [draft({ expected_version: 9 })])).rejects.toThrow();
    expect(await store.delete("acme", { ...KEY, slug: "none" })).toBe(false);
    expect(await generationOf("acme")).toBe(2);
    await store.delete("acme", KEY);
    expect(await generationOf("acme")).toBe(3);
    expect(await generationOf("default")).toBe(other);
  });

  it("have two tables, the revisions only added to, both written by one batch [OT-14]", async () => {
    await createOrg("acme");
    const store = d1InstructionStore(env.DB);
    await store.put("acme", [draft()]);
    const row = {
      org_id: "acme",
      ...{ kind: "rule", slug: "a", group_id: "", version: 1, title: "A", description: "First.", body: "Ask.\n" },
      ...{ frontmatter: '{"owner":"platform"}', set_by: "ann", updated_at: 1 },
    };
    expect(await stored()).toMatchObject({ instructions: [row], instruction_revisions: [row] });
    // What fails half-way leaves nothing in either.
    await env.DB.prepare(
      "CREATE TRIGGER full BEFORE UPDATE ON instructions BEGIN SELECT RAISE(ABORT, 'full'); END",
    ).run();
    const before = await stored();
    await expect(store.put("acme", [draft({ body: "Again." })])).rejects.toMatchObject({ code: "unavailable" });
    expect(await stored()).toEqual(before);
    await env.DB.prepare("DROP TRIGGER full").run();
    await store.put("acme", [draft({ body: "Again." })]);
    await store.delete("acme", KEY);
    const { instructions, instruction_revisions: revisions } = await stored();
    expect(instructions).toEqual([]);
    expect(revisions).toEqual([row, { ...row, version: 2, body: "Again." }]);
  });

  it("go with their org", async () => {
    await createOrg("acme");
    await d1InstructionStore(env.DB).put("acme", [draft()]);
    await env.DB.prepare("DELETE FROM orgs WHERE org_id = 'acme'").run();
    expect(await storedValue("SELECT COUNT(*) FROM instructions")).toBe(0);
    expect(await storedValue("SELECT COUNT(*) FROM instruction_revisions")).toBe(0);
  });

  it("are written for no org that is not there", async () => {
    await expect(d1InstructionStore(env.DB).put("nowhere", [draft()])).rejects.toMatchObject({ code: "unavailable" });
    expect(await storedValue("SELECT COUNT(*) FROM instruction_revisions")).toBe(0);
  });
});

describe.each([
  ["D1", () => d1BlocklistStore(env.DB)],
  ["memory", () => inMemoryBlocklists()],
] as const)("blocklists in %s", (_, create) => {
  it("are empty and forbid attributions until an org says otherwise, each for itself", async () => {
    await createOrg("acme");
    await createOrg("other");
    const store = create();
    const initial = { terms: [], forbid_attribution: true };
    expect(await store.read("acme")).toEqual(initial);
    expect(await store.read("nowhere")).toEqual(initial);
    const blocklist = { terms: ["Thomas", "O'Brien", '"'], forbid_attribution: false };
    await store.write("acme", blocklist);
    expect(await store.read("acme")).toEqual(blocklist);
    expect(await store.read("other")).toEqual(initial);
  });
});

describe.each<[string, () => Promise<RoleStore>]>([
  [
    "D1",
    async () => {
      await createOrg("acme");
      await createOrg("other");
      const store = d1MemberStore(env.DB);
      const member = { org_id: "acme", email: null, created: 0 };
      await store.put("acme", { ...member, user_id: "ann", role: "org_admin" }, false);
      await store.put("acme", { ...member, user_id: "bob", role: "member" }, false);
      await env.DB.prepare("INSERT INTO groups VALUES ('acme', 'eng', 'E', 0), ('acme', 'ops', 'O', 0)").run();
      await store.putGroupMember("acme", { org_id: "acme", group_id: "eng", user_id: "bob", is_admin: true });
      await store.putGroupMember("acme", { org_id: "acme", group_id: "ops", user_id: "bob", is_admin: false });
      return store;
    },
  ],
  [
    "memory",
    async () =>
      inMemoryRoles({
        acme: { ann: { role: "org_admin" }, bob: { role: "member", groups: { eng: true, ops: false } } },
      }),
  ],
])("roles in %s", (_, create) => {
  it("are those of one org, with the groups in it", async () => {
    const roles = await create();
    const none = { role: null, groups: new Map() };
    expect(await roles.standing("acme", "ann")).toMatchObject({ role: "org_admin", groups: new Map() });
    const groups = new Map([
      ["eng", true],
      ["ops", false],
    ]);
    expect(await roles.standing("acme", "bob")).toMatchObject({ role: "member", groups });
    expect(await roles.standing("other", "bob")).toMatchObject(none);
    expect(await roles.standing("acme", "constructor")).toMatchObject(none);
  });
});
