/** That instructions name nobody (OT-12): the vectors of the rule, and what it is not to be fooled by. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findNames } from "../../src/instructions/zero-names.ts";

const ATTRIBUTED = "quotation attributed to a person";
const forbidden = (term: string) => `forbidden term (person or client): '${term}'`;

const found = (
  content: string | Partial<Parameters<typeof findNames>[0]>,
  terms: readonly string[] = [],
  forbid_attribution = true,
) => {
  const given = typeof content === "string" ? { body: content } : content;
  const whole = { title: "", description: "", body: "", frontmatter: {}, ...given };
  return findNames(whole, { terms, forbid_attribution });
};
const messages = (...args: Parameters<typeof found>) => found(...args).map(({ message }) => message);

describe("a quotation with a name behind it", () => {
  it.each([
    ["« On crève sinon » — Antonini"],
    ["« x » (Antonini)"],
    ['"x" - Bob'],
    ['"x"–Bob'],
    ["”x” — Élodie"],
    ["« x »\n— Antonini"],
    ["« x »\u00a0—\u00a0Antonini"],
    ['"x" - O\'Brien'],
    ['"x" — Иван'],
    ["＂x＂ － Bob"],
    ['"x" - \u200bBob'],
    ['"x" (Jean Dupont)'],
    ['"x" (Antonini, 2024)'],
    ["« x » — A\u0301ntonini"],
  ])("is refused: %j [OT-12]", (text) => {
    expect(messages(text)).toEqual([ATTRIBUTED]);
    expect(messages({ title: text })).toEqual([ATTRIBUTED]);
    expect(messages({ description: text })).toEqual([ATTRIBUTED]);
    expect(messages({ frontmatter: { source: text } })).toEqual([ATTRIBUTED]);
    expect(messages(text, [], false)).toEqual([]);
  });

  it.each([
    ['"x" - bob'],
    ['"a" - B'],
    ["« x » (bob)"],
    ["« x » (2024)"],
    ['"x" — élodie'],
    ['"x", and Bob'],
    ["x — Bob"],
    ['Answer "yes"\n- Then go on'],
    ['Answer "yes"\r\n- Then go on'],
    ['"x" + Bob'],
  ])("is not seen in %j [OT-12]", (text) => {
    expect(messages(text)).toEqual([]);
  });
});

describe("a forbidden term", () => {
  it.each([
    ["a thomasine church", "Thomas"],
    ["THÔMAS", "Thomas"],
    ["thomas", "Thómas"],
    ["Ｔｈｏｍａｓ", "thomas"],
    ["Tho\u00admas, Tho\u200bmas", "Thomas"],
    ["STRASSE", "Straße"],
    ["ΘΩΜΑΣΙΝΕ", "θωμας"],
    ["met Jean\n  Dupont there", "Jean Dupont"],
    ["50% off_", "% off_"],
  ])("is found in %j: %s [OT-12]", (text, term) => {
    expect(found(text, [term])).toEqual([{ argument: "body", message: forbidden(term) }]);
    expect(found({ title: text }, [term])).toEqual([{ argument: "title", message: forbidden(term) }]);
    expect(found({ description: text }, [term])).toEqual([{ argument: "description", message: forbidden(term) }]);
  });

  it("is not found where it is not, nor across two texts, and an empty one nowhere [OT-12]", () => {
    expect(messages("tomas", ["Thomas"])).toEqual([]);
    expect(messages({ title: "Tho", body: "mas" }, ["Thomas"])).toEqual([]);
    expect(messages("any text", ["", " ", "\u0301"])).toEqual([]);
  });

  it("is one finding for each term, in their order, before that of attribution [OT-12]", () => {
    const text = { title: "Thomas", body: "Thomas and Delgado say: « x » — Antonini" };
    expect(found(text, ["Delgado", "Nobody", "Thomas"])).toEqual([
      { argument: "body", message: forbidden("Delgado") },
      { argument: null, message: forbidden("Thomas") },
      { argument: "body", message: ATTRIBUTED },
    ]);
  });

  it("is found wherever it stands, in any case, form and with any marks [OT-12]", () => {
    const word = fc.stringMatching(/^[a-z]{2,8}$/);
    const around = fc.string({ unit: "grapheme", maxLength: 20 });
    const disguise = fc.constantFrom<(text: string) => string>(
      (text) => text.toUpperCase(),
      (text) => text.replace(/./g, "$&\u0301").normalize("NFC"),
      (text) => text.replace(/./g, (char) => String.fromCodePoint(0xff00 + char.charCodeAt(0) - 0x20)),
      (text) => text.split("").join("\u200d"),
    );
    fc.assert(
      fc.property(around, word, around, disguise, (before, term, after, disguised) => {
        expect(messages(`${before} ${disguised(term)} ${after}`, [term], false)).toEqual([forbidden(term)]);
      }),
    );
  });
});
