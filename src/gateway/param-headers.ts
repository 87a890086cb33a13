/** `Mcp-Param-*`: compared with the arguments of a modern client's call, and made from those of others. Pure. */
import type { ParamHeader } from "../catalog/param-headers.ts";
import { isObject } from "../platform/json-value.ts";
import { decodeHeaderValue, encodeHeaderValue } from "./modern/header-value.ts";

const PREFIX = "mcp-param-";

/** The headers that say what the arguments say. */
export function paramHeadersFrom(annotations: readonly ParamHeader[], args: unknown): Record<string, string> {
  return Object.fromEntries(
    annotations.flatMap(({ name, path }) => {
      const value = plainText(valueAt(args, path));
      return value === null ? [] : [[PREFIX + name.toLowerCase(), encodeHeaderValue(value)]];
    }),
  );
}

/** The `Mcp-Param-*` of a client, as they came, known or not (P-45). */
export function ownParamHeaders(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => name.startsWith(PREFIX)));
}

/**
 * The first header that is missing, cannot be decoded or differs from its argument (rung 3.3.13); null when all fit.
 * Where there is no argument, none is expected, and what is there says nothing.
 */
export function misfitParam(annotations: readonly ParamHeader[], args: unknown, headers: Headers): string | null {
  const wrong = annotations.find(({ name, path, isNumber }) => {
    const value = valueAt(args, path);
    const expected = plainText(value);
    if (expected === null) return false;
    const header = headers.get(PREFIX + name);
    const told = header === null ? null : decodeHeaderValue(header);
    if (told === expected) return false;
    return !(isNumber && told !== null && DECIMAL.test(told) && Number(told) === value);
  });
  return wrong === undefined ? null : `Mcp-Param-${wrong.name}`;
}

const DECIMAL = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;

function valueAt(args: unknown, path: readonly string[]): unknown {
  let value = args;
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/**
 * A value as a header spells it; null where there is none to expect: nothing, or something of another kind, which is for
 * the server to refuse. Of numbers beyond 2^53 it is not known what they were.
 */
function plainText(value: unknown): string | null {
  if (typeof value === "string") return value.toWellFormed();
  if (typeof value === "boolean") return String(value);
  const isExact = typeof value === "number" && (Number.isSafeInteger(value) || !Number.isInteger(value));
  return isExact && Number.isFinite(value) ? String(value) : null;
}
