/** `x-mcp-header`: which arguments of a tool travel as headers too, so that what stands in front can route (P-46). Pure. */
import { isObject } from "../platform/json-value.ts";

/** One annotated property of an input schema. */
export interface ParamHeader {
  /** What stands behind `Mcp-Param-`, as the definition spells it. */
  readonly name: string;
  /** The members that lead from the arguments to the value. */
  readonly path: readonly string[];
  /** Compared as a number: `42` is `42.0`. */
  readonly isNumber: boolean;
}

/** What a schema says of headers; with one annotation that breaks a rule, all of them count for nothing. */
export type ParamHeaders =
  | { readonly ok: true; readonly headers: readonly ParamHeader[] }
  | { readonly ok: false; readonly problem: string };

export const ANNOTATION = "x-mcp-header";

/** As many as a request may have (protocol.md 3.1.5). */
const MAX_HEADERS = 64;
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** `number` is forbidden by the text of the specification, and accepted by its referee (protocol.md 2.1). */
const TYPES: readonly unknown[] = ["string", "integer", "number", "boolean"];

/** Keywords that hold a schema, or a list of schemas. */
const SCHEMAS = [
  ...["items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"],
  ...["additionalProperties", "unevaluatedProperties", "propertyNames", "contentSchema"],
  ...["allOf", "anyOf", "oneOf", "not", "if", "then", "else"],
];
/** Keywords that hold schemas by name. */
const NAMED_SCHEMAS = ["patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];

/**
 * Reads the annotations of a tool's input schema (protocol.md 2.1).
 *
 * @param inputSchema Anything; it nests no deeper than a definition may.
 */
export function readParamHeaders(inputSchema: unknown): ParamHeaders {
  const headers: ParamHeader[] = [];
  const problem = firstProblem(inputSchema, [], true, headers);
  return problem === null ? { ok: true, headers } : { ok: false, problem };
}

/** The same of a definition, JSON text; null when its annotations break a rule. */
export function paramHeadersOf(definition: string): readonly ParamHeader[] | null {
  const { inputSchema } = JSON.parse(definition) as { inputSchema?: unknown };
  const read = readParamHeaders(inputSchema);
  return read.ok ? read.headers : null;
}

/** @param isReached Whether only `properties` lead here: elsewhere, which value is meant depends on the arguments. */
function firstProblem(
  schema: unknown,
  path: readonly string[],
  isReached: boolean,
  found: ParamHeader[],
): string | null {
  if (!isObject(schema)) return null;
  if (ANNOTATION in schema) {
    const problem = isReached && path.length > 0 ? add(schema, path, found) : "is not on a property of the arguments";
    if (problem !== null) return `An ${ANNOTATION} annotation ${problem}.`;
  }
  const { properties } = schema;
  const own = isObject(properties) ? Object.entries(properties) : [];
  for (const [name, property] of own) {
    const problem = firstProblem(property, [...path, name], isReached, found);
    if (problem !== null) return problem;
  }
  for (const inner of innerSchemas(schema)) {
    const problem = firstProblem(inner, path, false, found);
    if (problem !== null) return problem;
  }
  return null;
}

/** @returns What is wrong with it; null when it is added. */
function add(
  { [ANNOTATION]: name, type }: Readonly<Record<string, unknown>>,
  path: readonly string[],
  found: ParamHeader[],
): string | null {
  if (typeof name !== "string" || !TOKEN.test(name)) return "is no token of RFC 9110";
  if (!TYPES.includes(type)) return "is on a property that is no string, integer or boolean";
  const isTaken = found.some((other) => other.name.toLowerCase() === name.toLowerCase());
  if (isTaken) return "names the same header as another one";
  if (found.length === MAX_HEADERS) return `is one of more than ${MAX_HEADERS}`;
  found.push({ name, path, isNumber: type === "integer" || type === "number" });
  return null;
}

function innerSchemas(schema: Readonly<Record<string, unknown>>): unknown[] {
  const listed = SCHEMAS.flatMap((keyword): unknown[] => {
    const inner = schema[keyword];
    return Array.isArray(inner) ? inner : [inner];
  });
  const named = NAMED_SCHEMAS.flatMap((keyword) => {
    const inner = schema[keyword];
    return isObject(inner) ? Object.values(inner) : [];
  });
  return [...listed, ...named];
}
