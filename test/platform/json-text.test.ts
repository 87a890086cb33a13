import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applyEdits,
  depthOf,
  duplicateKey,
  editMembers,
  elementsOf,
  memberOf,
  membersOf,
  repeatedKey,
} from "../../src/platform/json-text.ts";

/** JSON as it is written: objects are lists of members, so that names may repeat. */
type Json = string | number | boolean | null | Json[] | { readonly members: readonly (readonly [string, Json])[] };

const NUMBERS = ["0", "-0", "1.0", "1e400", "-12E-3", "12345678901234567890", "0.1"];

/**
 * Names of members, without those of one character that has to be escaped, and `write` escapes none of one character:
 * V8 13.6 reads such a name as a backslash once it has read `{"q":1,"\\":2}` and meets `{"q":1,"\u0061":2}`.
 */
const memberName = fc
  .oneof(fc.constantFrom("a", "b", "", "__proto__", '""', "\\n", "}", "é", "{}"), fc.string({ maxLength: 4 }))
  .filter((name) => name.length !== 1 || JSON.stringify(name).length === 3);

const { json, object, list } = fc.letrec<{ json: Json; object: { members: [string, Json][] }; list: Json[] }>(
  (tie) => ({
    json: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.constantFrom("", '"', "\\", '\\"', "{}", "[,]", ":", "\u2028", "\ud800"),
      fc.integer(),
      fc.constantFrom(true, false, null),
      tie("list"),
      tie("object"),
    ),
    object: fc.record({ members: fc.array(fc.tuple(memberName, tie("json")), { maxLength: 5 }) }),
    list: fc.array(tie("json"), { maxLength: 5 }),
  }),
);

/** Writes a value with white space and escapes drawn from a seed, the same seed giving the same text. */
function write(value: Json, seed: number): string {
  let state = seed | 1;
  const draw = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 8) % below;
  };
  const space = () => ["", "", "", " ", "\n", "\t", "\r\n  "][draw(7)] ?? "";
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  const text = (string: string, isName = false) => {
    const mayEscape = !isName || string.length !== 1;
    const plain = (unit: string) => JSON.stringify(unit).slice(1, -1);
    const units = string.split("").map((unit) => (mayEscape && draw(5) === 0 ? escaped(unit) : plain(unit)));
    return `"${units.join("")}"`;
  };
  const any = (part: Json): string => {
    if (typeof part === "string") return text(part);
    if (typeof part === "number") return draw(2) === 0 ? String(part) : (NUMBERS[draw(NUMBERS.length)] ?? "0");
    if (Array.isArray(part)) return `[${part.map((item) => space() + any(item) + space()).join(",") || space()}]`;
    if (part === null || typeof part === "boolean") return String(part);
    const members = part.members.map(
      ([name, member]) => `${space()}${text(name, true)}${space()}:${space()}${any(member)}${space()}`,
    );
    return `{${members.join(",") || space()}}`;
  };
  return space() + any(value) + space();
}

const nesting = (value: Json): number => {
  if (Array.isArray(value)) return 1 + Math.max(0, ...value.map(nesting));
  return typeof value === "object" && value !== null ? 1 + Math.max(0, ...value.members.map(([, m]) => nesting(m))) : 0;
};

const repeats = (value: Json): boolean => {
  if (Array.isArray(value)) return value.some(repeats);
  if (typeof value !== "object" || value === null) return false;
  const names = value.members.map(([name]) => name);
  return new Set(names).size < names.length || value.members.some(([, member]) => repeats(member));
};

const slices = (text: string) =>
  membersOf(text).map(({ key, valueStart, end }) => [key, JSON.parse(text.slice(valueStart, end))]);

describe("members", () => {
  it("are found where JSON.parse finds them, in order, duplicates included", () => {
    fc.assert(
      fc.property(object, fc.nat(), (value, seed) => {
        const text = write(value, seed);
        const found = slices(text);
        expect(found.map(([key]) => key)).toEqual(value.members.map(([name]) => name));
        expect(Object.fromEntries(found)).toEqual(JSON.parse(text));
        for (const { key, start, valueStart } of membersOf(text)) {
          const head = text.slice(start, valueStart).trimEnd();
          expect(head.endsWith(":") && JSON.parse(head.slice(0, -1))).toBe(key);
        }
      }),
    );
  });

  it("are found behind any other text", () => {
    fc.assert(
      fc.property(object, fc.nat(), (value, seed) => {
        const text = write(value, seed);
        const before = '{"x":';
        expect(membersOf(`${before}${text}}`, before.length)).toEqual(
          membersOf(text).map(({ key, start, valueStart, end }) => ({
            ...{ key, start: start + before.length },
            ...{ valueStart: valueStart + before.length, end: end + before.length },
          })),
        );
      }),
    );
  });

  it("of one name are the last of them, the one that JSON.parse believes", () => {
    fc.assert(
      fc.property(object, fc.nat(), (value, seed) => {
        const text = write(value, seed);
        const parsed = JSON.parse(text);
        for (const key of Object.keys(parsed)) {
          const member = memberOf(text, 0, key);
          expect(JSON.parse(text.slice(member?.valueStart, member?.end))).toEqual(parsed[key]);
        }
        expect(memberOf(text, 0, "not there")).toBeUndefined();
      }),
    );
  });
});

describe("elements", () => {
  it("are found where JSON.parse finds them", () => {
    fc.assert(
      fc.property(list, fc.nat(), (value, seed) => {
        const text = write(value, seed);
        const found = elementsOf(text).map(({ start, end }): unknown => JSON.parse(text.slice(start, end)));
        expect(found).toEqual(JSON.parse(text));
      }),
    );
  });
});

describe("an edit of members", () => {
  it("sets and drops them, and leaves the bytes of the others", () => {
    const names = fc.uniqueArray(memberName, { maxLength: 3 });
    fc.assert(
      fc.property(object, fc.nat(), names, names, (value, seed, set, drop) => {
        const text = write(value, seed);
        const put = Object.fromEntries(set.map((name, at) => [name, String(at)]));
        const edited = applyEdits(text, editMembers(text, 0, put, drop));
        const kept = membersOf(text).filter(({ key }) => !drop.includes(key) && !Object.hasOwn(put, key));
        const expected = [
          ...Object.entries(put).map(([key, json]): [string, unknown] => [key, JSON.parse(json)]),
          ...kept.map(({ key, valueStart, end }): [string, unknown] => [key, JSON.parse(text.slice(valueStart, end))]),
        ];
        expect(JSON.parse(edited)).toEqual(Object.fromEntries(expected));
        for (const { start, end } of kept) expect(edited).toContain(text.slice(start, end));
      }),
    );
  });
});

describe("edits", () => {
  it("are applied in any order", () => {
    const text = "0123456789";
    const edits = [
      { start: 7, end: 7, text: "<>" },
      { start: 0, end: 1, text: "a" },
      { start: 9, end: 10, text: "" },
      { start: 2, end: 5, text: "b" },
    ];
    expect(applyEdits(text, edits)).toBe("a1b56<>78");
    expect(applyEdits(text, edits.toReversed())).toBe("a1b56<>78");
    expect(applyEdits(text, [])).toBe(text);
  });
});

describe("the depth", () => {
  it("is that of arrays and objects, whatever strings hold", () => {
    fc.assert(
      fc.property(json, fc.nat(), (value, seed) => {
        expect(depthOf(write(value, seed))).toBe(nesting(value));
      }),
    );
  });

  it("of any text is a number, also of a very deep or broken one", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(Number.isSafeInteger(depthOf(text))).toBe(true);
      }),
    );
    expect(depthOf("[".repeat(1_000_000))).toBe(1_000_000);
    expect(depthOf('["')).toBe(1);
    expect(depthOf("]]]")).toBe(0);
  });
});

describe("a repeated name", () => {
  it("is found at any depth, however it is written", () => {
    fc.assert(
      fc.property(json, fc.nat(), (value, seed) => {
        expect(duplicateKey(write(value, seed)) !== undefined).toBe(repeats(value));
      }),
    );
  });

  it("is named", () => {
    expect(duplicateKey('{"a":1,"b":[{"c":{"d":1,"\\u0064":2}}]}')).toBe("d");
    expect(repeatedKey(membersOf('{"a":1,"b":2,"a":3}'))).toBe("a");
    expect(repeatedKey(membersOf("{}"))).toBeUndefined();
  });
});
