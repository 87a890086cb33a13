/** The URL that a browser is sent to, and what it may come back with. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  type AuthorizationRequest,
  authorizationUrl,
  checkCallback,
} from "../../src/credentials/authorization-request.ts";

const VERIFIER = "v".repeat(43);
const REQUEST: AuthorizationRequest = {
  authorization_endpoint: "https://as.example/authorize",
  client_id: "client-1",
  redirectUri: "https://gateway.example/connect/callback",
  state: "the-state",
  verifier: VERIFIER,
  scopes: ["read", "write"],
  resource: "https://docs.example/mcp",
  extra_auth_params: {},
};
const SENT = {
  response_type: "code",
  client_id: "client-1",
  redirect_uri: "https://gateway.example/connect/callback",
  state: "the-state",
  code_challenge: createHash("sha256").update(VERIFIER).digest("base64url"),
  code_challenge_method: "S256",
  scope: "read write",
  resource: "https://docs.example/mcp",
};

/** Names and values of the query; a repeated name shows. */
async function sent(changes: Partial<AuthorizationRequest> = {}) {
  const { searchParams } = new URL(await authorizationUrl({ ...REQUEST, ...changes }, false));
  expect(new Set(searchParams.keys()).size).toBe([...searchParams].length);
  return Object.fromEntries(searchParams);
}

describe("the authorization URL", () => {
  it("asks for a code, bound to state and verifier, for one resource [P-59]", async () => {
    const url = new URL(await authorizationUrl(REQUEST, false));
    expect(`${url.origin}${url.pathname}`).toBe(REQUEST.authorization_endpoint);
    expect(await sent()).toEqual(SENT);
  });

  it("names no scope when none is asked for", async () => {
    const { scope: _, ...others } = SENT;
    expect(await sent({ scopes: [] })).toEqual(others);
  });

  it("takes further parameters, and none of its own from them [RB-10, P-59]", async () => {
    const owned = ["response_type", "response_mode", "client_id", "redirect_uri", "state", "scope", "code_challenge"];
    const more = ["code_challenge_method", "resource", "request", "request_uri"];
    const taken = Object.fromEntries([...owned, ...more].map((name) => [name, "theirs"]));
    const extra_auth_params = { ...taken, audience: "api.example", prompt: "select_account" };
    expect(await sent({ extra_auth_params })).toEqual({
      ...SENT,
      audience: "api.example",
      prompt: "select_account",
    });
    const { scope: _, ...others } = SENT;
    expect(await sent({ extra_auth_params: { scope: "theirs" }, scopes: [] })).toEqual(others);
  });

  it("keeps the endpoint's own query, but for what is ours", async () => {
    const authorization_endpoint = "https://as.example/authorize?tenant=acme&client_id=theirs&client_id=other#top";
    expect(await sent({ authorization_endpoint })).toEqual({ ...SENT, tenant: "acme" });
    expect(await authorizationUrl({ ...REQUEST, authorization_endpoint }, false)).not.toContain("#");
  });

  it("asks for consent again where a refresh token depends on it", async () => {
    const scopes = ["read", "offline_access"];
    expect(await sent({ scopes })).toEqual({ ...SENT, scope: "read offline_access", prompt: "consent" });
    expect(await sent({ scopes, extra_auth_params: { prompt: "login consent" } })).toMatchObject({
      prompt: "login consent",
    });
  });

  it.each([
    ["https://notion.com/oauth", "user"],
    ["https://api.notion.com/v1/oauth/authorize", "user"],
    ["https://API.NOTION.COM./v1/oauth/authorize", "user"],
    ["https://notnotion.com/oauth", undefined],
    ["https://notion.com.evil.example/oauth", undefined],
    ["https://evil.example/notion.com", undefined],
  ])("at %s has owner=%s, which an admin may change", async (authorization_endpoint, owner) => {
    expect((await sent({ authorization_endpoint }))["owner"]).toBe(owner);
    const extra_auth_params = { owner: "workspace" };
    expect((await sent({ authorization_endpoint, extra_auth_params }))["owner"]).toBe("workspace");
  });

  it.each([null, "", "/authorize", "http://as.example/authorize", "javascript:alert(1)", "data:text/html,x"])(
    "never leads to %s",
    async (authorization_endpoint) => {
      await expect(authorizationUrl({ ...REQUEST, authorization_endpoint }, false)).rejects.toMatchObject({
        code: "invalid_request",
        field: "authorization_endpoint",
      });
    },
  );

  it("may be plain http in development, and never anything else", async () => {
    const at = (authorization_endpoint: string) => authorizationUrl({ ...REQUEST, authorization_endpoint }, true);
    expect(await at("http://127.0.0.1:1/authorize")).toMatch(/^http:\/\/127\.0\.0\.1:1\/authorize\?/);
    await expect(at("javascript:alert(1)")).rejects.toMatchObject({ field: "authorization_endpoint" });
  });
});

describe("the callback", () => {
  const KEPT = { issuer: "https://as.example", iss_required: false, state: "the-state" };
  const ISS = `&iss=${encodeURIComponent("https://as.example")}`;
  const check = (query: string, kept: Partial<typeof KEPT> = {}) =>
    checkCallback(new URLSearchParams(query), { ...KEPT, ...kept });
  const INVALID = { ok: false, reason: "invalid", message: "This is no answer to the authorization request." };

  it.each([
    ["with the issuer", `code=c0de&state=the-state${ISS}`, true],
    ["with the issuer that nobody promised", `code=c0de&state=the-state${ISS}`, false],
    ["without the issuer that nobody promised", "code=c0de&state=the-state", false],
    ["with parameters of its own", "code=c0de&state=the-state&session_state=x&scope=read", false],
  ])("%s gives the code [P-58]", (_, query, iss_required) => {
    expect(check(query, { iss_required })).toEqual({ ok: true, code: "c0de" });
  });

  it.each<[string, string, Partial<typeof KEPT>?]>([
    ["of another issuer", "code=c0de&state=the-state&iss=https://evil.example"],
    ["of another issuer, with a promise", "code=c0de&state=the-state&iss=https://evil.example", { iss_required: true }],
    ["of the issuer with a slash", `code=c0de&state=the-state${ISS}/`],
    ["of the issuer in capitals", "code=c0de&state=the-state&iss=https://AS.example"],
    ["of an issuer with its port", `code=c0de&state=the-state${ISS}:443`],
    ["of an empty issuer", "code=c0de&state=the-state&iss="],
    ["of two issuers", `code=c0de&state=the-state${ISS}${ISS}`],
    ["without the issuer that was promised", "code=c0de&state=the-state", { iss_required: true }],
    ["of an issuer when none is kept", `code=c0de&state=the-state${ISS}`, { issuer: "" }],
    ["with another state", "code=c0de&state=other"],
    ["without a state", "code=c0de"],
    ["with an empty state", "code=c0de&state=", { state: "" }],
    ["with two states", "code=c0de&state=the-state&state=the-state"],
    ["without a code", "state=the-state"],
    ["with an empty code", "code=&state=the-state"],
    ["with two codes", "code=c0de&code=c0de&state=the-state"],
    ["with a token", "code=c0de&state=the-state&id_token=x"],
    ["with an answer in a token", "response=x.y.z&state=the-state"],
    ["with an error of another issuer", "error=c4n4ry&state=the-state&iss=https://evil.example"],
    ["with an error for another state", "error=c4n4ry&state=other"],
  ])("%s is not believed [P-58]", (_, query, kept) => {
    expect(check(query, kept)).toEqual(INVALID);
  });

  it("with an error says so in our words, and keeps theirs apart and short", () => {
    const query = `error=access_denied&error_description=${encodeURIComponent("<b>No</b>")}&state=the-state${ISS}`;
    expect(check(query)).toEqual({
      ok: false,
      reason: "denied",
      message: "Access was not granted.",
      denial: { error: "access_denied", description: "<b>No</b>" },
    });
    const long = check(`error=${"e".repeat(9_999)}&error_description=${"d".repeat(9_999)}&state=the-state&code=c0de`);
    expect(long).toEqual({
      ok: false,
      reason: "denied",
      message: "The authorization server has refused the authorization.",
      denial: { error: "e".repeat(500), description: "d".repeat(500) },
    });
    expect(check("error=invalid_target&state=the-state")).toMatchObject({
      message: expect.stringContaining("resource"),
      denial: { error: "invalid_target", description: null },
    });
  });
});
