/** Finding the authorization server of an MCP server, and reading what it publishes (BF-26, CN-31, RFC 8414). */
import type { Send } from "../platform/guarded-fetch.ts";
import { scopesIn } from "./bearer-challenge.ts";
import { type Found, unreachable, unusable } from "./found.ts";
import { canonicalResource, findResource, readDocument, type Search } from "./resource-metadata.ts";

/** What is known of the authorization server of a server. */
export interface AuthorizationServer {
  readonly issuer: string;
  /** Null for one that serves clients without a user only. */
  readonly authorization_endpoint: string | null;
  readonly token_endpoint: string;
  readonly registration_endpoint: string | null;
  readonly revocation_endpoint: string | null;
  /** Empty when it does not say. */
  readonly token_auth_methods: readonly string[];
  /** To ask for: the challenge's, else the resource's, else its own; `offline_access` where it lists that. */
  readonly scopes: readonly string[];
  /** The value of `resource` (RFC 8707). */
  readonly resource: string;
  /** It promises `iss` in the callback (RFC 9207). */
  readonly iss_required: boolean;
  /** It takes the URL of a metadata document for a client id. */
  readonly takes_client_metadata: boolean;
}

export interface DiscoveryDeps {
  readonly send: Send;
  /** For the whole search, which is a few requests one after another. */
  readonly timeoutMs: number;
  /** Why a URL may not be fetched, or null. */
  readonly refusalOf: (url: string) => string | null;
}

/** Of an authorization server by itself, before it is known for which resource. */
type Published = Omit<AuthorizationServer, "scopes" | "resource"> & { readonly scopes_supported: readonly string[] };

const ENDPOINTS = ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"] as const;
const OFFLINE = "offline_access";

/**
 * Finds the authorization server of a server by an unauthenticated request to it and its metadata. Nothing secret is
 * sent. Every URL in the result has passed `refusalOf`.
 *
 * @param issuer Given by an admin; `""` if not. It wins over whatever the server says.
 */
export async function findAuthorizationServer(
  { send, timeoutMs, refusalOf }: DiscoveryDeps,
  { server_url, issuer }: { readonly server_url: string; readonly issuer: string },
): Promise<Found<AuthorizationServer>> {
  const search = { send, refusalOf, signal: AbortSignal.timeout(timeoutMs) };
  const found = await findResource(search, server_url);
  if (!found.ok && issuer === "") return found;
  const nothing = { resource: canonicalResource(server_url), scopes: [], issuers: [], hasMetadata: false };
  const about = found.ok ? found.value : nothing;
  const server = await firstUsable(search, server_url, { given: issuer, ...about });
  if (!server.ok) return server;
  const { scopes_supported, ...published } = server.value;
  const scopes = about.scopes.length > 0 ? about.scopes : scopes_supported;
  const offline = scopes_supported.includes(OFFLINE) ? [OFFLINE] : [];
  return {
    ok: true,
    value: { ...published, scopes: [...new Set([...scopes, ...offline])], resource: about.resource },
  };
}

/** The first authorization server of those that are named, with what it publishes. */
async function firstUsable(
  search: Search,
  server_url: string,
  { given, issuers, hasMetadata }: { given: string; issuers: readonly string[]; hasMetadata: boolean },
): Promise<Found<Published>> {
  const failed: Extract<Found<Published>, { ok: false }>[] = [];
  for (const issuer of given === "" ? issuers : [given]) {
    const found = await readServer(search, issuer, [issuer]);
    if (found === "absent") {
      const needed = "give authorization_endpoint and token_endpoint by hand, with registration_mode manual";
      failed.push(unusable(`The authorization server publishes no metadata; ${needed}.`, "authorization_endpoint"));
    } else if (found.ok) return found;
    else failed.push(found);
  }
  // One that did not answer may be the right one.
  const [first] = [...failed.filter(({ failure }) => failure.kind === "unreachable"), ...failed];
  if (first !== undefined) return first;
  // Revision 2025-03-26: the server's own origin, which nobody has written down with or without a slash.
  const { origin } = new URL(server_url);
  const found = await readServer(search, origin, [origin, `${origin}/`]);
  if (found !== "absent") return found;
  if (hasMetadata) return unusable("The server does not name its authorization server.", "oauth_issuer_url");
  return {
    ok: true,
    value: {
      issuer: origin,
      authorization_endpoint: `${origin}/authorize`,
      token_endpoint: `${origin}/token`,
      registration_endpoint: `${origin}/register`,
      revocation_endpoint: null,
      token_auth_methods: [],
      scopes_supported: [],
      iss_required: false,
      takes_client_metadata: false,
    },
  };
}

/** @param spellings What the metadata may call the issuer. */
async function readServer(
  search: Search,
  issuer: string,
  spellings: readonly string[],
): Promise<Found<Published> | "absent"> {
  const url = URL.parse(issuer);
  if (url === null || search.refusalOf(issuer) !== null || url.search !== "" || url.hash !== "") {
    return unusable("The address of the authorization server may not be used.", "oauth_issuer_url");
  }
  let failed: Extract<Found<Published>, { ok: false }> | undefined;
  for (const place of metadataPlaces(url)) {
    const document = await readDocument(search, place);
    if (document.kind === "absent") continue;
    if (document.kind === "unreachable") return unreachable("The authorization server does not answer.");
    if (document.kind === "failing") {
      failed = unreachable("The authorization server fails.");
    } else if (document.kind === "too_large") {
      failed ??= unusable("The metadata of the authorization server is too large.");
    } else {
      const read = readMetadata(document.value, spellings, search.refusalOf);
      if (read.ok) return read;
      failed ??= read;
    }
  }
  return failed ?? "absent";
}

/** Where metadata may be (protocol.md 6.3 step 2). */
function metadataPlaces({ origin, pathname }: URL): string[] {
  const path = pathname.replace(/\/+$/, "");
  const inserted = ["oauth-authorization-server", "openid-configuration"].map(
    (name) => `${origin}/.well-known/${name}${path}`,
  );
  return path === "" ? inserted : [...inserted, `${origin}${path}/.well-known/openid-configuration`];
}

function readMetadata(
  document: Readonly<Record<string, unknown>>,
  spellings: readonly string[],
  refusalOf: (url: string) => string | null,
): Found<Published> {
  const { issuer, code_challenge_methods_supported: challenges } = document;
  // Identical, not merely equivalent (RFC 8414 section 3.3): else one server speaks for another.
  if (typeof issuer !== "string" || !spellings.includes(issuer)) {
    const how = "give oauth_issuer_url exactly as its metadata spells it, a slash at the end included";
    return unusable(`The metadata of the authorization server is for another issuer; ${how}.`, "oauth_issuer_url");
  }
  const endpoints: Partial<Record<(typeof ENDPOINTS)[number], string>> = {};
  for (const name of ENDPOINTS) {
    const url = document[name];
    if (url === undefined || url === null) continue;
    const refusal = typeof url === "string" ? refusalOf(url) : "It is no text.";
    if (typeof url !== "string" || refusal !== null) {
      return unusable(`The authorization server names a ${name} that may not be used. ${refusal}`, name);
    }
    endpoints[name] = url;
  }
  const { authorization_endpoint = null, token_endpoint } = endpoints;
  if (token_endpoint === undefined)
    return unusable("The authorization server has no token endpoint.", "token_endpoint");
  if (authorization_endpoint !== null && !(Array.isArray(challenges) && challenges.includes("S256"))) {
    return unusable("The authorization server does not say that it checks PKCE S256, so no user is sent there.");
  }
  const methods = document["token_endpoint_auth_methods_supported"];
  return {
    ok: true,
    value: {
      issuer,
      authorization_endpoint,
      token_endpoint,
      registration_endpoint: endpoints.registration_endpoint ?? null,
      revocation_endpoint: endpoints.revocation_endpoint ?? null,
      token_auth_methods: Array.isArray(methods) ? methods.filter((method) => typeof method === "string") : [],
      scopes_supported: scopesIn(document["scopes_supported"]),
      iss_required: document["authorization_response_iss_parameter_supported"] === true,
      takes_client_metadata: document["client_id_metadata_document_supported"] === true,
    },
  };
}
