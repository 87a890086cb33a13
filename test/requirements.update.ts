/**
 * Takes the ids that a test cites out of `OPEN` in `requirements.ts`: `node test/requirements.update.ts`. An id whose
 * last citation has gone is put back by hand, with what will bring it; `requirements.test.ts` names it.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { citedIn, idsOf, OPEN, type Ranges } from "./requirements.ts";

const tests = globSync("**/*.test.ts", { cwd: import.meta.dirname }).filter((path) => path !== "requirements.test.ts");
const cited = new Set(tests.flatMap((path) => citedIn(readFileSync(`${import.meta.dirname}/${path}`, "utf8"))));

const blocks = Object.entries(OPEN).map(([issue, ranges]) => {
  const lines = Object.entries(ranges).flatMap(([family, numbers]) => {
    const left = numbersOf({ [family]: numbers });
    return left.length === 0 ? [] : [`    ${family}: "${rangesOf(left)}",\n`];
  });
  return lines.length === 0 ? "" : `  ${JSON.stringify(issue)}: {\n${lines.join("")}  },\n`;
});
const file = `${import.meta.dirname}/requirements.ts`;
const text = readFileSync(file, "utf8");
writeFileSync(file, text.replace(/(export const OPEN[^{]*= )\{[\s\S]*?\n\};/, `$1{\n${blocks.join("")}};`));

/** The numbers of one family that no test cites. */
function numbersOf(family: Ranges): number[] {
  return idsOf(family).flatMap((id) => (cited.has(id) ? [] : [Number(id.split("-")[1])]));
}

/** Ascending numbers as `"1-3 5"`. */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(" ");
}
