/** Sign-in at the identity provider: what is asked for, and which answers count. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { OidcSettings } from "../../src/config.ts";
import { causesOf } from "../../src/platform/log.ts";
import {
  ISSUER,
  identityWorld,
  metadataOf,
  NOW,
  NOW_S,
  newKey,
  type ProviderKey,
  sign,
} from "../support/identity-provider.ts";

const TOKEN = "https://token.example/token";
const METADATA = `${ISSUER}/.well-known/openid-configuration`;
const REDIRECT = "https://gateway.example/oauth/callback";
const STARTED = { redirectUri: REDIRECT, state: "st4te", nonce: "n0nce", verifier: "v".repeat(43) };
const CALLBACK = `${REDIRECT}?code=c0de&state=st4te&iss=${encodeURIComponent(ISSUER)}`;
const UNAUTHORIZED = { code: "unauthorized" };
const UNAVAILABLE = { code: "unavailable", message: "The identity provider does not answer." };

const idToken = (key: ProviderKey, claims: object = {}, header: object = {}) =>
  sign(key, { aud: "postern", nonce: "n0nce", iat: NOW_S, ...claims }, header);

/** A provider whose token endpoint answers with an ID token, and what that was asked. */
async function signInWorld(settings: Partial<OidcSettings> = {}, metadata: object = {}) {
  const made = await identityWorld(settings);
  made.world.pages[METADATA] = () => Response.json({ ...metadataOf(ISSUER), ...metadata });
  const answer = (tokens: object, init?: ResponseInit) => {
    made.world.pages[TOKEN] = () =>
      Response.json({ access_token: "at", token_type: "Bearer", expires_in: 300, ...tokens }, init);
  };
  answer({ id_token: await idToken(made.key) });
  const finish = (more: object = {}) => made.provider.finishSignIn({ ...STARTED, callbackUrl: CALLBACK, ...more });
  return { ...made, answer, finish };
}

describe("the sign-in URL", () => {
  it("asks for a code, bound to state, nonce and verifier", async () => {
    const { provider } = await signInWorld({ scopes: ["profile", "email", "groups"] });
    const url = new URL(await provider.signInUrl(STARTED));
    expect(url.origin + url.pathname).toBe("https://id.example/authorize");
    expect(Object.fromEntries(url.searchParams)).toEqual({
      tenant: "acme",
      response_type: "code",
      client_id: "postern",
      redirect_uri: REDIRECT,
      scope: "openid email profile groups",
      state: "st4te",
      nonce: "n0nce",
      code_challenge: createHash("sha256").update(STARTED.verifier).digest("base64url"),
      code_challenge_method: "S256",
    });
  });

  it.each(["http://id.example/authorize", "javascript:alert(1)", "data:text/html,x", "/authorize", undefined, 7])(
    "never leads to %s",
    async (authorization_endpoint) => {
      const { provider } = await signInWorld({}, { authorization_endpoint });
      await expect(provider.signInUrl(STARTED)).rejects.toMatchObject(UNAVAILABLE);
    },
  );

  it("is there for a client of the provider only", async () => {
    const { provider, finish, world } = await signInWorld({ client: null });
    expect(provider.canSignIn).toBe(false);
    await expect(provider.signInUrl(STARTED)).rejects.toMatchObject({ code: "not_found" });
    await expect(finish()).rejects.toMatchObject({ code: "not_found" });
    expect(world.asked).toEqual([]);
  });
});

describe("the callback", () => {
  it("brings the user, for whom the code is exchanged", async () => {
    const { finish, world, key, answer } = await signInWorld();
    answer({ id_token: await idToken(key, { email: "ada@acme.example" }) });
    expect(await finish()).toEqual({
      sub: "ada",
      email: "ada@acme.example",
      orgs: [],
      claimed: null,
      isPlatformAdmin: false,
      expiresAt: NOW + 300_000,
    });
    expect(world.asked).toEqual([METADATA, TOKEN, "https://keys.example/jwks"]);
    const { method, headers, body } = world.sent.find(({ url }) => url === TOKEN) ?? {};
    expect({ method, body: Object.fromEntries(new URLSearchParams(body)) }).toEqual({
      method: "POST",
      body: { grant_type: "authorization_code", code: "c0de", redirect_uri: REDIRECT, code_verifier: STARTED.verifier },
    });
    expect(headers).toMatchObject({ authorization: `Basic ${btoa("postern:c4n4ry")}` });
  });

  it.each([
    [["client_secret_post"], { client_id: "postern", client_secret: "c4n4ry" }, undefined],
    [["client_secret_post", "client_secret_basic"], {}, `Basic ${btoa("postern:c4n4ry")}`],
    ["client_secret_post", {}, `Basic ${btoa("postern:c4n4ry")}`],
  ])("proves the client as %j has it", async (methods, body, authorization) => {
    const { finish, world } = await signInWorld({}, { token_endpoint_auth_methods_supported: methods });
    await finish();
    const sent = world.sent.find(({ url }) => url === TOKEN);
    expect(Object.fromEntries(new URLSearchParams(sent?.body))).toMatchObject(body);
    expect(sent?.headers["authorization"]).toBe(authorization);
  });

  it("of a client without a secret names it", async () => {
    const { finish, world } = await signInWorld({ client: { id: "postern", secret: null } });
    await finish();
    expect(new URLSearchParams(world.sent.find(({ url }) => url === TOKEN)?.body).get("client_id")).toBe("postern");
  });

  it.each([
    ["another state", `${REDIRECT}?code=c0de&state=other`],
    ["no state", `${REDIRECT}?code=c0de`],
    ["two states", `${CALLBACK}&state=other`],
    ["the issuer of somebody else", `${REDIRECT}?code=c0de&state=st4te&iss=https://evil.example`],
    ["no code", `${REDIRECT}?state=st4te`],
    ["an error", `${REDIRECT}?error=access_denied&error_description=c4n4ry&state=st4te`],
    ["a token in the address", `${CALLBACK}&id_token=c4n4ry`],
    ["no address at all", "callback"],
  ])("with %s is refused, and no code is shown to anybody", async (_, callbackUrl) => {
    const { finish, world } = await signInWorld();
    const refusal = await finish({ callbackUrl }).catch((thrown: unknown) => thrown);
    expect([...world.asked, refusal]).toEqual([METADATA, expect.objectContaining(UNAUTHORIZED)]);
    expect(JSON.stringify(causesOf(refusal))).not.toContain("c4n4ry");
  });

  it("must name the issuer where the provider says that it does (RFC 9207)", async () => {
    const { finish } = await signInWorld({}, { authorization_response_iss_parameter_supported: true });
    const callbackUrl = `${REDIRECT}?code=c0de&state=st4te`;
    await expect(finish({ callbackUrl })).rejects.toMatchObject(UNAUTHORIZED);
    expect(await finish()).toMatchObject({ sub: "ada" });
  });

  it.each([
    ["another issuer", { iss: "https://evil.example" }],
    ["another client", { aud: "other" }],
    ["us and others, for the others", { aud: ["postern", "other"], azp: "other" }],
    ["us and others, for nobody", { aud: ["postern", "other"] }],
    ["another sign-in", { nonce: "other" }],
    ["no sign-in", { nonce: undefined }],
    ["long ago", { exp: NOW_S - 60 }],
    ["no time", { exp: undefined }],
    ["nobody", { sub: undefined }],
    ["a list of people", { sub: ["ada"] }],
  ])("whose ID token is for %s is refused", async (_, claims) => {
    const { finish, answer, key } = await signInWorld();
    answer({ id_token: await idToken(key, claims) });
    await expect(finish()).rejects.toMatchObject(UNAUTHORIZED);
  });

  it("whose ID token has just expired is good", async () => {
    const { finish, answer, key } = await signInWorld();
    answer({ id_token: await idToken(key, { exp: NOW_S - 59 }) });
    expect(await finish()).toMatchObject({ sub: "ada" });
  });

  it("is judged by our clock, whatever the time of the system is", async () => {
    const { finish, answer, key, world } = await signInWorld();
    world.now = Date.UTC(2001, 1, 1);
    const now = world.now / 1000;
    answer({ id_token: await idToken(key, { iat: now, exp: now + 300 }) });
    expect(await finish()).toMatchObject({ expiresAt: world.now + 300_000 });
  });

  it("whose ID token somebody else signed is refused", async () => {
    const { finish, answer, key } = await signInWorld();
    answer({ id_token: await idToken({ ...(await newKey()), kid: key.kid }) });
    await expect(finish()).rejects.toMatchObject(UNAUTHORIZED);
  });

  it("without an ID token is refused", async () => {
    const { finish, answer } = await signInWorld();
    answer({});
    await expect(finish()).rejects.toMatchObject(UNAUTHORIZED);
  });

  it.each([
    ["the code is spent", { error: "invalid_grant", error_description: "c4n4ry" }, { status: 400 }, UNAUTHORIZED],
    ["we are not known", { error: "invalid_client", error_description: "c4n4ry" }, { status: 401 }, UNAVAILABLE],
    ["the provider fails", { error: "c4n4ry" }, { status: 500 }, UNAVAILABLE],
    ["the answer has no token", { access_token: undefined, id_token: "c4n4ry" }, {}, UNAUTHORIZED],
  ])("is answered where %s, in words of ours", async (_, tokens, init, expected) => {
    const { finish, answer } = await signInWorld();
    answer(tokens, init);
    const refusal = await finish().catch((thrown: unknown) => thrown);
    expect(refusal).toMatchObject(expected);
    expect(JSON.stringify([refusal, causesOf(refusal)])).not.toContain("c4n4ry");
  });

  it.each([
    ["is a page", () => new Response("<html>", { headers: { "Content-Type": "text/html" } })],
    ["leads elsewhere", () => Response.redirect("https://evil.example/token", 307)],
    ["is not there", () => Promise.reject(new Error("no connection"))],
    ["does not end", () => Response.json({ pad: "x".repeat(256 * 1024) })],
  ])("cannot be finished where the answer %s", async (_, page) => {
    const { finish, world } = await signInWorld();
    world.pages[TOKEN] = page;
    await expect(finish()).rejects.toMatchObject(UNAVAILABLE);
    expect(world.asked).toEqual([METADATA, TOKEN]);
  });

  it.each(["http://token.example/token", "https://10.0.0.1/token", "token", undefined])(
    "sends no code to %s",
    async (token_endpoint) => {
      const { finish, world } = await signInWorld({}, { token_endpoint });
      await expect(finish()).rejects.toMatchObject(UNAVAILABLE);
      expect(world.asked).toEqual([METADATA]);
    },
  );
});
