/** The use cases of instructions, composed by themselves in memory (OT-25, OT-26). */
import { describe, expect, it, vi } from "vitest";
import { createBlocklists } from "../../src/instructions/blocklists.ts";
import { type Caller, createCallers, rankOf, requireRank, withinOrg } from "../../src/instructions/caller.ts";
import {
  inMemoryBlocklists,
  inMemoryInstructions,
  inMemoryRoles,
} from "../../src/instructions/in-memory-instructions.ts";
import { createInstructionFiles } from "../../src/instructions/instruction-files.ts";
import { createInstructions } from "../../src/instructions/instructions.ts";

/** Everything of the org `acme`: ann administers it, bob the group `eng`, cleo is in `eng` and `ops`, dan in none. */
async function compose() {
  const roles = inMemoryRoles({
    acme: {
      ann: { role: "org_admin" },
      bob: { role: "member", groups: { eng: true, ops: false } },
      cleo: { role: "member", groups: { eng: false, ops: false } },
      dan: { role: "member" },
      left: { role: null, groups: { eng: true } },
    },
  });
  const callerOf = createCallers({ scope: "acme", roles });
  const names = ["ann", "bob", "cleo", "dan", "left"] as const;
  const [ann, bob, cleo, dan, left] = await Promise.all(names.map(callerOf));
  if (!(ann && bob && cleo && dan && left)) throw new Error("a caller is missing");
  const store = inMemoryInstructions();
  const blocklists = inMemoryBlocklists({ acme: { terms: ["Thomas", "Delgado"], forbid_attribution: true } });
  const clock = { now: 0 };
  const onWritten = vi.fn();
  const hasGroup = async (org: string, group: string) => org === "acme" && ["eng", "ops"].includes(group);
  const deps = { store, blocklists, hasGroup, onWritten, clock: () => ++clock.now };
  const platform: Caller = { id: "root", org: "acme", role: null, groups: new Map(), isPlatformAdmin: true };
  return {
    ...{ ann, bob, cleo, dan, left, platform, store, onWritten },
    instructions: createInstructions(deps),
    files: createInstructionFiles(deps),
    blocklists: createBlocklists(deps),
    read: vi.spyOn(blocklists, "read"),
  };
}

const RULE = { kind: "rule", slug: "a" };
const forbidden = (required: string, got: string) => ({
  code: "forbidden",
  message: `insufficient role: required '${required}', got '${got}'`,
});

describe("writing", () => {
  it("gives the next version, with texts that are left out empty", async () => {
    const { instructions, ann, onWritten } = await compose();
    const first = await instructions.set(ann, RULE, { body: "Ask.", title: "A", description: "D" });
    expect(first).toEqual({
      ...{ org_id: "acme", group_id: "", ...RULE, version: 1, set_by: "ann", updated_at: 1 },
      ...{ title: "A", description: "D", body: "Ask.", frontmatter: {} },
    });
    expect(await instructions.set(ann, RULE, { body: "Ask." })).toMatchObject({
      ...{ version: 2, title: "", description: "" },
    });
    expect(onWritten).toHaveBeenCalledTimes(2);
  });

  it("is for admins of the org, and of the group", async () => {
    const { instructions, ann, bob, cleo, dan, left, platform } = await compose();
    const set = (caller: Caller, group?: string) => instructions.set(caller, { ...RULE, group }, { body: "Ask." });
    for (const caller of [ann, platform]) for (const group of [undefined, "", "eng", "ops"]) await set(caller, group);
    await set(bob, "eng");
    await expect(set(bob)).rejects.toMatchObject(forbidden("org_admin", "member"));
    await expect(set(bob, "ops")).rejects.toMatchObject(forbidden("group_admin", "member"));
    await expect(set(cleo, "eng")).rejects.toMatchObject(forbidden("group_admin", "member"));
    await expect(set(dan, "eng")).rejects.toMatchObject(forbidden("group_admin", "member"));
    await expect(set(dan)).rejects.toMatchObject(forbidden("org_admin", "member"));
    await expect(set(left, "eng")).rejects.toMatchObject(forbidden("group_admin", "none"));
    await expect(set(withinOrg(platform))).rejects.toMatchObject(forbidden("org_admin", "none"));
    await expect(set(ann, "none")).rejects.toMatchObject({ code: "not_found", field: "group" });
  });

  it("takes a group that only the identity provider knows", async () => {
    const { instructions } = await compose();
    const groups = new Map([["/teams/red", true]]);
    const eve: Caller = { id: "eve", org: "acme", role: "member", groups, isPlatformAdmin: false };
    const named = { ...RULE, group: "/teams/red" };
    expect(await instructions.set(eve, named, { body: "Ask." })).toMatchObject({ group_id: "/teams/red" });
  });

  it("asks for the role first, so that nobody learns of the blocklist by a refusal", async () => {
    const { instructions, ann, bob, dan, read } = await compose();
    const bad = { body: "Thomas" };
    for (const given of [bad, { body: "" }]) {
      await expect(instructions.set(dan, RULE, given)).rejects.toMatchObject(forbidden("org_admin", "member"));
      await expect(instructions.set(dan, { kind: "NO", slug: "" }, given)).rejects.toMatchObject({ code: "forbidden" });
      await expect(instructions.set(bob, { ...RULE, group: "ops" }, given)).rejects.toMatchObject({
        code: "forbidden",
      });
    }
    expect(read).not.toHaveBeenCalled();
    await expect(instructions.set(ann, RULE, bad)).rejects.toMatchObject({ code: "invalid_request" });
    expect(await instructions.index(ann)).toEqual([]);
  });

  it.each([
    [{ body: "thomas" }, "write refused: forbidden term (person or client): 'Thomas'", "body"],
    [{ body: "Ask.", title: "THÔMAS" }, "write refused: forbidden term (person or client): 'Thomas'", "title"],
    [{ body: "« On crève sinon » — Antonini" }, "write refused: quotation attributed to a person", "body"],
    [
      { body: "Delgado: « x » (Antonini)", title: "Thomas" },
      "write refused: forbidden term (person or client): 'Thomas' ; " +
        "forbidden term (person or client): 'Delgado' ; quotation attributed to a person",
      undefined,
    ],
  ])("is refused with every name in it: %j [OT-12]", async (given, message, field) => {
    const { instructions, ann, onWritten } = await compose();
    const refused = instructions.set(ann, RULE, given);
    await expect(refused).rejects.toMatchObject({ code: "invalid_request", message });
    await expect(refused.catch((error) => error.field)).resolves.toBe(field);
    expect(onWritten).not.toHaveBeenCalled();
  });

  const long = (length: number) => "é".repeat(length);
  it.each<[Record<string, unknown>, string]>([
    [{ kind: "" }, "kind"],
    [{ kind: "Rule" }, "kind"],
    [{ kind: "-a" }, "kind"],
    [{ kind: "a".repeat(65) }, "kind"],
    [{ kind: "règle" }, "kind"],
    [{ slug: "a/b" }, "slug"],
    [{ slug: "a\n" }, "slug"],
    [{ body: "" }, "body"],
    [{ body: " \n\t\u00a0" }, "body"],
    [{ body: long(128 * 1024 + 1) }, "body"],
    [{ body: "\ud800" }, "body"],
    [{ body: "a\0" }, "body"],
    [{ title: long(201) }, "title"],
    [{ description: long(1_001) }, "description"],
    [{ frontmatter: { "": "x" } }, "frontmatter"],
    [{ frontmatter: Object.fromEntries(Array.from({ length: 33 }, (_, at) => [`k${at}`, ""])) }, "frontmatter"],
    [{ frontmatter: { owner: long(1_001) } }, "frontmatter.owner"],
  ])("is refused beyond a limit, with the argument named: %#", async (given, field) => {
    const { instructions, ann } = await compose();
    const { kind, slug, ...content } = { ...RULE, body: "Ask.", ...given } as typeof RULE & { body: string };
    await expect(instructions.set(ann, { kind, slug }, content)).rejects.toMatchObject({
      ...{ code: "invalid_request", field, message: expect.stringContaining(field.split(".")[0] ?? "") },
    });
  });

  it("is possible up to each limit", async () => {
    const { instructions, ann } = await compose();
    const key = { kind: `0${"_".repeat(63)}`, slug: "a-_9" };
    await instructions.set(ann, key, {
      ...{ body: long(128 * 1024), title: "😀".repeat(200), description: long(1_000) },
      frontmatter: Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`k${at}`, long(1_000)])),
    });
    expect(await instructions.get(ann, key)).toMatchObject({ version: 1 });
  });
});

describe("reading", () => {
  it("finds the org's own before that of a group, and else the only one that can be seen", async () => {
    const { instructions, ann, bob, cleo, dan } = await compose();
    const get = async (caller: Caller, group?: string) => (await instructions.get(caller, { ...RULE, group })).group_id;
    const missing = { code: "not_found", message: "instruction not found: rule/a" };
    await expect(get(ann)).rejects.toMatchObject(missing);
    await instructions.set(ann, { ...RULE, group: "eng" }, { body: "Eng." });
    expect(await get(cleo)).toBe("eng");
    await expect(get(dan)).rejects.toMatchObject(missing);
    await expect(get(dan, "eng")).rejects.toMatchObject(missing);
    await expect(get(ann, "")).rejects.toMatchObject(missing);
    await instructions.set(ann, { ...RULE, group: "ops" }, { body: "Ops." });
    const several = {
      ...{ code: "invalid_request", field: "group" },
      message: "several groups have the instruction rule/a; name one in group: eng, ops",
    };
    for (const caller of [ann, bob, cleo]) await expect(get(caller)).rejects.toMatchObject(several);
    expect(await get(cleo, "ops")).toBe("ops");
    await instructions.set(ann, RULE, { body: "All." });
    for (const caller of [ann, bob, cleo, dan]) expect(await get(caller)).toBe("");
    expect(await get(cleo, "eng")).toBe("eng");
  });

  it("is for members, and for nobody else", async () => {
    const { instructions, ann, left, platform } = await compose();
    await instructions.set(ann, { ...RULE, group: "eng" }, { body: "Eng." });
    expect(await instructions.get(platform, RULE)).toMatchObject({ body: "Eng." });
    for (const caller of [left, withinOrg(platform)]) {
      for (const read of [
        instructions.get(caller, RULE),
        instructions.index(caller),
        instructions.list(caller, {}),
        instructions.revisions(caller, RULE, {}),
        instructions.revision(caller, RULE, 1),
        instructions.diff(caller, RULE, {}),
      ]) {
        await expect(read).rejects.toMatchObject(forbidden("member", "none"));
      }
    }
  });

  it("of the index shows the latest of each, by kind and slug, with its group", async () => {
    const { instructions, ann, cleo, dan } = await compose();
    for (const [kind, slug, group] of [
      ["skill", "b", undefined],
      ["rule", "b", "eng"],
      ["rule", "a", undefined],
      ["rule", "b", undefined],
      ["rule", "b", undefined],
    ] as const)
      await instructions.set(ann, { kind, slug, group }, { body: "Ask." });
    const index = async (caller: Caller, filter = {}) =>
      (await instructions.index(caller, filter)).map((row) =>
        [row.kind, row.slug, row.group_id, row.version].join(" "),
      );
    expect(await index(cleo)).toEqual(["rule a  1", "rule b  2", "rule b eng 1", "skill b  1"]);
    expect(await index(dan)).toEqual(["rule a  1", "rule b  2", "skill b  1"]);
    expect(await index(cleo, { kind: "rule", group: "eng" })).toEqual(["rule b eng 1"]);
    expect(await index(dan, { group: "eng" })).toEqual([]);
    expect(await index(ann, { group: "" })).toEqual(["rule a  1", "rule b  2", "skill b  1"]);
    expect(await index(ann, { kind: "rul" })).toEqual([]);
    expect(Object.keys((await instructions.index(ann))[0] ?? {})).not.toContain("body");
  });
});

describe("versions", () => {
  it("outlive their document, and go on when it comes back", async () => {
    const { instructions, ann, dan } = await compose();
    await instructions.set(ann, RULE, { body: "One." });
    await expect(instructions.remove(dan, RULE)).rejects.toMatchObject(forbidden("org_admin", "member"));
    await instructions.remove(ann, RULE);
    await expect(instructions.remove(ann, RULE)).rejects.toMatchObject({ code: "not_found" });
    await expect(instructions.get(dan, RULE)).rejects.toMatchObject({ code: "not_found" });
    expect(await instructions.revisions(dan, RULE, {})).toMatchObject({ rows: [{ version: 1 }], total_rows: 1 });
    expect(await instructions.revision(dan, RULE, 1)).toMatchObject({ body: "One." });
    expect(await instructions.set(ann, RULE, { body: "Two." })).toMatchObject({ version: 2 });
  });

  it("of a deleted document are found where no other of its name is in force", async () => {
    const { instructions, ann, bob, dan } = await compose();
    await instructions.set(ann, RULE, { body: "Org." });
    await instructions.set(ann, { ...RULE, group: "eng" }, { body: "Eng." });
    await instructions.remove(ann, RULE);
    expect(await instructions.get(bob, RULE)).toMatchObject({ body: "Eng." });
    expect(await instructions.revision(bob, RULE, 1)).toMatchObject({ body: "Eng." });
    expect(await instructions.revision(bob, { ...RULE, group: "" }, 1)).toMatchObject({ body: "Org." });
    expect(await instructions.revision(dan, RULE, 1)).toMatchObject({ body: "Org." });
  });

  it("can be written again, if what they say may still be said", async () => {
    const { instructions, blocklists, ann, bob } = await compose();
    await instructions.set(ann, RULE, { body: "Gamma.", title: "G", frontmatter: { owner: "x" } });
    await instructions.set(ann, RULE, { body: "Two." });
    const restore = (caller: Caller, version: number, expected_version?: number) =>
      instructions.restore(caller, RULE, { version, expected_version });
    await expect(restore(bob, 1)).rejects.toMatchObject(forbidden("org_admin", "member"));
    await expect(restore(ann, 3)).rejects.toMatchObject({ code: "not_found" });
    await expect(restore(ann, 1, 1)).rejects.toMatchObject({ code: "conflict", field: "expected_version" });
    const content = { body: "Gamma.", title: "G", frontmatter: { owner: "x" } };
    expect(await restore(ann, 1, 2)).toMatchObject({ version: 3, ...content });
    await blocklists.set(ann, { terms: ["Gamma"], forbid_attribution: true });
    await expect(restore(ann, 1)).rejects.toMatchObject({ code: "invalid_request", field: "body" });
    await instructions.remove(ann, RULE);
    expect(await restore(ann, 2, 0)).toMatchObject({ version: 4, body: "Two." });
  });

  it("are compared, by default the last two", async () => {
    const { instructions, ann } = await compose();
    await instructions.set(ann, RULE, { body: "a\nb", title: "T", frontmatter: { owner: "x" } });
    expect(await instructions.diff(ann, RULE, {})).toMatchObject({ from: 1, to: 1, changes: [], hunks: [] });
    await instructions.set(ann, RULE, { body: "a\nc" });
    const diff = {
      ...{ ...RULE, group_id: "", from: 1, to: 2 },
      changes: [
        { field: "title", before: "T", after: "" },
        { field: "frontmatter.owner", before: "x", after: null },
      ],
      hunks: [{ from_line: 2, removed: ["b"], to_line: 2, added: ["c"] }],
    };
    expect(await instructions.diff(ann, RULE, {})).toEqual(diff);
    expect(await instructions.diff(ann, RULE, { from: 2, to: 1 })).toMatchObject({ from: 2, to: 1 });
    await expect(instructions.diff(ann, RULE, { to: 3 })).rejects.toMatchObject({ code: "not_found" });
    await expect(instructions.diff(ann, RULE, { from: 0 })).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("a blocklist", () => {
  it("is for admins of the org to read and to change", async () => {
    const { blocklists, ann, bob, dan, platform } = await compose();
    expect(await blocklists.get(ann)).toEqual({ terms: ["Thomas", "Delgado"], forbid_attribution: true });
    const next = { terms: ["Bolelli", "Bolelli"], forbid_attribution: false };
    expect(await blocklists.set(platform, next)).toEqual({ terms: ["Bolelli"], forbid_attribution: false });
    for (const caller of [bob, dan, withinOrg(platform)]) {
      await expect(blocklists.get(caller)).rejects.toMatchObject({ code: "forbidden" });
      await expect(blocklists.set(caller, next)).rejects.toMatchObject({ code: "forbidden" });
    }
  });
});

describe("files", () => {
  const file = (path: string, front: string, body = "Ask.\n") => ({ path, content: `---\n${front}\n---\n${body}` });

  it("are written all together, each as the next version", async () => {
    const { files, instructions, ann, bob } = await compose();
    await instructions.set(ann, RULE, { body: "Old." });
    const given = [
      file("x.md", "kind: rule\nslug: a\ntitle: A"),
      file("y.md", "kind: rule\nslug: a\ngroup: eng\nfrontmatter.owner: x"),
    ];
    expect(await files.import(ann, given)).toEqual([
      { path: "x.md", ...RULE, group_id: "", version: 2 },
      { path: "y.md", ...RULE, group_id: "eng", version: 1 },
    ]);
    expect(await instructions.get(ann, RULE)).toMatchObject({ title: "A", body: "Ask.\n", set_by: "ann" });
    expect(await files.import(bob, given.slice(1))).toMatchObject([{ version: 2 }]);
  });

  it("are refused each for its reason, and then none is written", async () => {
    const { files, instructions, ann, bob, onWritten } = await compose();
    const given = [
      file("good.md", "kind: rule\nslug: a\ngroup: eng"),
      file("typo.md", "kind: rule\nslug: b\ntitel: B"),
      file("name.md", "kind: rule\nslug: c\ngroup: eng", "Thomas"),
      file("org.md", "kind: rule\nslug: d", "Thomas"),
      file("twice.md", "kind: rule\nslug: a\ngroup: eng"),
      file("limit.md", "kind: RULE\nslug: a\ngroup: eng"),
    ];
    const common = [
      { path: "typo.md", code: "invalid_request", field: "titel", message: expect.any(String) },
      {
        ...{ path: "name.md", code: "invalid_request", field: "body" },
        message: "write refused: forbidden term (person or client): 'Thomas'",
      },
    ];
    const ends = [
      { path: "twice.md", code: "invalid_request", message: "good.md is the same instruction." },
      { path: "limit.md", code: "invalid_request", field: "kind", message: expect.any(String) },
    ];
    const message = "5 of 6 files are refused. Nothing was written.";
    await expect(files.import(ann, given)).rejects.toMatchObject({
      ...{ code: "invalid_request", message },
      details: [...common, { path: "org.md", code: "invalid_request", field: "body" }, ...ends],
    });
    // Of what is not theirs to write, admins of a group learn that alone.
    await expect(files.import(bob, given)).rejects.toMatchObject({
      ...{ code: "forbidden", message },
      details: [...common, { path: "org.md", ...forbidden("org_admin", "member") }, ...ends],
    });
    expect(await instructions.index(ann)).toEqual([]);
    expect(onWritten).not.toHaveBeenCalled();
  });

  it("are not even read of somebody who may write nothing", async () => {
    const { files, dan, cleo, left, read } = await compose();
    for (const caller of [dan, cleo, left]) {
      await expect(files.import(caller, [{ path: "x", content: "Thomas" }])).rejects.toMatchObject({
        ...{ code: "forbidden", message: expect.stringMatching(/^insufficient role/) },
      });
    }
    expect(read).not.toHaveBeenCalled();
  });

  it("come out as what may be seen, in parts that can each be written again", async () => {
    const { files, instructions, ann, dan } = await compose();
    for (let at = 100; at < 230; at++) {
      const body = at % 10 === 0 ? "\n".repeat(250_000).concat("x") : "Ask.";
      await instructions.set(ann, { kind: "rule", slug: `s${at}`, group: at === 100 ? "eng" : "" }, { body });
    }
    const parts: { path: string; content: string }[][] = [];
    for (let from: number | null = 0; from !== null; ) {
      const part: Awaited<ReturnType<typeof files.export>> = await files.export(dan, {}, from);
      parts.push(part.files);
      from = part.next;
    }
    expect(parts.flat().map(({ path }) => path)).toEqual(
      Array.from({ length: 129 }, (_, at) => `rule/s${at + 101}.md`),
    );
    expect(parts.length).toBe(2);
    for (const part of parts) {
      expect(part.length).toBeLessThanOrEqual(100);
      expect(JSON.stringify({ files: part }).length).toBeLessThan(4 * 1024 * 1024);
      expect(await files.import(ann, part)).toHaveLength(part.length);
    }
    expect(await files.export(ann, { group: "eng" }, 0)).toMatchObject({
      ...{ files: [{ path: "groups/eng/rule/s100.md" }], next: null },
    });
    expect(await files.export(dan, { group: "eng" }, 0)).toEqual({ files: [], next: null });
    expect(await files.export(dan, { kind: "skill" }, 0)).toEqual({ files: [], next: null });
  });

  it("are as many as they are said to be at the very end of a part", async () => {
    const { files, instructions, ann } = await compose();
    for (let at = 0; at < 100; at++) await instructions.set(ann, { kind: "rule", slug: `s${at}` }, { body: "Ask." });
    expect(await files.export(ann, {}, 0)).toMatchObject({ files: { length: 100 }, next: null });
    expect(await files.export(ann, {}, 100)).toEqual({ files: [], next: null });
    await instructions.set(ann, { kind: "rule", slug: "t" }, { body: "Ask." });
    expect(await files.export(ann, {}, 0)).toMatchObject({ files: { length: 100 }, next: 100 });
    expect(await files.export(ann, {}, 100)).toMatchObject({ files: [{ path: "rule/t.md" }], next: null });
  });
});

describe("a caller", () => {
  const roles = inMemoryRoles({ acme: { ann: { role: "org_admin" } }, other: { ann: { role: "member" } } });

  it("is of the one org there is, or of the one that is found for it", async () => {
    const expected = { id: "ann", org: "acme", role: "org_admin", groups: new Map(), isPlatformAdmin: false };
    expect(await createCallers({ scope: "acme", roles })("ann")).toEqual(expected);
    const orgs = new Map([["ann", "acme"]]);
    expect(await createCallers({ scope: (user) => orgs.get(user) ?? null, roles })("ann")).toEqual(expected);
    expect(await createCallers({ scope: async () => "other", roles })("ann")).toMatchObject({ role: "member" });
  });

  it.each([[null], [""]])("without an org is none, and nothing is read: %j", async (org) => {
    const standing = vi.spyOn(roles, "standing");
    await expect(createCallers({ scope: () => org, roles })("ann")).rejects.toMatchObject({
      ...{ code: "org_required", message: "org not resolved for the caller" },
    });
    expect(standing).not.toHaveBeenCalled();
  });

  it("has the rank of its role, and above all of them what it has below", () => {
    const base = { id: "x", org: "acme", groups: new Map([["eng", true]]), isPlatformAdmin: false } as const;
    const ranks = (["org_admin", "member", null] as const).map((role) => [
      rankOf({ ...base, role }, ""),
      rankOf({ ...base, role }, "eng"),
      rankOf({ ...base, role }, "ops"),
    ]);
    expect(ranks).toEqual([
      ["org_admin", "org_admin", "org_admin"],
      ["member", "group_admin", "member"],
      ["none", "none", "none"],
    ]);
    const admin = { ...base, role: "org_admin" } as const;
    for (const required of ["org_admin", "group_admin", "member"] as const) requireRank(admin, required);
  });
});
