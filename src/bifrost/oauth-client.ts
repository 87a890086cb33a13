/**
 * Our client at the authorization server of a server, as a request has it or as it is found and registered (BF-25,
 * BF-26): what is given wins.
 */
import { tokenAuthMethodFor } from "../credentials/client-proof.ts";
import type { AuthorizationServer } from "../credentials/discovery.ts";
import type { Found, OAuthFailure } from "../credentials/found.ts";
import { canonicalResource } from "../credentials/resource-metadata.ts";
import { redirectUrisOf, type SetUpDeps } from "../credentials/set-up.ts";
import type { TokenClient } from "../credentials/token.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { NO_OAUTH, type OAuthFields, type OAuthFindings } from "../registry/oauth-fields.ts";
import { originOf } from "../registry/server-draft.ts";
import type { OAuthConfigInput } from "./oauth.wire.ts";

const ENDPOINTS = ["authorization_endpoint", "token_endpoint", "registration_endpoint"] as const;

/** What a request gives, by the names of the record; null and empty where it does not. */
export interface GivenClient extends Pick<OAuthFields, "client_id" | "scopes" | (typeof ENDPOINTS)[number]> {
  readonly client_secret: string | null;
}

/** A client that can ask for authorization, and all that the record of its server will say of it. Secret. */
export interface SettledClient {
  readonly oauth: OAuthFields & OAuthFindings;
  readonly client_secret: string | null;
  readonly server_url: string;
}

export type ClientDeps = Pick<SetUpDeps, "find" | "register">;

/** B.2: an empty text is none. @throws GatewayError `invalid_request` with the field */
export function givenClient(config: OAuthConfigInput): GivenClient {
  const textOf = (text: string | undefined) => (text === undefined || text === "" ? null : text);
  const client_id = config.client_id ?? "";
  const client_secret = textOf(config.client_secret);
  if (client_id === "" && client_secret !== null) {
    throw refuse("oauth_config.client_secret", "A client secret needs its client_id.");
  }
  return {
    client_id,
    client_secret,
    authorization_endpoint: textOf(config.authorize_url),
    token_endpoint: textOf(config.token_url),
    registration_endpoint: textOf(config.registration_url),
    scopes: config.scopes ?? [],
  };
}

/**
 * Finds what is not given, and registers the gateway where there is no client.
 *
 * @param self The gateway's own origin.
 * @throws GatewayError `invalid_request` that says which field to give; `upstream_failed` when somebody does not answer
 */
export async function settleClient(
  { find, register }: ClientDeps,
  given: GivenClient,
  server_url: string,
  self: string,
): Promise<SettledClient> {
  const search = (issuer: string) => find({ server_url, issuer }, self);
  const { found, isNamed } = await authorizationServerFor(search, given, server_url);
  if (!found.ok) throw failureOf(found.failure);
  const server: AuthorizationServer = {
    ...found.value,
    authorization_endpoint: given.authorization_endpoint ?? found.value.authorization_endpoint,
    token_endpoint: given.token_endpoint ?? found.value.token_endpoint,
    registration_endpoint: given.registration_endpoint ?? found.value.registration_endpoint,
  };
  if (server.authorization_endpoint === null) {
    throw failureOf({ kind: "unusable", message: "The authorization server has no authorization endpoint." });
  }
  const known = {
    ...NO_OAUTH,
    oauth_issuer_url: server.issuer,
    authorization_endpoint: server.authorization_endpoint,
    token_endpoint: server.token_endpoint,
    registration_endpoint: server.registration_endpoint,
    revocation_endpoint: server.revocation_endpoint,
    scopes: given.scopes,
    scopes_found: server.scopes,
    oauth_resource: server.resource,
    iss_required: server.iss_required,
    registered_origins: given.client_id === "" ? [self] : [],
  };
  if (given.client_id !== "") {
    const { client_id, client_secret } = given;
    const method = client_secret === null ? null : tokenAuthMethodFor(client_secret, server.token_auth_methods);
    const by_hand = { registration_mode: "manual", client_id, token_endpoint_auth_method: method } as const;
    // Nothing of a client by hand is ever found anew.
    return { oauth: { ...known, ...by_hand, oauth_found: [] }, client_secret, server_url };
  }
  const scopes = given.scopes.length > 0 ? given.scopes : server.scopes;
  const registered = await register(server, { redirectUris: redirectUrisOf(self), scopes });
  if (!registered.ok) throw failureOf(registered.failure);
  const { client_id, client_secret, token_auth_method: token_endpoint_auth_method } = registered.value;
  const oauth_found = [
    // One that the request sends people to stays, whichever the server names.
    ...(isNamed ? ["oauth_issuer_url"] : []),
    ...["revocation_endpoint", "client_id", "token_endpoint_auth_method"],
    ...ENDPOINTS.filter((name) => given[name] === null),
  ];
  return { oauth: { ...known, client_id, token_endpoint_auth_method, oauth_found }, client_secret, server_url };
}

/** The same client as one that exchanges and revokes tokens. */
export function tokenClientOf({ oauth, client_secret, server_url }: SettledClient): TokenClient {
  return {
    issuer: oauth.oauth_issuer_url,
    client_id: oauth.client_id,
    client_secret,
    token_auth_method: oauth.token_endpoint_auth_method,
    token_endpoint: oauth.token_endpoint ?? "",
    revocation_endpoint: oauth.revocation_endpoint,
    resource: oauth.oauth_resource ?? canonicalResource(server_url),
  };
}

/**
 * The authorization server that the server names; or the one that the request sends people to, if that is another; or,
 * where none says anything of itself, what the request has of it.
 */
async function authorizationServerFor(
  find: (issuer: string) => Promise<Found<AuthorizationServer>>,
  { authorization_endpoint, token_endpoint, registration_endpoint }: GivenClient,
  server_url: string,
): Promise<{ readonly found: Found<AuthorizationServer>; readonly isNamed: boolean }> {
  const named = await find("");
  const issuer = originOf(authorization_endpoint ?? "");
  const isNamed =
    authorization_endpoint === null ||
    (named.ok && originOf(named.value.authorization_endpoint ?? named.value.issuer) === issuer);
  if (isNamed) return { found: named, isNamed };
  const found = await find(issuer);
  if (found.ok || token_endpoint === null) return { found, isNamed };
  const value = {
    ...{ issuer, authorization_endpoint, token_endpoint, registration_endpoint, revocation_endpoint: null },
    token_auth_methods: [],
    scopes: named.ok ? named.value.scopes : [],
    resource: named.ok ? named.value.resource : canonicalResource(server_url),
    iss_required: false,
    takes_client_metadata: false,
  };
  return { found: { ok: true, value }, isNamed };
}

/** What to give, by the field of the record that a failure names; else the endpoints. */
const ADVICE: Readonly<Record<string, string>> = {
  client_id: "oauth_config.client_id",
  token_endpoint: "oauth_config.token_url",
  registration_endpoint: "oauth_config.registration_url",
};

/** BF-25. The reason without its advice, which is for another surface. */
function failureOf({ kind, message, field = "" }: OAuthFailure): GatewayError {
  if (kind === "unreachable") return new GatewayError("upstream_failed", message);
  if (field === "server_url") return refuse(field, message);
  const reason = message.replace(/(; give|: register) .*$/, ".");
  const wanted = ADVICE[field] ?? "oauth_config.authorize_url";
  const advice = wanted === "oauth_config.authorize_url" ? `${wanted} and oauth_config.token_url` : wanted;
  return refuse(wanted, `${reason} Give ${advice}.`);
}

function refuse(field: string, message: string): GatewayError {
  return new GatewayError("invalid_request", message, { field });
}
