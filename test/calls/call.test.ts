import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cut, loggedArguments } from "../../src/calls/call.ts";

const logged = (args: unknown) => {
  const text = loggedArguments(args);
  return text === null ? null : JSON.parse(text);
};

describe("logged arguments", () => {
  it.each([[{}], [null], [undefined], [[]], ["text"]])("are null where there are none: %o", (args) => {
    expect(logged(args)).toBeNull();
  });

  it.each([
    [
      { a: 1, b: -0.5, c: true, d: null },
      { a: 1, b: -0.5, c: true, d: null },
    ],
    [
      { a: "text", b: "" },
      { a: "text", b: "" },
    ],
    [
      { a: [1, "x"], b: { c: null } },
      { a: '[1,"x"]', b: '{"c":null}' },
    ],
    [
      { a: [], b: {} },
      { a: "[]", b: "{}" },
    ],
    [{ a: "x".repeat(300) }, { a: "x".repeat(300) }],
    [{ a: "x".repeat(301) }, { a: `${"x".repeat(300)}…` }],
    [{ a: { b: "x".repeat(400) } }, { a: `{"b":"${"x".repeat(294)}…` }],
  ])("keep numbers, booleans and null, and hold the rest as short text: %o", (args, shown) => {
    expect(logged(args)).toEqual(shown);
  });

  it("hide what is called a secret, whatever it is and however deep [PS-35, T-3]", () => {
    const names = ["password", "Password", "userPassword", "passwords", "secret", "client_secret", "SECRET", "token"];
    names.push("access-token", "maxTokens", "authorization", "Proxy-Authorization", "api_key", "api-key", "API-KEY");
    names.push("apikey", "apiKey", "x-api-key");
    const hidden = "[redacted]";
    for (const name of names) {
      for (const value of ["c4n4ry", 42, true, null, ["c4n4ry"], { a: "c4n4ry" }]) {
        expect(logged({ [name]: value, q: "x" })).toEqual({ [name]: hidden, q: "x" });
        const deep = logged({ a: { b: [{ [name]: value, c: 1 }] } });
        expect(JSON.parse(deep.a)).toEqual({ b: [{ [name]: hidden, c: 1 }] });
      }
    }
  });

  it("show what only looks like it", () => {
    const args = Object.fromEntries(["pass", "key", "auth", "api key", "to_ken", "keyapi"].map((name) => [name, "x"]));
    expect(logged(args)).toEqual(args);
  });

  it("hide what the operator names besides, by any part of a name", () => {
    const args = { "Customer-Name": "x", other: { my_iban_2: "y", plain: "z" }, password: "p", name: "n" };
    const shown = JSON.parse(loggedArguments(args, ["customer_name", "IBAN"]) ?? "");
    expect(shown).toEqual({
      ...{ "Customer-Name": "[redacted]", other: '{"my_iban_2":"[redacted]","plain":"z"}' },
      ...{ password: "[redacted]", name: "n" },
    });
  });

  it("redact before they cut, so that no half of a secret stays [PS-35]", () => {
    const args = { a: { filler: "x".repeat(280), password: "c4n4ry" } };
    expect(loggedArguments(args)).not.toContain("c4n");
  });

  it("keep names that JavaScript has a use for", () => {
    expect(loggedArguments(JSON.parse('{"__proto__":"a","constructor":{"__proto__":{"token":"b"}}}'))).toBe(
      '{"__proto__":"a","constructor":"{\\"__proto__\\":{\\"token\\":\\"[redacted]\\"}}"}',
    );
  });

  it("are bounded, whatever an agent sends", () => {
    const args = fc.dictionary(fc.string({ maxLength: 10 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 });
    fc.assert(
      fc.property(args, (value) => {
        for (const shown of Object.values<unknown>(logged(value) ?? {})) {
          if (typeof shown === "string") expect(shown.length).toBeLessThanOrEqual(301);
          else expect(["number", "boolean"].includes(typeof shown) || shown === null).toBe(true);
        }
      }),
    );
  });
});

describe("a cut text", () => {
  it("never ends in half a character", () => {
    expect(cut(`${"x".repeat(299)}🚀`)).toBe(`${"x".repeat(299)}…`);
    expect(cut(`${"x".repeat(298)}🚀`)).toBe(`${"x".repeat(298)}🚀`);
    expect(cut("")).toBe("");
  });
});
