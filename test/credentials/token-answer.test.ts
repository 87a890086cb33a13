/** What the answers of token endpoints mean, by status and code. */
import { describe, expect, it } from "vitest";
import { readTokenAnswer } from "../../src/credentials/token-answer.ts";

const json = (value: unknown) => JSON.stringify(value);
const form = (value: Record<string, string>) => new URLSearchParams(value).toString();
const PLAIN = { access_token: "at", refresh_token: null, token_type: "Bearer", expires_in: null, scopes: null };
/** What a careless server repeats, and an error text that tries to look like something else (T-2, T-42). */
const ECHO = "c4n4ry 401 timeout not found invalid_grant";

describe("an answer with tokens", () => {
  it.each([
    ["alone", json({ access_token: "at" }), {}],
    [
      "in full",
      json({ access_token: "at", refresh_token: "rt", token_type: "bearer", expires_in: 60, scope: "a b" }),
      { refresh_token: "rt", token_type: "bearer", expires_in: 60, scopes: ["a", "b"] },
    ],
    [
      "as a form",
      form({ access_token: "at", refresh_token: "r t&=", expires_in: "60", scope: "a b", token_type: "Bearer" }),
      { refresh_token: "r t&=", expires_in: 60, scopes: ["a", "b"] },
    ],
    [
      "with nulls",
      json({ access_token: "at", refresh_token: null, expires_in: null, scope: null, token_type: null }),
      {},
    ],
    ["with empty texts", json({ access_token: "at", refresh_token: "", token_type: "", scope: "" }), { scopes: [] }],
    ["with what is no text", json({ access_token: "at", refresh_token: 7, token_type: {}, scope: ["a"] }), {}],
    ["with members of its own", json({ access_token: "at", ok: true, authed_user: { id: "U1" } }), {}],
  ])("%s is read [BF-49]", (_, text, expected) => {
    expect(readTokenAnswer(200, text)).toEqual({ ok: true, answer: { ...PLAIN, ...expected } });
  });

  it.each([
    [3600, 3600],
    ["3600", 3600],
    [" 3600 ", 3600],
    [3599.9, 3599],
    ["0.5", null],
    [0, null],
    ["0", null],
    [-1, null],
    ["-1", null],
    ["soon", null],
    ["", null],
    ["0x10", null],
    ["1e3", null],
    [true, null],
    [[3600], null],
    [{}, null],
    [1e300, 3_153_600_000],
    ["9".repeat(400), 3_153_600_000],
  ])("that expires in %j does so in %j", (expires_in, expected) => {
    const outcome = readTokenAnswer(200, json({ access_token: "at", expires_in }));
    expect(outcome).toEqual({ ok: true, answer: { ...PLAIN, expires_in: expected } });
    if (expected !== null) expect(new Date(expected * 1000).toISOString()).toMatch(/Z$/);
  });
});

describe("an answer without tokens", () => {
  it.each<[number, string, string]>([
    // The grant.
    [400, json({ error: "invalid_grant", error_description: ECHO }), "grant_refused"],
    [401, json({ error: "invalid_grant" }), "grant_refused"],
    [400, form({ error: "invalid_grant", error_description: ECHO }), "grant_refused"],
    [400, json({ error: "unauthorized_client" }), "grant_refused"],
    [200, json({ error: "invalid_grant" }), "grant_refused"],
    [200, form({ error: "bad_refresh_token", error_description: ECHO }), "grant_refused"],
    [200, json({ error: "bad_verification_code" }), "grant_refused"],
    [200, json({ ok: false, error: "invalid_refresh_token" }), "grant_refused"],
    [200, json({ ok: false, error: "invalid_code" }), "grant_refused"],
    // The client.
    [401, json({ error: "invalid_client", error_description: ECHO }), "client_refused"],
    [400, json({ error: "invalid_client" }), "client_refused"],
    [401, "", "client_refused"],
    [401, "Unauthorized", "client_refused"],
    [401, json({ message: ECHO }), "client_refused"],
    [200, json({ error: "incorrect_client_credentials" }), "client_refused"],
    [200, json({ ok: false, error: "bad_client_secret" }), "client_refused"],
    [200, json({ ok: false, error: "invalid_client_id" }), "client_refused"],
    // The request.
    [400, json({ error: "invalid_request", error_description: ECHO }), "refused"],
    [400, json({ error: "invalid_scope" }), "refused"],
    [400, json({ error: "invalid_target" }), "refused"],
    [400, json({ error: "unsupported_grant_type" }), "refused"],
    [401, json({ error: "invalid_token" }), "refused"],
    [400, "", "refused"],
    [400, `<html>${ECHO}</html>`, "refused"],
    [403, json({ error: ECHO }), "refused"],
    [404, "Not found", "refused"],
    [400, json({ error: { code: "invalid_grant" } }), "refused"],
    // An outage, whatever it says.
    [429, json({ error: "invalid_grant" }), "unavailable"],
    [500, json({ error: "invalid_grant" }), "unavailable"],
    [503, "401 invalid_client", "unavailable"],
    [599, "", "unavailable"],
    // No answer at all.
    [200, "", "unavailable"],
    [200, "{}", "unavailable"],
    [200, "[]", "unavailable"],
    [200, "null", "unavailable"],
    [200, `<html>${ECHO}</html>`, "unavailable"],
    [200, json({ access_token: "" }), "unavailable"],
    [200, json({ access_token: 7 }), "unavailable"],
    [200, json({ access_token: "two\r\nlines" }), "unavailable"],
    [200, json({ access_token: "at", error: "something" }), "unavailable"],
    [200, json({ error: ECHO }), "unavailable"],
    [201, json({ access_token: "at" }), "unavailable"],
    [204, "", "unavailable"],
    [302, json({ access_token: "at" }), "unavailable"],
    [302, json({ error: "invalid_grant" }), "unavailable"],
  ])("with status %d and %s is: %3$s [BF-49, CN-20, T-42]", (status, text, refusal) => {
    const outcome = readTokenAnswer(status, text);
    expect(outcome).toEqual({ ok: false, refusal, message: expect.stringMatching(/^The authorization server .*\.$/) });
    expect(JSON.stringify(outcome)).not.toMatch(/c4n4ry|html/);
  });

  it("says what it is that an admin can change [R-8]", () => {
    const messageOf = (error: string) => {
      const outcome = readTokenAnswer(400, json({ error }));
      return outcome.ok ? "" : outcome.message;
    };
    expect(messageOf("invalid_target")).toContain("resource");
    expect(messageOf("invalid_scope")).toContain("scopes");
  });
});
