/**
 * A certified identity provider (`oidc-provider`) on loopback: the operator's, for whom the gateway is one client and
 * one audience of many. Whoever comes with the cookie of a user is signed in as that user, and agrees to everything.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from "jose";
import { type Context, Provider } from "oidc-provider";
import type { Running } from "./running.ts";

export interface IdpClient {
  readonly client_id: string;
  /** Without one, the client is a public one. */
  readonly client_secret?: string;
  readonly redirect_uris: readonly string[];
}

export interface TokenWish {
  /** A URL: the provider issues tokens for no other audience. */
  readonly audience: string;
  /** Of the user, until the next sign-in. */
  readonly claims?: object;
  readonly expiresInS?: number;
}

export interface Idp extends Running {
  /** Without a trailing slash. */
  readonly issuer: string;
  /** Adds a client, or replaces it; may come when the client already runs. */
  register(client: IdpClient): Promise<void>;
  /**
   * What a browser does with a sign-in URL: it follows until it is sent back to the client.
   *
   * @param claims Of the user, in ID tokens and access tokens, until the next sign-in of that user.
   * @returns The client's own URL, which nobody has asked for yet.
   */
  signIn(url: string, user: string, claims?: object): Promise<string>;
  /** The cookie of a user: a browser that brings it is signed in. */
  cookieOf(user: string): string;
  /** An access token of a user for an audience: a JWT, by a code flow of a client of its own. */
  token(user: string, made: TokenWish): Promise<string>;
  /** The ID token that comes with such an access token: made for that client, not for the audience. */
  idToken(user: string, made: TokenWish): Promise<string>;
  /** From here on signs with another key; the former is published no longer. */
  rotate(): Promise<void>;
}

const SCOPES = ["openid", "email", "profile"];
const HERE = { client_id: "idp-itself", client_secret: "of-the-idp-itself", redirect_uris: ["http://127.0.0.1/here"] };
const USER_COOKIE = "idp_user";
const MAX_STEPS = 10;

/** @param claimNames Names of claims that ID tokens may hold besides those of email; access tokens hold any. */
export async function startIdp(claimNames: readonly string[] = []): Promise<Idp> {
  const lines: string[] = [];
  const claimsOf = new Map<string, object>();
  const secondsFor = new Map<string, number>();
  let handle: (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;
  const server = createServer((incoming, outgoing) => {
    lines.push(`${incoming.method} ${incoming.url?.replace(/\?.*/, "")}`);
    handle(incoming, outgoing).catch((error: unknown) => {
      lines.push(`${error}`);
      outgoing.writeHead(500).end();
    });
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cookieKeys = [crypto.randomUUID()];

  /** What has been stored, clients and sessions included, is the process's, so that a later provider knows it too. */
  async function begin(): Promise<Provider> {
    const provider = new Provider(issuer, configuration(await newSigningKey()));
    const callback = provider.callback();
    for (const event of ["server_error", "authorization.error", "grant.error", "interaction.error"]) {
      provider.on(event, (_, error) => lines.push(`${event}: ${error}`));
    }
    handle = async (incoming, outgoing) => {
      if (!incoming.url?.startsWith("/sign-in/")) return callback(incoming, outgoing);
      const accountId = new RegExp(`${USER_COOKIE}=([^;]*)`).exec(incoming.headers.cookie ?? "")?.[1] ?? "nobody";
      return provider.interactionFinished(incoming, outgoing, { login: { accountId } });
    };
    return provider;
  }

  const configuration = (key: JWK) => ({
    jwks: { keys: [key] },
    cookies: { keys: cookieKeys },
    scopes: SCOPES,
    claims: { openid: ["sub", ...claimNames], email: ["email", "email_verified"] },
    // All claims of a user are in the ID token as well, as providers of companies have it.
    conformIdTokenClaims: false,
    extraTokenClaims: (_: Context, { accountId }: { accountId: string }) => claimsOf.get(accountId),
    findAccount: (_: Context, accountId: string) => ({
      accountId,
      claims: () => ({ ...claimsOf.get(accountId), sub: accountId }),
    }),
    interactions: { url: (_: Context, { uid }: { uid: string }) => `/sign-in/${uid}` },
    async loadExistingGrant({ oidc: { provider, client, session, params } }: Context) {
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(SCOPES.join(" "));
      if (typeof params["resource"] === "string") grant.addResourceScope(params["resource"], "");
      await grant.save();
      return grant;
    },
    ttl: { AccessToken: (_: Context, { accountId }: { accountId: string }) => secondsFor.get(accountId) ?? 300 },
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_: Context, audience: string) => ({ audience, scope: "", accessTokenFormat: "jwt" }),
      },
    },
  });

  let provider = await begin();

  const register = (client: IdpClient) =>
    provider.Client.adapter.upsert(client.client_id, {
      response_types: ["code"],
      grant_types: ["authorization_code"],
      token_endpoint_auth_method: client.client_secret === undefined ? "none" : "client_secret_basic",
      ...client,
    });

  async function signIn(url: string, user: string, claims: object = {}): Promise<string> {
    claimsOf.set(user, claims);
    const cookies = new Map([[USER_COOKIE, user]]);
    let at = url;
    for (let step = 0; step < MAX_STEPS; step++) {
      const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
      const response = await fetch(at, { headers: { Cookie: cookie }, redirect: "manual" });
      for (const header of response.headers.getSetCookie()) {
        const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(header) ?? [];
        cookies.set(name, value);
      }
      const location = response.headers.get("Location");
      if (location === null) throw new Error(`${at} answered ${response.status}: ${await response.text()}`);
      at = new URL(location, at).href;
      if (new URL(at).origin !== issuer) return at;
    }
    throw new Error(`Still at ${at}`);
  }

  async function tokens(user: string, { audience, claims, expiresInS = 300 }: TokenWish) {
    secondsFor.set(user, expiresInS);
    await register(HERE);
    const verifier = crypto.randomUUID() + crypto.randomUUID();
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    const [redirect_uri = ""] = HERE.redirect_uris;
    const query = new URLSearchParams({
      client_id: HERE.client_id,
      response_type: "code",
      redirect_uri,
      scope: "openid",
      resource: audience,
      code_challenge: Buffer.from(digest).toString("base64url"),
      code_challenge_method: "S256",
    });
    const callback = new URL(await signIn(`${issuer}/auth?${query}`, user, claims));
    const code = callback.searchParams.get("code");
    if (code === null) throw new Error(`No code: ${callback.search}`);
    const response = await fetch(`${issuer}/token`, {
      method: "POST",
      headers: { Authorization: `Basic ${btoa(`${HERE.client_id}:${HERE.client_secret}`)}` },
      body: new URLSearchParams({
        grant_type: "authorization_code",
        code,
        redirect_uri,
        code_verifier: verifier,
        resource: audience,
      }),
    });
    if (!response.ok) throw new Error(`No token: ${await response.text()}`);
    return (await response.json()) as { access_token: string; id_token: string };
  }

  return {
    issuer,
    register,
    signIn,
    cookieOf: (user) => `${USER_COOKIE}=${user}`,
    token: async (user, made) => (await tokens(user, made)).access_token,
    idToken: async (user, made) => (await tokens(user, made)).id_token,
    async rotate() {
      provider = await begin();
    },
    logs: () => [...lines],
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function newSigningKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: "RS256", use: "sig" };
}
