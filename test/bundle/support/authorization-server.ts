/**
 * A certified authorization server (`oidc-provider`) on loopback, for one protected resource: registration, rotation,
 * introspection and revocation are the provider's own. It has no token exchange and no assertions, so these two grants
 * are handed to it here, behind its own reading of requests and proofs of clients.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";
import { type Context, errors, Provider } from "oidc-provider";
import type { Running } from "./running.ts";

export interface AuthorizationOptions {
  /** How long access tokens live. Seconds; may be changed later, for those that come then. */
  readonly accessTokenS?: number;
  /**
   * Whether a refresh token is good until its successor has been used, as RFC 9700 section 4.14.2 lets a server see to
   * answers that are lost. Otherwise, and for what is older, a second use ends all that came of the grant.
   */
  readonly isForgiving?: boolean;
}

/** What is known of a token. */
export interface TokenInfo {
  readonly active: boolean;
  /** Who has authorized it. */
  readonly sub?: string;
  readonly client_id?: string;
  readonly aud?: string;
}

export interface AuthorizationServer extends Running {
  readonly issuer: string;
  /** Adds a client that no registration makes. */
  addClient(client: { readonly client_id: string } & Readonly<Record<string, unknown>>): Promise<void>;
  /** What a person's browser does: signs in, agrees, and is sent back. @returns The client's own URL */
  authorize(url: string, user: string): Promise<string>;
  /** An assertion about somebody, of an issuer that the authorization server believes. */
  assertion(user: string): Promise<string>;
  /** Introspection, as a resource server asks for it. */
  introspect(token: string): Promise<TokenInfo>;
  setLifetime(accessTokenS: number): void;
  /** How many token requests of a grant type came so far, granted or not. */
  requests(grantType: string): number;
  /** Ends an access token alone: its refresh token stays good. */
  endAccess(accessToken: string): Promise<void>;
  /** Ends all that somebody has ever authorized, as they would do on a page of the provider. */
  endGrants(user: string): Promise<void>;
}

export const SCOPES = "read write";
/** Whoever comes with this cookie is signed in as that user, and agrees to everything. */
export const USER_COOKIE = "user";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const HOST = "127.0.0.1";
const MAX_STEPS = 10;

/** @param server_url The protected resource. */
export async function startAuthorizationServer(
  server_url: string,
  { accessTokenS = 300, isForgiving = false }: AuthorizationOptions = {},
): Promise<AuthorizationServer> {
  const lines: string[] = [];
  const asked: string[] = [];
  const grantsOf = new Map<string, string[]>();
  let lifetimeS = accessTokenS;
  const trusted = await generateKeyPair("ES256");
  const signing = await generateKeyPair("RS256", { extractable: true });
  const { server, origin: issuer } = await listen((incoming, outgoing) => handle(incoming, outgoing));
  const introspector = { client_id: "the-mcp-server", client_secret: "of-the-mcp-server" };

  const resourceServer = { audience: server_url, scope: SCOPES, accessTokenFormat: "opaque" };
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...(await exportJWK(signing.privateKey)), alg: "RS256", use: "sig" }] },
    cookies: { keys: [crypto.randomUUID()] },
    scopes: ["openid", "offline_access"],
    clientAuthMethods: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
    clients: [{ ...introspector, redirect_uris: [], response_types: [], grant_types: ["client_credentials"] }],
    findAccount: (_: Context, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
    interactions: { url: (_: Context, { uid }: { uid: string }) => `/interaction/${uid}` },
    rotateRefreshToken: true,
    ttl: { AccessToken: () => lifetimeS, ClientCredentials: 300, RefreshToken: 86_400, Grant: 86_400 },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => false,
        getResourceServerInfo: () => resourceServer,
      },
    },
  });
  for (const event of ["server_error", "authorization.error", "registration_create.error"]) {
    provider.on(event, (_, error) => lines.push(`${event}: ${error}`));
  }
  provider.on("grant.success", ({ oidc }) => void asked.push(`${oidc.params["grant_type"]}`));
  provider.on("grant.error", ({ oidc }, error) => {
    asked.push(`${oidc.params?.["grant_type"]}`);
    lines.push(`grant.error: ${error}`);
  });
  if (isForgiving) forgive(provider);

  /** A token without a grant: the provider knows of none that these come from. */
  const issue = async (context: Context, more: object = {}) => {
    const { client, params } = context.oidc;
    const token = new provider.ClientCredentials({ client, scope: params["scope"] ?? SCOPES });
    token.resourceServer = new provider.ResourceServer(`${params["resource"]}`, resourceServer);
    context.body = { access_token: await token.save(), token_type: "Bearer", expires_in: 300, ...more };
  };
  provider.registerGrantType(
    TOKEN_EXCHANGE,
    async (context) => {
      const { subject_token, subject_token_type, requested_token_type } = context.oidc.params;
      const subject = await provider.AccessToken.find(`${subject_token}`);
      if (subject === undefined || subject_token_type !== requested_token_type)
        throw new errors.InvalidGrant("subject");
      await issue(context, { issued_token_type: subject_token_type });
    },
    ["subject_token", "subject_token_type", "requested_token_type", "audience", "scope", "resource"],
  );
  provider.registerGrantType(
    JWT_BEARER,
    async (context) => {
      const { assertion } = context.oidc.params;
      await jwtVerify(`${assertion}`, trusted.publicKey, { audience: issuer }).catch(() => {
        throw new errors.InvalidGrant("assertion");
      });
      await issue(context);
    },
    ["assertion", "scope", "resource"],
  );

  const callback = provider.callback();
  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const path = incoming.url?.replace(/\?.*/, "") ?? "";
    if (path !== "/token/introspection") lines.push(`${incoming.method} ${path}`);
    if (!path.startsWith("/interaction/")) return callback(incoming, outgoing);
    const { prompt, params, session } = await provider.interactionDetails(incoming, outgoing);
    if (prompt.name === "login") {
      const accountId = new RegExp(`${USER_COOKIE}=([^;]*)`).exec(incoming.headers.cookie ?? "")?.[1] ?? "nobody";
      return provider.interactionFinished(incoming, outgoing, { login: { accountId } });
    }
    const accountId = session?.accountId ?? "nobody";
    const grant = new provider.Grant({ clientId: `${params["client_id"]}`, accountId });
    grant.addOIDCScope("openid offline_access");
    grant.addResourceScope(`${params["resource"]}`, SCOPES);
    const grantId = await grant.save();
    grantsOf.set(accountId, [...(grantsOf.get(accountId) ?? []), grantId]);
    return provider.interactionFinished(incoming, outgoing, { consent: { grantId } });
  }

  return {
    issuer,
    addClient: (client) => provider.Client.adapter.upsert(client.client_id, { response_types: [], ...client }),

    async authorize(url, user) {
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
    },

    assertion: (user) =>
      new SignJWT({ sub: user })
        .setProtectedHeader({ alg: "ES256" })
        .setAudience(issuer)
        .setExpirationTime("1m")
        .sign(trusted.privateKey),

    async introspect(token) {
      const response = await fetch(`${issuer}/token/introspection`, {
        method: "POST",
        headers: { Authorization: `Basic ${btoa(`${introspector.client_id}:${introspector.client_secret}`)}` },
        body: new URLSearchParams({ token }),
      });
      return (await response.json()) as TokenInfo;
    },

    setLifetime(accessTokenS) {
      lifetimeS = accessTokenS;
    },
    requests: (grantType) => asked.filter((type) => type === grantType).length,

    async endAccess(accessToken) {
      await (await provider.AccessToken.find(accessToken))?.destroy();
    },
    async endGrants(user) {
      for (const grantId of grantsOf.get(user) ?? []) {
        for (const model of [provider.AccessToken, provider.RefreshToken]) await model.revokeByGrantId(grantId);
        await provider.Grant.adapter.destroy(grantId);
      }
    },

    logs: () => [...lines],
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Lets a refresh token be used again until the first use of one that came after it. */
function forgive({ RefreshToken: { adapter } }: Provider): void {
  const consume = adapter.consume.bind(adapter);
  /** By grant: the tokens that have been used, and could be once more. */
  const used = new Map<string, Set<string>>();
  adapter.consume = async (id) => {
    const { grantId = "" } = (await adapter.find(id)) ?? {};
    const former = [...(used.get(grantId) ?? [])].filter((other) => other !== id);
    for (const other of former) await consume(other);
    used.set(grantId, new Set([id]));
  };
}

type Handle = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;

/** A server on a free port, whose address is known before what it serves is. */
export async function listen(handle: Handle): Promise<{ server: Server; origin: string }> {
  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => outgoing.writeHead(500).end());
  });
  server.listen({ port: 0, host: HOST });
  await once(server, "listening");
  return { server, origin: `http://${HOST}:${(server.address() as AddressInfo).port}` };
}
