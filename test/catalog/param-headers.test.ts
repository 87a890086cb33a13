import { describe, expect, it } from "vitest";
import { readParamHeaders } from "../../src/catalog/param-headers.ts";

const annotated = (more: object = {}, name: unknown = "Region") => ({ type: "string", "x-mcp-header": name, ...more });
const schema = (properties: object, more: object = {}) => ({ type: "object", properties, ...more });
const problemOf = (value: unknown) => {
  const read = readParamHeaders(value);
  return read.ok ? null : read.problem;
};

describe("the annotations of an input schema", () => {
  it("are found on properties at any depth, with the way to the value", () => {
    const inner = schema({ "a.b": annotated({ type: "integer" }, "Deep"), plain: { type: "string" } });
    const read = readParamHeaders(schema({ region: annotated(), on: annotated({ type: "boolean" }, "On"), inner }));
    expect(read).toEqual({
      ok: true,
      headers: [
        { name: "Region", path: ["region"], isNumber: false },
        { name: "On", path: ["on"], isNumber: false },
        { name: "Deep", path: ["inner", "a.b"], isNumber: true },
      ],
    });
  });

  it.each<[string, unknown]>([
    ["no schema at all", undefined],
    ["a schema without properties", { type: "object" }],
    ["a property that has the name of the annotation", schema({ "x-mcp-header": { type: "object" } })],
    ["data that looks like one", schema({ a: { default: annotated(), enum: [annotated()], const: annotated() } })],
  ])("are none in %s", (_, value) => {
    expect(readParamHeaders(value)).toEqual({ ok: true, headers: [] });
  });

  it.each(["string", "integer", "boolean", "number"])("may be on a property that is a %s [P-46]", (type) => {
    expect(problemOf(schema({ a: annotated({ type }) }))).toBeNull();
  });

  it.each([["!#$%&'*+-.^_`|~09Az"], ["x"]])("may be named %s", (name) => {
    expect(problemOf(schema({ a: annotated({}, name) }))).toBeNull();
  });

  const TOKEN = "An x-mcp-header annotation is no token of RFC 9110.";
  const TYPE = "An x-mcp-header annotation is on a property that is no string, integer or boolean.";
  const PLACE = "An x-mcp-header annotation is not on a property of the arguments.";
  it.each<[string, unknown, string]>([
    ["an empty name", schema({ a: annotated({}, "") }), TOKEN],
    ["a name with a space", schema({ a: annotated({}, "a b") }), TOKEN],
    ["a name with a colon", schema({ a: annotated({}, "a:b") }), TOKEN],
    ["a name with a line break", schema({ a: annotated({}, "a\n") }), TOKEN],
    ["a name that is no ASCII", schema({ a: annotated({}, "é") }), TOKEN],
    ["a name that is no text", schema({ a: annotated({}, 5) }), TOKEN],
    ["an object", schema({ a: annotated({ type: "object" }) }), TYPE],
    ["several types", schema({ a: annotated({ type: ["string", "null"] }) }), TYPE],
    ["no type", schema({ a: { "x-mcp-header": "A" } }), TYPE],
    ["the root", schema({}, { "x-mcp-header": "A" }), PLACE],
    ["items", schema({ a: { type: "array", items: annotated() } }), PLACE],
    ["a property within items", schema({ a: { type: "array", items: schema({ b: annotated() }) } }), PLACE],
    ["anyOf", schema({}, { anyOf: [schema({ a: annotated() })] }), PLACE],
    ["else", schema({}, { if: {}, else: schema({ a: annotated() }) }), PLACE],
    ["$defs", schema({}, { $defs: { a: annotated() } }), PLACE],
    ["patternProperties", schema({}, { patternProperties: { "^a": annotated() } }), PLACE],
    [
      "one name twice, but for its case",
      schema({ a: annotated(), b: annotated({}, "REGION") }),
      "An x-mcp-header annotation names the same header as another one.",
    ],
    [
      "more than a request may have",
      schema(Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`p${at}`, annotated({}, `H${at}`)]))),
      "An x-mcp-header annotation is one of more than 64.",
    ],
  ])("are invalid with %s [P-46]", (_, value, problem) => {
    expect(problemOf(value)).toBe(problem);
  });
});
