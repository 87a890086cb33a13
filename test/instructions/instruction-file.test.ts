import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GatewayError } from "../../src/failure/gateway-error.ts";
import type { InstructionContent, InstructionKey } from "../../src/instructions/instruction.ts";
import { filePathOf, readFile, writeFile } from "../../src/instructions/instruction-file.ts";

const DOCUMENT = {
  kind: "rule",
  slug: "thresholds",
  group_id: "eng",
  title: 'Thresholds: "when"',
  description: "",
  body: "Ask.\n",
  frontmatter: { owner: "platform" },
};

function refusalOf(content: string): { message: string; field?: string } {
  try {
    readFile(content);
  } catch (thrown) {
    const { code, message, field } = GatewayError.from(thrown);
    expect(code).toBe("invalid_request");
    return { message, ...(field === undefined ? {} : { field }) };
  }
  throw new Error("it was read");
}

describe("a file", () => {
  it("is front matter and the body as it is", () => {
    const file = `---
kind: "rule"
slug: "thresholds"
group: "eng"
title: "Thresholds: \\"when\\""
frontmatter.owner: "platform"
---
Ask.
`;
    expect(writeFile(DOCUMENT)).toBe(file);
    expect(readFile(file)).toEqual(DOCUMENT);
  });

  it("may be written by hand", () => {
    const file = "---\r\nslug:  thresholds \r\n\r\ntitle: When: ask\r\nkind: rule\r\n--- \r\nAsk.\r\n---\r\n";
    expect(readFile(file)).toEqual({
      ...{ kind: "rule", slug: "thresholds", group_id: "", title: "When: ask", description: "" },
      ...{ body: "Ask.\r\n---\r\n", frontmatter: {} },
    });
  });

  it("gives back every document that it was made of", () => {
    const text = fc.string({ unit: fc.constantFrom(..."aÀ😀 :-#\"'\\\n\r\t\u2028\u0001{}|>"), maxLength: 30 });
    const name = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,9}$/);
    const document: fc.Arbitrary<InstructionKey & InstructionContent> = fc.record({
      ...{ kind: name, slug: name, group_id: text, title: text, description: text },
      body: fc.oneof(text, fc.constant("---\nkind: x\n---\n")),
      frontmatter: fc.dictionary(name, text, { noNullPrototype: true }),
    });
    fc.assert(
      fc.property(document, (given) => {
        expect(readFile(writeFile(given))).toEqual(given);
      }),
    );
  });

  it.each([
    ["", undefined, /front matter/],
    ["Ask.", undefined, /front matter/],
    ["---\nkind: rule\nslug: a\n", undefined, /front matter/],
    ["---\nkind: rule\nslug: a ---\nAsk.", undefined, /front matter/],
    ["---\nkind: rule\n---\nAsk.", "slug", /no slug/],
    ["---\nslug: a\n---\nAsk.", "kind", /no kind/],
    ["---\nkind: rule\nslug: a\ntitel: A\n---\nAsk.", "titel", /not known/],
    ["---\nkind: rule\nslug: a\nkind: rule\n---\nAsk.", "kind", /twice/],
    ['---\nkind: "rule\nslug: a\n---\nAsk.', "kind", /JSON string/],
    ["---\nkind: [rule]\nslug: a\n---\nAsk.", "kind", /JSON string/],
    ["---\nkind: rule\nslug: a\ntitle:\n---\nAsk.", "title", /JSON string/],
    ["---\nkind: rule\nslug: a\n  title: A\n---\nAsk.", undefined, /name: value/],
    ["---\nkind rule\nslug: a\n---\nAsk.", undefined, /name: value/],
  ])("is refused with the field to blame: %j", (content, field, message) => {
    expect(refusalOf(content)).toEqual({
      message: expect.stringMatching(message),
      ...(field === undefined ? {} : { field }),
    });
  });
});

describe("the path of a file", () => {
  const key = { group_id: "", kind: "groups", slug: "a" };
  it.each([
    [key, "groups/a.md"],
    [{ ...key, group_id: "eng" }, "groups/eng/groups/a.md"],
    [{ ...key, group_id: "../.." }, "groups/%2E%2E%2F%2E%2E/groups/a.md"],
    [{ ...key, group_id: "/é \ud800" }, "groups/%2F%C3%A9%20%EF%BF%BD/groups/a.md"],
  ])("of %j is %s", (of, path) => {
    expect(filePathOf(of)).toBe(path);
  });
});
