/** Where two texts differ, line by line, for somebody who compares two versions. Pure. */

/** Lines that one text has in the place of lines of the other. */
export interface Hunk {
  /** The line of the older text, from 1, before which the added ones stand or with which the removed ones begin. */
  readonly from_line: number;
  readonly removed: readonly string[];
  /** The same for the newer text. */
  readonly to_line: number;
  readonly added: readonly string[];
}

/** Pairs of lines that are compared at most: 8 MB. What is larger between equal ends counts as replaced altogether. */
const MAX_PAIRS = 4_000_000;

/** The fewest removed and added lines that make one text of the other, in order. Lines end with `\n` alone. */
export function diffLines(before: string, after: string): Hunk[] {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const [removed, added] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (removed.length === 0 && added.length === 0) return [];
  if (removed.length * added.length > MAX_PAIRS) {
    return [{ from_line: start + 1, removed, to_line: start + 1, added }];
  }
  return hunksOf(removed, added, start);
}

function hunksOf(a: readonly string[], b: readonly string[], offset: number): Hunk[] {
  const common = commonLengths(a, b);
  const width = b.length + 1;
  const hunks: { from_line: number; removed: string[]; to_line: number; added: string[] }[] = [];
  let [i, j, isOpen] = [0, 0, false];
  while (i < a.length || j < b.length) {
    const [left, right] = [a[i], b[j]];
    if (left !== undefined && left === right) {
      [i, j, isOpen] = [i + 1, j + 1, false];
      continue;
    }
    if (!isOpen) hunks.push({ from_line: offset + i + 1, removed: [], to_line: offset + j + 1, added: [] });
    isOpen = true;
    const hunk = hunks.at(-1);
    const isRemoved = right === undefined || (common[(i + 1) * width + j] ?? 0) >= (common[i * width + j + 1] ?? 0);
    if (left !== undefined && isRemoved) {
      hunk?.removed.push(left);
      i++;
    } else if (right !== undefined) {
      hunk?.added.push(right);
      j++;
    }
  }
  return hunks;
}

/** How many lines the rests of both texts have in common, by the lines at which they begin. */
function commonLengths(a: readonly string[], b: readonly string[]): Uint16Array {
  const width = b.length + 1;
  // The shorter text has at most 2,000 lines here, and no common part is longer.
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] =
        a[i] === b[j]
          ? (common[(i + 1) * width + j + 1] ?? 0) + 1
          : Math.max(common[(i + 1) * width + j] ?? 0, common[i * width + j + 1] ?? 0);
    }
  }
  return common;
}
