/**
 * The gateway as a client at token and revocation endpoints: every grant it uses, with how often and for how long it
 * tries (BF-49). What becomes of a token is the caller's.
 */
import {
  allowInsecureRequests,
  type ClientAuth,
  clockSkew,
  customFetch,
  genericTokenEndpointRequest,
  type AuthorizationServer as LibraryServer,
  revocationRequest,
} from "oauth4webapi";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { Secret } from "../platform/secret.ts";
import { clientProof, type TokenAuthMethod } from "./client-proof.ts";
import { type Exchanged, whole } from "./oauth-exchange.ts";
import { readTokenAnswer, refusedWith, type TokenOutcome } from "./token-answer.ts";

export interface TokenDeps {
  readonly send: Send;
  readonly clock: Clock;
  /** For one grant with all its attempts; BF-49 has the default, 30 s. */
  readonly timeoutMs?: number;
  /** Between two attempts. */
  readonly pause?: (ms: number) => Promise<void>;
}

/** Our client at one authorization server. */
export interface OAuthClient {
  /** Of the authorization server; `""` where nobody knows it. */
  readonly issuer: string;
  readonly token_endpoint: string;
  readonly client_id: string;
  /** With `private_key_jwt` the private key, PKCS#8 in PEM. */
  readonly client_secret: Secret | string | null;
  /** Null: by the kind of secret, `tokenAuthMethodFor` (CN-19). */
  readonly token_auth_method: TokenAuthMethod | null;
  /** RFC 8707; in every request. */
  readonly resource: string;
}

const TOTAL_MS = 30_000;
const PAUSES_MS = [1_000, 2_000];

const TOKEN_TYPE = "urn:ietf:params:oauth:token-type:";
const GRANT_TYPE = "urn:ietf:params:oauth:grant-type:";

/**
 * Exchanges an authorization code for tokens (CN-28). A code is good for one request, so another one follows only an
 * answer that says the first was not looked at.
 *
 * @param code Of a callback that `checkCallback` has let through.
 */
export function exchangeCode(
  deps: TokenDeps,
  client: OAuthClient,
  { code, redirectUri, verifier }: { readonly code: string; readonly redirectUri: string; readonly verifier: string },
): Promise<TokenOutcome> {
  const parameters = { code, redirect_uri: redirectUri, code_verifier: verifier };
  return grant(deps, client, "authorization_code", parameters, isUntouched);
}

/**
 * Exchanges a refresh token (CN-17 to CN-22). The answer may hold another one, which replaces it.
 *
 * @param scopes To ask for less than was granted; none given, none named.
 */
export function refresh(
  deps: TokenDeps,
  client: OAuthClient,
  { refresh_token, scopes = [] }: { readonly refresh_token: string; readonly scopes?: readonly string[] },
): Promise<TokenOutcome> {
  return grant(deps, client, "refresh_token", { refresh_token, ...scopeOf(scopes) });
}

/** A token of the gateway for itself, without a user (protocol.md 6.4). */
export function clientCredentials(
  deps: TokenDeps,
  client: OAuthClient,
  { scopes }: { readonly scopes: readonly string[] },
): Promise<TokenOutcome> {
  return grant(deps, client, "client_credentials", scopeOf(scopes));
}

/** What a token is, by its short name in RFC 8693 section 3. */
export type TokenKind = "access_token" | "id_token" | "jwt" | "id-jag";

/** Exchanges a token that the gateway holds of somebody for one that a server takes (RFC 8693). */
export function exchangeToken(
  deps: TokenDeps,
  client: OAuthClient,
  {
    subject_token,
    subject = "access_token",
    requested,
    audience,
    scopes,
  }: {
    readonly subject_token: string;
    readonly subject?: TokenKind;
    /** What to get; the authorization server decides when it is left out. */
    readonly requested?: TokenKind;
    readonly audience?: string;
    readonly scopes: readonly string[];
  },
): Promise<TokenOutcome> {
  return grant(deps, client, `${GRANT_TYPE}token-exchange`, {
    subject_token,
    subject_token_type: `${TOKEN_TYPE}${subject}`,
    ...(requested === undefined ? {} : { requested_token_type: `${TOKEN_TYPE}${requested}` }),
    ...(audience === undefined ? {} : { audience }),
    ...scopeOf(scopes),
  });
}

/** Exchanges an assertion of somebody whom the authorization server believes (RFC 7523 section 2.1). */
export function exchangeAssertion(
  deps: TokenDeps,
  client: OAuthClient,
  { assertion, scopes }: { readonly assertion: string; readonly scopes: readonly string[] },
): Promise<TokenOutcome> {
  return grant(deps, client, `${GRANT_TYPE}jwt-bearer`, { assertion, ...scopeOf(scopes) });
}

/**
 * Ends a token at the authorization server (RFC 7009), best effort: one attempt, and nothing is thrown.
 *
 * @returns Whether the server has taken it.
 */
export async function revoke(
  deps: TokenDeps,
  client: OAuthClient & { readonly revocation_endpoint: string },
  { token, hint }: { readonly token: string; readonly hint: "access_token" | "refresh_token" },
): Promise<boolean> {
  const proof = await clientProof(client.client_secret, client.token_auth_method);
  if (proof === null || !isUsable(client.revocation_endpoint, client)) return false;
  const signal = AbortSignal.timeout(deps.timeoutMs ?? TOTAL_MS);
  const options = { ...optionsFor(deps, signal), additionalParameters: { token_type_hint: hint } };
  const { revocation_endpoint } = client;
  const server = { ...serverOf(client), revocation_endpoint };
  const exchanged = await whole(() => revocationRequest(server, partyOf(deps, client), proof, token, options), signal);
  return exchanged.kind === "answer" && exchanged.status === 200;
}

/** Whether a request has surely changed nothing, so that it may be sent again. */
const isUntouched = (exchanged: Exchanged) =>
  exchanged.kind === "answer" && (exchanged.status === 429 || exchanged.status === 503);

const isPassing = (exchanged: Exchanged) =>
  exchanged.kind === "lost" || (exchanged.kind === "answer" && (exchanged.status === 429 || exchanged.status >= 500));

async function grant(
  deps: TokenDeps,
  client: OAuthClient,
  grantType: string,
  parameters: Readonly<Record<string, string>>,
  mayRepeat: (exchanged: Exchanged) => boolean = isPassing,
): Promise<TokenOutcome> {
  if (!isUsable(client.token_endpoint, client)) {
    return refusedWith("refused", "The token endpoint or the client id is not known.");
  }
  const proof = await clientProof(client.client_secret, client.token_auth_method);
  if (proof === null) return refusedWith("client_refused", "The client secret is no private key (PKCS#8 in PEM).");
  const signal = AbortSignal.timeout(deps.timeoutMs ?? TOTAL_MS);
  const all = { ...parameters, ...(client.resource === "" ? {} : { resource: client.resource }) };
  for (let attempt = 0; ; attempt++) {
    const exchanged = await whole(() => request(deps, client, proof, grantType, all, signal), signal);
    const pauseMs = PAUSES_MS[attempt];
    if (pauseMs === undefined || !mayRepeat(exchanged)) return outcomeOf(exchanged);
    await (deps.pause ?? realPause)(pauseMs);
    if (signal.aborted) return outcomeOf(exchanged);
  }
}

function request(
  deps: TokenDeps,
  client: OAuthClient,
  proof: ClientAuth,
  grantType: string,
  parameters: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  const [server, party] = [serverOf(client), partyOf(deps, client)];
  return genericTokenEndpointRequest(server, party, proof, grantType, parameters, optionsFor(deps, signal));
}

function outcomeOf(exchanged: Exchanged): TokenOutcome {
  switch (exchanged.kind) {
    case "answer":
      return readTokenAnswer(exchanged.status, exchanged.text);
    case "lost":
      return refusedWith("unavailable", "The authorization server does not answer.");
    case "timeout":
      return refusedWith("unavailable", "The authorization server took too long.");
    case "refused":
      return refusedWith("unavailable", `The request for a token was stopped. ${exchanged.reason}`);
    case "cut":
    case "too_large":
      return refusedWith("unavailable", "The answer of the authorization server cannot be read.");
  }
}

function isUsable(endpoint: string, { client_id }: OAuthClient): boolean {
  return client_id !== "" && URL.canParse(endpoint);
}

/** The audience of a client's assertion is the issuer, or what stands for it. */
function serverOf({ issuer, token_endpoint }: OAuthClient): LibraryServer {
  return { issuer: issuer === "" ? token_endpoint : issuer, token_endpoint };
}

/** The library asks the system for the time. */
function partyOf({ clock }: TokenDeps, { client_id }: OAuthClient) {
  return { client_id, [clockSkew]: Math.floor(clock() / 1000) - Math.floor(Date.now() / 1000) };
}

function optionsFor({ send }: TokenDeps, signal: AbortSignal) {
  return {
    // Which URLs are let out, http included, is for the guarded fetch to say.
    [allowInsecureRequests]: true,
    [customFetch]: (url: string, { headers, body }: { headers: Record<string, string>; body: URLSearchParams }) =>
      send({ url, method: "POST", headers, body: body.toString(), signal }, new URL(url).origin),
  };
}

function scopeOf(scopes: readonly string[]): { scope?: string } {
  return scopes.length === 0 ? {} : { scope: scopes.join(" ") };
}

const realPause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
