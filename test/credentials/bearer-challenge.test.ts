/** Reading a `WWW-Authenticate` header, and scopes as they come off the wire. */
import { describe, expect, it } from "vitest";
import { bearerChallenge, scopesIn } from "../../src/credentials/bearer-challenge.ts";

describe("the challenge", () => {
  it.each([
    [null, null],
    ["", null],
    ['Basic realm="a"', null],
    ["Negotiate YII==", null],
    ["Bearer", {}],
    ["bearer", {}],
    ['Bearer resource_metadata="https://a.example/x", scope="read write"', ["https://a.example/x", "read write"]],
    ["Bearer scope=read, resource_metadata=https://a.example/x", ["https://a.example/x", "read"]],
    ['bEARER  Scope = "read" ,  Resource_Metadata="https://a.example/x"', ["https://a.example/x", "read"]],
    ['Basic realm="Bearer scope=\\"no\\"", Bearer scope="read"', [undefined, "read"]],
    ['Negotiate YII==, Bearer scope="read", Basic scope="no"', [undefined, "read"]],
    ['Bearer scope="a", Bearer scope="b", resource_metadata="c"', ["c", "a"]],
    ['Bearer scope="a \\"quoted\\" \\\\ one"', [undefined, 'a "quoted" \\ one']],
    ['Bearer scope="no end', [undefined, ""]],
    ['Bearer __proto__="x", scope="read"', [undefined, "read"]],
  ])("%s", (header, expected) => {
    const challenge = bearerChallenge(header);
    const read = Array.isArray(expected) ? [challenge?.["resource_metadata"], challenge?.["scope"]] : challenge;
    expect(read).toEqual(expected);
  });

  it("of any length is read at once", () => {
    expect(bearerChallenge(`Bearer ${'a="'.repeat(1_000_000)}`)).not.toBeNull();
    expect(bearerChallenge(`Bearer ${"a ".repeat(1_000_000)}`)).toEqual({});
  });
});

describe("scopes", () => {
  it.each([
    ["read write", ["read", "write"]],
    ["  read\t write\n", ["read", "write"]],
    ["write read write", ["write", "read"]],
    ["", []],
    [
      ["read", "mcp:tools", "read"],
      ["read", "mcp:tools"],
    ],
    [["read", 7, null, "two words", 'quo"te', "back\\slash", ""], ["read"]],
    [undefined, []],
    [null, []],
    [7, []],
    [{ 0: "read" }, []],
  ])("of %j are %j", (value, expected) => {
    expect(scopesIn(value)).toEqual(expected);
  });
});
