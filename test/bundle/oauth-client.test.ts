/** The gateway as a client of a real authorization server: discovery, registration, every grant, and revocation. */
import { exportJWK, exportPKCS8, generateKeyPair } from "jose";
import { describe, expect, it } from "vitest";
import { authorizationUrl, checkCallback } from "../../src/credentials/authorization-request.ts";
import { type AuthorizationServer, findAuthorizationServer } from "../../src/credentials/discovery.ts";
import { registerClient } from "../../src/credentials/registration.ts";
import type { TokenAnswer, TokenOutcome } from "../../src/credentials/token-answer.ts";
import {
  clientCredentials,
  exchangeAssertion,
  exchangeCode,
  exchangeToken,
  type OAuthClient,
  refresh,
  revoke,
} from "../../src/credentials/token-endpoint.ts";
import { guardedFetch, refusalOf } from "../../src/platform/guarded-fetch.ts";
import { startProtectedServer } from "./support/protected-server.ts";
import { running } from "./support/running.ts";

const REDIRECT = "http://127.0.0.1:1/connect/callback";
const REDIRECTS = [REDIRECT, "http://127.0.0.1:1/api/oauth/callback"];
const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SECRET = 's3cr:t/% +&=-_.*~" and more of it, for the sake of its length';

const protectedServer = running("the protected server", startProtectedServer);

const send = guardedFetch({ network: (url, init) => fetch(url, init), allowInsecure: true });
const deps = { send, clock: () => Date.now() };

async function discovered(): Promise<AuthorizationServer> {
  const { server_url } = protectedServer();
  const refusal = (url: string) => refusalOf(url, { allowInsecure: true });
  const found = await findAuthorizationServer(
    { send, timeoutMs: 5_000, refusalOf: refusal },
    { server_url, issuer: "" },
  );
  if (!found.ok) throw new Error(found.failure.message);
  return found.value;
}

/** A client that has registered itself. */
async function registered(token_auth_methods: readonly string[] = ["none"]) {
  const server = await discovered();
  const of = { server: { ...server, token_auth_methods }, redirectUris: REDIRECTS, scopes: server.scopes };
  const found = await registerClient({ send, timeoutMs: 5_000 }, of);
  if (!found.ok) throw new Error(found.failure.message);
  return { server, client: { ...server, ...found.value } };
}

/** A client that was registered by hand. */
async function byHand(fields: Readonly<Record<string, unknown>>, ours: Partial<OAuthClient>): Promise<OAuthClient> {
  const server = await discovered();
  const client_id = `client-${crypto.randomUUID()}`;
  const redirect_uris = fields["response_types"] === undefined ? [] : REDIRECTS;
  await protectedServer().addClient({ client_id, redirect_uris, ...fields });
  return { ...server, client_id, client_secret: null, token_auth_method: null, ...ours };
}

/** Everything that a person does for it. */
async function authorized(server: AuthorizationServer, client: OAuthClient): Promise<TokenAnswer> {
  const bound = {
    redirectUri: REDIRECT,
    state: crypto.randomUUID(),
    verifier: `${crypto.randomUUID()}-${crypto.randomUUID()}`,
  };
  const url = await authorizationUrl({ ...server, ...client, ...bound, extra_auth_params: {} }, true);
  const back = new URL(await protectedServer().authorize(url, "ada"));
  const checked = checkCallback(back.searchParams, { ...server, state: bound.state });
  if (!checked.ok) throw new Error(`${checked.message} ${back.search}`);
  return answerOf(await exchangeCode(deps, client, { ...bound, code: checked.code }));
}

function answerOf(outcome: TokenOutcome): TokenAnswer {
  if (!outcome.ok) throw new Error(`${outcome.refusal}: ${outcome.message}`);
  return outcome.answer;
}

describe("a real authorization server", () => {
  it("is found from the server's own 401 [BF-26]", async () => {
    const { issuer, server_url } = protectedServer();
    expect(await discovered()).toEqual({
      issuer,
      authorization_endpoint: `${issuer}/auth`,
      token_endpoint: `${issuer}/token`,
      registration_endpoint: `${issuer}/reg`,
      revocation_endpoint: `${issuer}/token/revocation`,
      token_auth_methods: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
      scopes: ["read", "write", "offline_access"],
      resource: server_url,
      iss_required: true,
      takes_client_metadata: false,
    });
  });

  it.each(["none", "client_secret_basic", "client_secret_post"])(
    "registers a client (%s), and takes its codes, its refresh tokens and its revocations [BF-27]",
    async (method) => {
      const { statusFor } = protectedServer();
      const { server, client } = await registered([method]);
      expect(client.token_auth_method).toBe(method);
      expect(client.client_secret === null).toBe(method === "none");

      const first = await authorized(server, client);
      expect(first).toEqual({
        access_token: expect.any(String),
        refresh_token: expect.any(String),
        token_type: "Bearer",
        expires_in: 300,
        scopes: ["read", "write"],
      });
      expect(await statusFor(first.access_token)).toBe(200);

      const second = answerOf(await refresh(deps, client, { refresh_token: first.refresh_token ?? "" }));
      expect(second.refresh_token).toEqual(expect.any(String));
      expect(second.refresh_token).not.toBe(first.refresh_token);
      expect(await statusFor(second.access_token)).toBe(200);

      const revocation_endpoint = server.revocation_endpoint ?? "";
      const token = second.refresh_token ?? "";
      expect(await revoke(deps, { ...client, revocation_endpoint }, { token, hint: "refresh_token" })).toBe(true);
      expect([await statusFor(second.access_token), await statusFor("made-up")]).toEqual([401, 401]);
      expect(await refresh(deps, client, { refresh_token: token })).toMatchObject({ refusal: "grant_refused" });
    },
  );

  it("takes a refresh token once, and ends all that came of one that is used twice", async () => {
    const { server, client } = await registered();
    const { refresh_token } = await authorized(server, client);
    const second = answerOf(await refresh(deps, client, { refresh_token: refresh_token ?? "" }));
    const again = await refresh(deps, client, { refresh_token: refresh_token ?? "" });
    expect(again).toMatchObject({ ok: false, refusal: "grant_refused" });
    expect(await protectedServer().statusFor(second.access_token)).toBe(401);
  });

  it("takes a code once, with its verifier", async () => {
    const { server, client } = await registered();
    const bound = { redirectUri: REDIRECT, state: "the-state", verifier: "v".repeat(43) };
    const url = await authorizationUrl({ ...server, ...client, ...bound, extra_auth_params: {} }, true);
    const codeOf = async () => {
      const back = new URL(await protectedServer().authorize(url, "ada"));
      const checked = checkCallback(back.searchParams, { ...server, state: "the-state" });
      return checked.ok ? checked.code : "";
    };
    const code = await codeOf();
    expect(await exchangeCode(deps, client, { ...bound, code })).toMatchObject({ ok: true });
    expect(await exchangeCode(deps, client, { ...bound, code })).toMatchObject({ refusal: "grant_refused" });
    const wrong = { ...bound, code: await codeOf(), verifier: "w".repeat(43) };
    expect(await exchangeCode(deps, client, wrong)).toMatchObject({ refusal: "grant_refused" });
  });

  it("refuses a client that it does not know, and one with another secret", async () => {
    const { client } = await registered(["client_secret_basic"]);
    for (const changes of [{ client_id: "unknown" }, { client_secret: "wrong" }]) {
      const outcome = await refresh(deps, { ...client, ...changes }, { refresh_token: "rt" });
      expect(outcome).toMatchObject({ ok: false, refusal: "client_refused" });
    }
  });

  it.each(["client_secret_basic", "client_secret_post"] as const)(
    "gives a client without a user a token (%s)",
    async (method) => {
      const fields = { client_secret: SECRET, grant_types: ["client_credentials"], token_endpoint_auth_method: method };
      const client = await byHand(fields, { client_secret: SECRET, token_auth_method: method });
      const answer = answerOf(await clientCredentials(deps, client, { scopes: ["read"] }));
      expect(answer).toMatchObject({ refresh_token: null, token_type: "Bearer", scopes: ["read"] });
      expect(await protectedServer().statusFor(answer.access_token)).toBe(200);
    },
  );

  it.each(["ES256", "RS256", "Ed25519"])("gives one to a client that proves itself with a key (%s)", async (alg) => {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    const fields = {
      grant_types: ["client_credentials"],
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: alg,
      jwks: { keys: [{ ...(await exportJWK(publicKey)), alg, use: "sig", kid: alg }] },
    };
    const ours = { client_secret: await exportPKCS8(privateKey), token_auth_method: "private_key_jwt" } as const;
    const client = await byHand(fields, ours);
    const answer = answerOf(await clientCredentials(deps, client, { scopes: [] }));
    expect(await protectedServer().statusFor(answer.access_token)).toBe(200);
    const another = await generateKeyPair(alg, { extractable: true });
    const stolen = { ...client, client_secret: await exportPKCS8(another.privateKey) };
    expect(await clientCredentials(deps, stolen, { scopes: [] })).toMatchObject({ refusal: "client_refused" });
  });

  it("reads an exchange of one token for another (RFC 8693), and an assertion (RFC 7523)", async () => {
    const { statusFor, assertion } = protectedServer();
    const { server, client } = await registered();
    const { access_token: subject_token } = await authorized(server, client);
    const fields = { client_secret: SECRET, grant_types: [TOKEN_EXCHANGE, JWT_BEARER] };
    const machine = await byHand(fields, { client_secret: SECRET });
    const wish = { requested: "access_token", scopes: ["read"] } as const;
    const exchanged = answerOf(await exchangeToken(deps, machine, { subject_token, ...wish }));
    expect([exchanged.access_token === subject_token, await statusFor(exchanged.access_token)]).toEqual([false, 200]);
    const made_up = await exchangeToken(deps, machine, { subject_token: "made-up", ...wish });
    expect(made_up).toMatchObject({ refusal: "grant_refused" });

    const asserted = await exchangeAssertion(deps, machine, { assertion: await assertion("ada"), scopes: ["read"] });
    expect(await statusFor(answerOf(asserted).access_token)).toBe(200);
    const forged = await exchangeAssertion(deps, machine, { assertion: "x.y.z", scopes: [] });
    expect(forged).toMatchObject({ refusal: "grant_refused" });
  });

  it("says that access was not granted, and which scope or resource it does not have", async () => {
    const { server, client } = await registered();
    const machine = await byHand(
      { client_secret: SECRET, grant_types: ["client_credentials"] },
      { client_secret: SECRET },
    );
    const elsewhere = { ...machine, resource: `${server.resource}#fragment` };
    expect(await clientCredentials(deps, elsewhere, { scopes: [] })).toMatchObject({ refusal: "refused" });
    const bound = { redirectUri: REDIRECT, state: "the-state", verifier: "v".repeat(43) };
    const asked = { ...server, ...client, ...bound, extra_auth_params: { prompt: "none" } };
    const back = new URL(await protectedServer().authorize(await authorizationUrl(asked, true), "ada"));
    expect(checkCallback(back.searchParams, { ...server, state: "the-state" })).toMatchObject({
      reason: "denied",
      denial: { error: "login_required" },
    });
  });
});
