/**
 * That instructions name no person and no client (OT-12). It finds the terms of a blocklist, and quotations that are
 * attributed to somebody. Pure; who may know the terms is for the use cases to say.
 */
import type { InstructionContent } from "./instruction.ts";

/** What an org forbids in its instructions. */
export interface Blocklist {
  readonly terms: readonly string[];
  /** Whether a quotation may name who said it. */
  readonly forbid_attribution: boolean;
}

/** One reason to refuse a text. */
export interface NameFinding {
  /** The only argument it was found in; null for several. */
  readonly argument: string | null;
  readonly message: string;
}

/** Two letters or more, the first one a capital; an apostrophe may stand between them. */
const NAME = "\\p{Lu}['’]?[\\p{L}\\p{N}]";
/**
 * A closing quote, then a dash and a name, or a name in brackets. Before a hyphen there is no new line: a list in
 * Markdown begins with one.
 */
const ATTRIBUTION = new RegExp(`[»"”](?:(?:[^\\S\\n]*-|\\s*[—–])[^\\S\\n]*|\\s*\\(\\s*)${NAME}`, "u");

/** Every reason to refuse a text: the terms in their order, then the attribution. */
export function findNames(content: InstructionContent, { terms, forbid_attribution }: Blocklist): NameFinding[] {
  const { title, description, body, frontmatter } = content;
  const texts = Object.entries({ title, description, body }).concat(
    Object.entries(frontmatter).map(([name, value]) => [`frontmatter.${name}`, value]),
  );
  const folded = texts.map(([argument, text]) => [argument, fold(text)] as const);
  const findings: NameFinding[] = [];
  const add = (message: string, found: readonly (readonly [argument: string, text: string])[]) => {
    const [first, ...others] = found;
    if (first !== undefined) findings.push({ argument: others.length === 0 ? first[0] : null, message });
  };
  for (const term of terms) {
    const sought = fold(term);
    // A term of nothing but marks and blanks would be found in every text.
    if (sought.trim() === "") continue;
    add(
      `forbidden term (person or client): '${term}'`,
      folded.filter(([, text]) => text.includes(sought)),
    );
  }
  if (forbid_attribution) {
    add(
      "quotation attributed to a person",
      texts.filter(([, text]) => ATTRIBUTION.test(plain(text))),
    );
  }
  return findings;
}

/** A text in compatibility form, without diacritics and without what cannot be seen. */
function plain(text: string): string {
  return text.normalize("NFKD").replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, "");
}

/** Texts that differ only in case, diacritics, or where lines are wrapped become equal. */
function fold(text: string): string {
  // Upper case first, for letters with several lower forms (ß and ss, σ and ς).
  return plain(plain(text).toUpperCase().toLowerCase()).replaceAll("ς", "σ").replaceAll(/\s+/g, " ");
}
