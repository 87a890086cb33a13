/** Every requirement is proved by a test that cites it, or stands open; no id is invented, and none is open for long. */
import { describe, expect, it } from "vitest";
import { citedIn, idsOf, OPEN, REQUIREMENTS } from "./requirements.ts";

const sources = import.meta.glob<string>(["./**/*.test.ts", "!./requirements.test.ts"], {
  query: "?raw",
  import: "default",
  eager: true,
});

interface Findings {
  /** Neither cited nor open. */
  readonly unproven: string[];
  /** Cited, but no requirement. */
  readonly unknown: string[];
  /** Cited and open: `node test/requirements.update.ts` takes them out. */
  readonly closed: string[];
  /** Open under two issues. */
  readonly repeated: string[];
}

function check(all: readonly string[], open: readonly string[], cited: readonly string[]): Findings {
  const [known, waiting, proven] = [new Set(all), new Set(open), new Set(cited)];
  return {
    unproven: all.filter((id) => !proven.has(id) && !waiting.has(id)),
    unknown: [...new Set([...cited, ...open])].filter((id) => !known.has(id)),
    closed: [...waiting].filter((id) => proven.has(id)),
    repeated: open.filter((id, at) => open.indexOf(id) !== at),
  };
}

describe("the requirements", () => {
  it("are each proved by a test or open, and never both", () => {
    const findings = check(
      idsOf(REQUIREMENTS),
      Object.values(OPEN).flatMap(idsOf),
      Object.values(sources).flatMap(citedIn),
    );
    expect(findings).toEqual({ unproven: [], unknown: [], closed: [], repeated: [] });
  });

  it("are looked for in the tests of every layer", () => {
    const folders = new Set(Object.keys(sources).map((path) => path.split("/")[1]));
    expect([...folders]).toEqual(expect.arrayContaining(["bundle", "registry"]));
  });
});

describe("the check", () => {
  it("finds what is missing, invented, out of date or named twice", () => {
    expect(check(["A-1", "A-2", "A-3"], ["A-2", "A-9", "A-9"], ["A-2", "B-1"])).toEqual({
      unproven: ["A-1", "A-3"],
      unknown: ["B-1", "A-9"],
      closed: ["A-2"],
      repeated: ["A-9"],
    });
  });

  it("reads ranges and citations", () => {
    expect(idsOf({ PS: "1-3 20", T: "5" })).toEqual(["PS-1", "PS-2", "PS-3", "PS-20", "T-5"]);
    const source = 'it("a [RG-14]"); it("b [T-1, PS-20]"); it("RG-15"); const list = ["P-1"]; /[A-Z-9]/;';
    expect(citedIn(source)).toEqual(["RG-14", "T-1", "PS-20"]);
  });
});
