/**
 * An MCP server on loopback that wants a token, and its authorization server (`oidc-provider`) beside it: registration,
 * rotation, introspection and revocation are the provider's own. It has no token exchange and no assertions, so these two
 * grants are handed to it here, behind its own reading of requests and proofs of clients.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";
import { type Context, errors, Provider } from "oidc-provider";
import type { Running } from "./running.ts";

export interface ProtectedServer extends Running {
  readonly server_url: string;
  readonly issuer: string;
  /** Adds a client that no registration makes. */
  addClient(client: { readonly client_id: string } & Readonly<Record<string, unknown>>): Promise<void>;
  /** What a person's browser does: signs in, agrees, and is sent back. @returns The client's own URL */
  authorize(url: string, user: string): Promise<string>;
  /** What the MCP server answers to a token. */
  statusFor(accessToken: string): Promise<number>;
  /** An assertion about somebody, of an issuer that the authorization server believes. */
  assertion(user: string): Promise<string>;
}

const SCOPES = "read write";
const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const HOST = "127.0.0.1";
const MAX_STEPS = 10;

type Handle = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;

export async function startProtectedServer(): Promise<ProtectedServer> {
  const lines: string[] = [];
  const trusted = await generateKeyPair("ES256");
  const signing = await generateKeyPair("RS256", { extractable: true });

  const authorization = await listen((incoming, outgoing) => handle(incoming, outgoing));
  const resource = await listen(serve);
  const { origin: issuer } = authorization;
  const server_url = `${resource.origin}/mcp`;
  const prm = "/.well-known/oauth-protected-resource/mcp";
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
    ttl: { AccessToken: 300, ClientCredentials: 300, RefreshToken: 86_400, Grant: 86_400 },
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
  for (const event of ["server_error", "authorization.error", "grant.error", "registration_create.error"]) {
    provider.on(event, (_, error) => lines.push(`${event}: ${error}`));
  }
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
    lines.push(`${incoming.method} ${path}`);
    if (!path.startsWith("/interaction/")) return callback(incoming, outgoing);
    const { prompt, params, session } = await provider.interactionDetails(incoming, outgoing);
    if (prompt.name === "login") {
      const accountId = /user=([^;]*)/.exec(incoming.headers.cookie ?? "")?.[1] ?? "nobody";
      return provider.interactionFinished(incoming, outgoing, { login: { accountId } });
    }
    const grant = new provider.Grant({ clientId: `${params["client_id"]}`, accountId: session?.accountId ?? "nobody" });
    grant.addOIDCScope("openid offline_access");
    grant.addResourceScope(`${params["resource"]}`, SCOPES);
    return provider.interactionFinished(incoming, outgoing, { consent: { grantId: await grant.save() } });
  }

  /** The MCP server: one that asks its authorization server about each token. */
  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if (incoming.url === prm) {
      const document = { resource: server_url, authorization_servers: [issuer], scopes_supported: SCOPES.split(" ") };
      outgoing.setHeader("Content-Type", "application/json").end(JSON.stringify(document));
      return;
    }
    const token = /^Bearer (.+)$/.exec(incoming.headers.authorization ?? "")?.[1];
    const asked = await fetch(`${issuer}/token/introspection`, {
      method: "POST",
      headers: { Authorization: `Basic ${btoa(`${introspector.client_id}:${introspector.client_secret}`)}` },
      body: new URLSearchParams({ token: token ?? "" }),
    });
    const { active, aud } = (await asked.json()) as { active?: boolean; aud?: string };
    if (token !== undefined && active === true && aud === server_url) {
      outgoing.writeHead(200).end("{}");
      return;
    }
    outgoing.setHeader("WWW-Authenticate", `Bearer resource_metadata="${resource.origin}${prm}"`);
    outgoing.writeHead(401).end();
  }

  return {
    server_url,
    issuer,
    addClient: (client) => provider.Client.adapter.upsert(client.client_id, { response_types: [], ...client }),

    async authorize(url, user) {
      const cookies = new Map([["user", user]]);
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

    async statusFor(accessToken) {
      const response = await fetch(server_url, { headers: { Authorization: `Bearer ${accessToken}` } });
      await response.body?.cancel();
      return response.status;
    },

    assertion: (user) =>
      new SignJWT({ sub: user })
        .setProtectedHeader({ alg: "ES256" })
        .setAudience(issuer)
        .setExpirationTime("1m")
        .sign(trusted.privateKey),

    logs: () => [...lines],
    async stop() {
      for (const { server } of [authorization, resource]) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

/** A server on a free port, whose address is known before what it serves is. */
async function listen(handle: Handle): Promise<{ server: Server; origin: string }> {
  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => outgoing.writeHead(500).end());
  });
  server.listen({ port: 0, host: HOST });
  await once(server, "listening");
  return { server, origin: `http://${HOST}:${(server.address() as AddressInfo).port}` };
}
