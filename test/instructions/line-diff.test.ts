import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diffLines, type Hunk } from "../../src/instructions/line-diff.ts";

/** The newer text, made of the older one. */
function apply(before: string, hunks: readonly Hunk[]): string {
  const lines = before.split("\n");
  for (const { to_line, removed, added } of hunks) {
    expect(lines.slice(to_line - 1, to_line - 1 + removed.length)).toEqual(removed);
    lines.splice(to_line - 1, removed.length, ...added);
  }
  return lines.join("\n");
}

describe("the differences of two texts", () => {
  it("are the lines that go and come, with where they stand", () => {
    expect(diffLines("a\nb\nc\nd\ne", "a\nB\nc\ne\nf")).toEqual([
      { from_line: 2, removed: ["b"], to_line: 2, added: ["B"] },
      { from_line: 4, removed: ["d"], to_line: 4, added: [] },
      { from_line: 6, removed: [], to_line: 5, added: ["f"] },
    ]);
    expect(diffLines("a\n", "a")).toEqual([{ from_line: 2, removed: [""], to_line: 2, added: [] }]);
    expect(diffLines("a\nb", "a\nb")).toEqual([]);
  });

  it("make the newer text of the older one, and are as few as can be", () => {
    const text = fc.array(fc.constantFrom("a", "b", "c", ""), { maxLength: 12 }).map((lines) => lines.join("\n"));
    fc.assert(
      fc.property(text, text, (before, after) => {
        const hunks = diffLines(before, after);
        expect(apply(before, hunks)).toBe(after);
        expect(hunks.every(({ removed, added }) => removed.length + added.length > 0)).toBe(true);
        const changed = hunks.reduce((sum, { removed, added }) => sum + removed.length + added.length, 0);
        expect(changed).toBe(distance(before.split("\n"), after.split("\n")));
      }),
    );
  });

  it("of two large texts without a common line are one, and found at once", () => {
    const [before, after] = ["a\n".repeat(100_000), "b\n".repeat(100_000)];
    const hunks = diffLines(before, after);
    expect(hunks).toHaveLength(1);
    expect(apply(before, hunks) === after).toBe(true);
  });
});

/** Lines to remove and to add at least, by the definition. */
function distance(a: readonly string[], b: readonly string[]): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, left] of a.entries()) {
    const next = [i + 1];
    for (const [j, right] of b.entries()) {
      next.push(left === right ? (row[j] ?? 0) : 1 + Math.min(row[j + 1] ?? 0, next[j] ?? 0));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
