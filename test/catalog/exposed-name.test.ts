import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exposedName, exposedNames } from "../../src/catalog/exposed-name.ts";
import { sha256Hex } from "../../src/platform/hash.ts";

const LEGAL = /^[A-Za-z0-9_-]{1,64}$/;

const ofDocs = (...tools: string[]) => exposedNames(tools.map((tool) => ({ server: "docs", tool })));

describe("the exposed name", () => {
  it.each([
    ["docs", "search", "docs__search"],
    ["docs", "a.b", "docs__a_b_1d0c73dc"],
    ["docs", "a_b", "docs__a_b"],
    ["docs", "read/file", "docs__read_file_0a8177bd"],
    ["x".repeat(63), "search", `${"x".repeat(55)}_743ef418`],
    ["docs", "a".repeat(58), `docs__${"a".repeat(58)}`],
    ["docs", "a".repeat(59), `docs__${"a".repeat(49)}_9a21ac43`],
  ])("of %s, %s is %s [PS-25, T-39]", (server, tool, name) => {
    expect(exposedName(server, tool)).toBe(name);
  });

  it("replaces each other character by one underscore, also one of two code units [PS-25]", () => {
    expect(exposedName("docs", "é🚀 x")).toMatch(/^docs_____x_[0-9a-f]{8}$/);
  });

  it("keeps what may stay, also two underscores in a row [PS-25, R-18]", () => {
    expect(ofDocs("a__b", "_", "-", "A-9_z")).toEqual(["docs__a__b", "docs___", "docs__-", "docs__A-9_z"]);
  });

  it("keeps four tools apart that differ in a sign or in case [T-38]", () => {
    expect(ofDocs("a-b", "a_b", "read", "Read")).toEqual(["docs__a-b", "docs__a_b", "docs__read", "docs__Read"]);
  });

  it("takes sixteen digits for both tools that would share one [PS-25]", () => {
    const full = "docs__a.b";
    const impostor = "a_b_1d0c73dc";
    expect(ofDocs("a.b", impostor, "a_b")).toEqual([
      `docs__a_b_${sha256Hex(full).slice(0, 16)}`,
      `docs__${impostor}_${sha256Hex(`docs__${impostor}`).slice(0, 16)}`,
      "docs__a_b",
    ]);
  });

  it("cuts to 47 characters before sixteen digits [PS-25]", () => {
    const long = "a.".repeat(40);
    expect(exposedName("docs", long, 16)).toMatch(/^docs__(a_)+a?_[0-9a-f]{16}$/);
    expect(exposedName("docs", long, 16)).toHaveLength(64);
  });

  it("keeps tools apart that a server has named after the hashes of others [PS-25, R-18]", () => {
    const digits = sha256Hex("docs__a.b");
    const tools = ["a.b", `a_b_${digits.slice(0, 8)}`, `a_b_${digits.slice(0, 16)}`];
    const names = ofDocs(...tools);
    expect(new Set(names).size).toBe(3);
    for (const name of names) expect(name).toMatch(LEGAL);
  });
});

describe("exposed names", () => {
  const slug = fc.stringMatching(/^[A-Za-z0-9-]{1,63}$/);
  const sign = fc.constantFrom("a", "B", "_", "-", ".", "/", " ", "é", "🚀", "__");
  const toolName = fc.oneof(
    fc.array(sign, { minLength: 1, maxLength: 80 }).map((signs) => signs.join("")),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 100 }),
  );
  const tools = fc.uniqueArray(fc.record({ server: slug, tool: toolName }), {
    selector: ({ server, tool }) => `${server.toLowerCase()} ${tool}`,
    maxLength: 40,
  });

  it("are legal and distinct [PS-25, R-18, T-39]", () => {
    fc.assert(
      fc.property(tools, (list) => {
        const names = exposedNames(list);
        for (const name of names) expect(name).toMatch(LEGAL);
        expect(new Set(names).size).toBe(list.length);
      }),
    );
  });

  it("do not depend on the order in which tools come, nor on tools that do not clash [PS-25, R-18]", () => {
    fc.assert(
      fc.property(tools, fc.nat(), (list, seed) => {
        const names = exposedNames(list);
        const order = list.map((_, at) => at).sort((a, b) => ((a + seed) % 7) - ((b + seed) % 7));
        const shuffled = exposedNames(order.flatMap((at) => list[at] ?? []));
        expect(shuffled).toEqual(order.map((at) => names[at]));
        expect(list.map(({ server, tool }) => exposedNames([{ server, tool }])[0])).toEqual(names);
      }),
    );
  });
});
