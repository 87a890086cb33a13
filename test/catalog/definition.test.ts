import { describe, expect, it } from "vitest";
import { type DiscoveredTool, factsOf, readDefinition, shownDefinition } from "../../src/catalog/definition.ts";
import { sha256Hex } from "../../src/platform/hash.ts";

function read(text: string): DiscoveredTool {
  const result = readDefinition(text);
  if ("reason" in result) throw new Error(`skipped: ${result.reason}`);
  return result;
}

const hash = (text: string) => read(text).definition_hash;

describe("a definition", () => {
  it("is kept as received, and known by the hash of its canonical form [PS-20]", () => {
    const text = ' { "name": "search",\n "inputSchema": {"type":"object"}, "_meta": {"a": 1}, "x": 1.0 } ';
    const canonical = '{"inputSchema":{"type":"object"},"name":"search","x":1}';
    expect(readDefinition(text)).toEqual({ name: "search", definition: text, definition_hash: sha256Hex(canonical) });
  });

  it("has the same hash whatever the order of members, white space, spelling and _meta [PS-20]", () => {
    const pairs = [
      ["white space", '{"name":"a","description":"b"}', '{ "name" : "a" ,\n"description":"b" }'],
      ["the order of members", '{"name":"a","description":"b"}', '{"description":"b","name":"a"}'],
      [
        "the order of members below",
        '{"name":"a","x":{"b":1,"c":[{"d":1,"e":2}]}}',
        '{"name":"a","x":{"c":[{"e":2,"d":1}],"b":1}}',
      ],
      ["how a character is written", '{"name":"a"}', '{"name":"\\u0061"}'],
      ["how a number is written", '{"name":"a","x":100}', '{"name":"a","x":1e2}'],
      ["_meta", '{"name":"a","_meta":{"v":1}}', '{"name":"a"}'],
    ] as const;
    for (const [what, one, other] of pairs) expect([what, hash(other)]).toEqual([what, hash(one)]);
  });

  it("has another hash after any other change [PS-20]", () => {
    const pairs = [
      ["a letter", '{"name":"a","description":"b"}', '{"name":"a","description":"c"}'],
      ["the case of a letter", '{"name":"a","description":"b"}', '{"name":"a","description":"B"}'],
      ["a space in a text", '{"name":"a","description":"b"}', '{"name":"a","description":"b "}'],
      ["a member", '{"name":"a"}', '{"name":"a","title":"b"}'],
      ["an empty member", '{"name":"a"}', '{"name":"a","annotations":{}}'],
      ["a null member", '{"name":"a"}', '{"name":"a","title":null}'],
      ["the order of elements", '{"name":"a","x":[1,2]}', '{"name":"a","x":[2,1]}'],
      ["a type", '{"name":"a","x":1}', '{"name":"a","x":"1"}'],
      ["_meta further below", '{"name":"a","x":{"_meta":1}}', '{"name":"a","x":{"_meta":2}}'],
      ["a member called __proto__", '{"name":"a","__proto__":{"x":1}}', '{"name":"a"}'],
      ["a composed character", '{"name":"a","x":"\\u00e9"}', '{"name":"a","x":"e\\u0301"}'],
    ] as const;
    for (const [what, one, other] of pairs) expect([what, hash(other)]).not.toEqual([what, hash(one)]);
  });
});

describe("an entry of a tool list", () => {
  const deep = (levels: number) => `{"name":"a","x":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;

  it.each([
    ["is no object", '"search"', ""],
    ["is null", "null", ""],
    ["is a list", '["search"]', ""],
    ["has no name", '{"description":"a"}', ""],
    ["has an empty name", '{"name":""}', ""],
    ["has a number for a name", '{"name":1}', ""],
    ["has null for a name", '{"name":null}', ""],
    ["has a name of 257 characters", `{"name":"${"a".repeat(257)}"}`, "a".repeat(64)],
    ["has a line break in its name", '{"name":"a\\nb"}', "a\u{fffd}b"],
    ["has a NUL in its name", '{"name":"a\\u0000b"}', "a\u{fffd}b"],
    ["has a DEL in its name", '{"name":"a\\u007fb"}', "a\u{fffd}b"],
    ["has a C1 control in its name", '{"name":"a\\u0085b"}', "a\u{fffd}b"],
    ["turns the direction of text in its name", '{"name":"a\\u202eb"}', "a\u{fffd}b"],
    ["has more than 256 KiB", `{"name":"a","x":"${"y".repeat(256 * 1024)}"}`, "a"],
    ["nests 65 levels", deep(65), "a"],
  ])("is skipped when it %s, with a harmless name and a reason of ours [BF-65]", (_, text, name) => {
    expect(readDefinition(text)).toEqual({ name, reason: expect.stringMatching(/^The .+\.$/) });
  });

  it.each(["a", "a/b", "a.b", "a b", " ", "日本語", "🚀", "a".repeat(256), '"\\'])(
    "is kept under the name %o [BF-65]",
    (name) => {
      expect(read(JSON.stringify({ name })).name).toBe(name);
    },
  );

  it("is kept with 64 levels", () => {
    expect(read(deep(64)).name).toBe("a");
  });
});

describe("the facts of a definition", () => {
  const EMPTY = { type: "object", properties: {} };

  it("are those it has [RB-26]", () => {
    const facts = {
      title: "Search",
      description: "Finds things.",
      inputSchema: { type: "object", required: ["q"] },
      outputSchema: { type: "array" },
      annotations: { readOnlyHint: true },
    };
    expect(factsOf(JSON.stringify({ name: "search", ...facts }))).toEqual({
      title: "Search",
      description: "Finds things.",
      input_schema: { type: "object", required: ["q"] },
      output_schema: { type: "array" },
      annotations: { readOnlyHint: true },
    });
  });

  it.each([
    "{}",
    '{"title":1,"description":["a"],"inputSchema":"x"}',
    '{"title":null,"description":null,"inputSchema":[]}',
  ])("are defaults where it has none, or none that can be used: %s [RB-26]", (text) => {
    const facts = { title: null, description: "", input_schema: EMPTY, output_schema: null, annotations: null };
    expect(factsOf(text)).toEqual(facts);
  });
});

const AUTO_EXECUTE = '"_meta":{"dev.postern/auto_execute":false}';

/** What is shown, but for what the gateway adds to `_meta`. */
function shown(text: string, name: string, objectsOnly: boolean): string {
  const whole = shownDefinition(text, { name, auto_execute: false, objectsOnly });
  expect(whole).toContain(`,${AUTO_EXECUTE}`);
  return whole.replace(`,${AUTO_EXECUTE}`, "");
}

describe("the definition that agents are shown", () => {
  const schema = '"inputSchema":{"type" : "object"}';

  it.each([
    `{"name":"search",${schema}}`,
    ` {\n "name" : "search" , ${schema}, "x": 1.0, "y": 12345678901234567890, "z": "\\u00e9" } `,
  ])("is the same byte for byte under its own name: %s [RG-27]", (text) => {
    expect(shown(text, "search", false)).toBe(text);
    expect(shown(text, "search", true)).toBe(text);
  });

  it("has another name and every other byte of its members", () => {
    const text = ` { "a": 1.0, "name":\t"search", ${schema} , "y": 12345678901234567890, "z": "\\u00e9" } `;
    const definition = shown(text, "docs__search", false);
    expect(definition).toBe(text.replace('"search"', '"docs__search"'));
  });

  it.each([
    '{"name":"a"}',
    '{"name":"a","inputSchema":null}',
    '{"name":"a","inputSchema":[]}',
    '{"name":"a","inputSchema":"x"}',
  ])("has an input schema where %s has none that can be used [RG-27]", (text) => {
    const definition = JSON.parse(shown(text, "a", false));
    expect(definition).toEqual({ name: "a", inputSchema: { type: "object", properties: {} } });
  });

  it.each([
    ['{"type":"object"}', true],
    ['{"type":"array"}', false],
    ["{}", false],
    ["true", false],
    ["null", false],
  ])("has the output schema %s for readers that know objects only: %o", (outputSchema, isKept) => {
    const text = `{"name":"a",${schema},"outputSchema":${outputSchema}}`;
    expect("outputSchema" in JSON.parse(shown(text, "a", true))).toBe(isKept);
    expect(shown(text, "a", false)).toBe(text);
  });
});
