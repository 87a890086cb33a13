/**
 * Every requirement by its id, and which of them no test proves yet (style.md section 11.5). A test proves a
 * requirement by naming it in its title: `[RG-14]`, or `[RG-14, T-27]`.
 */

/** Numbers within families: `"1-12 20"`. */
export type Ranges = Readonly<Record<string, string>>;

/** The ids of `requirements.md` (RB to T) and `protocol.md` (P, R); void ones are left out. */
export const REQUIREMENTS: Ranges = {
  RB: "1-42",
  BF: "1-65",
  OT: "1-29",
  CN: "1-31",
  RG: "1-30",
  PS: "1-12 20-26 28-35 40-43 50-65 70-76",
  T: "1-51",
  P: "1-76",
  R: "1-31",
};

/** The ids that no test cites, by what will bring them. `node test/requirements.update.ts` takes the cited ones out. */
export const OPEN: Readonly<Record<string, Ranges>> = {};

/** The ids that ranges stand for. */
export function idsOf(ranges: Ranges): string[] {
  return Object.entries(ranges).flatMap(([family, numbers]) =>
    numbers.split(" ").flatMap((range) => {
      const [first = Number.NaN, last = first] = range.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, at) => `${family}-${first + at}`);
    }),
  );
}

const CITATION = /\[((?:[A-Z]{1,2}-\d+)(?:, [A-Z]{1,2}-\d+)*)\]/g;

/** The ids that the text of a test file cites. */
export function citedIn(source: string): string[] {
  return Array.from(source.matchAll(CITATION), ([, ids = ""]) => ids.split(", ")).flat();
}
