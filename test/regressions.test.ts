/** What users of other gateways complained about (protocol.md section 11) cannot come back unseen. */
import { expect, it } from "vitest";
import { citedIn, idsOf, REQUIREMENTS } from "./requirements.ts";

const sources = import.meta.glob<string>("./**/*.test.ts", { query: "?raw", import: "default", eager: true });

it("each sentence of the regression list is named by a test [P-76]", () => {
  const sentences = idsOf(REQUIREMENTS).filter((id) => id.startsWith("R-"));
  expect(sentences).toHaveLength(31);
  const cited = new Set(Object.values(sources).flatMap(citedIn));
  expect(sentences.filter((id) => !cited.has(id))).toEqual([]);
});
