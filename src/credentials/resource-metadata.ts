/** What a server says of its own authorization: the challenge of a 401, and its metadata (RFC 9728). */
import { OWN_ENVELOPE } from "../connector/envelope.ts";
import { MODERN_REVISION } from "../connector/revisions.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import { bearerChallenge, scopesIn } from "./bearer-challenge.ts";
import { type Found, unreachable, unusable } from "./found.ts";
import { ask, jsonObject } from "./oauth-exchange.ts";

/** One search: all of its requests end together. */
export interface Search {
  readonly send: Send;
  readonly signal: AbortSignal;
  /** Why a URL may not be fetched, or null. */
  readonly refusalOf: (url: string) => string | null;
}

export interface Resource {
  /** For `resource` (RFC 8707), exactly as the metadata writes it; without metadata the URL of the server. */
  readonly resource: string;
  /** Of the challenge, else of the metadata. */
  readonly scopes: readonly string[];
  /** Its authorization servers; empty when it names none. */
  readonly issuers: readonly string[];
  readonly hasMetadata: boolean;
}

/** A JSON document, or why there is none. */
export type Document =
  | { readonly kind: "document"; readonly value: Readonly<Record<string, unknown>> }
  /** The address has something else, or nothing. */
  | { readonly kind: "absent" }
  | { readonly kind: "too_large" }
  /** A failure of the moment (429, 5xx). */
  | { readonly kind: "failing" }
  | { readonly kind: "unreachable" };

const WELL_KNOWN = "/.well-known/oauth-protected-resource";
/** More authorization servers than that are not tried. */
const MAX_ISSUERS = 5;

/**
 * Asks a server, without a credential, for what its clients need (BF-26, protocol.md 6.3 step 1).
 *
 * @see RFC 9728 sections 3 and 5
 */
export async function findResource(search: Search, server_url: string): Promise<Found<Resource>> {
  const refusal = search.refusalOf(server_url);
  if (refusal !== null) return unusable(refusal, "server_url");
  const challenge = await challengeOf(search, server_url);
  if (challenge === "unreachable") return unreachable("The server does not answer.");
  const { origin, pathname } = new URL(server_url);
  const places = [`${origin}${WELL_KNOWN}${pathname === "/" ? "" : pathname}`, `${origin}${WELL_KNOWN}`];
  const named = challenge?.["resource_metadata"];
  if (named !== undefined) {
    // Somebody who may choose where the gateway looks must not lead it to the inside (T-6).
    if (search.refusalOf(named) !== null) {
      return unusable("The server names an address for its metadata that may not be fetched.", "oauth_issuer_url");
    }
    places.unshift(named);
  }
  const asked = scopesIn(challenge?.["scope"]);
  for (const place of new Set(places)) {
    const document = await readDocument(search, place);
    if (document.kind === "absent") continue;
    if (document.kind === "too_large") return unusable("The metadata of the server is too large.", "oauth_issuer_url");
    // Not the same as none: the fall-back is another authorization server.
    if (document.kind !== "document") return unreachable("The server does not give its metadata now.");
    const { resource, authorization_servers, scopes_supported } = document.value;
    if (resource === undefined && authorization_servers === undefined) continue;
    if (typeof resource !== "string" || !covers(resource, server_url)) {
      return unusable("The metadata of the server is for another resource than its URL.", "server_url");
    }
    const issuers = Array.isArray(authorization_servers) ? authorization_servers.slice(0, MAX_ISSUERS) : [];
    return {
      ok: true,
      value: {
        resource,
        scopes: asked.length > 0 ? asked : scopesIn(scopes_supported),
        issuers: issuers.filter((issuer) => typeof issuer === "string"),
        hasMetadata: true,
      },
    };
  }
  return {
    ok: true,
    value: { resource: canonicalResource(server_url), scopes: asked, issuers: [], hasMetadata: false },
  };
}

/** The URL of a server as a resource of RFC 8707: no fragment, and no slash that stands for no path. */
export function canonicalResource(server_url: string): string {
  const { origin, pathname, search } = new URL(server_url);
  return `${origin}${pathname === "/" ? "" : pathname}${search}`;
}

/** Whether a resource is the URL of a server, or a path above it at the same origin (protocol.md 6.3 step 1). */
function covers(resource: string, server_url: string): boolean {
  const [wide, own] = [URL.parse(resource), new URL(server_url)];
  if (wide === null || wide.origin !== own.origin || wide.hash !== "") return false;
  if (wide.search !== "" && wide.search !== own.search) return false;
  const path = (url: URL) => `${url.pathname.replace(/\/+$/, "")}/`;
  return path(own).startsWith(path(wide));
}

/** What the server answers to a request without a credential. */
async function challengeOf(
  { send, signal }: Search,
  server_url: string,
): Promise<Readonly<Record<string, string>> | null | "unreachable"> {
  const { origin } = new URL(server_url);
  const method = "server/discover";
  const ways = [
    {
      method: "POST",
      headers: {
        Accept: "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": MODERN_REVISION,
        "Mcp-Method": method,
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: crypto.randomUUID(), method, params: { _meta: OWN_ENVELOPE } }),
    },
    // HTTP+SSE takes no POST there.
    { method: "GET", headers: { Accept: "text/event-stream" } },
  ] as const;
  for (const way of ways) {
    try {
      const response = await send({ ...way, url: server_url, signal }, origin);
      await response.body?.cancel();
      const challenge = bearerChallenge(response.headers.get("WWW-Authenticate"));
      if (challenge !== null || (response.status !== 404 && response.status !== 405)) return challenge;
    } catch (thrown) {
      // A redirect that is not followed says as little as an answer without a challenge.
      return thrown instanceof GatewayError ? null : "unreachable";
    }
  }
  return null;
}

export async function readDocument({ send, signal }: Search, url: string): Promise<Document> {
  const exchanged = await ask(send, { url, method: "GET", headers: { Accept: "application/json" }, signal });
  switch (exchanged.kind) {
    case "refused":
      return { kind: "absent" };
    case "too_large":
      return exchanged;
    case "answer": {
      const { status, text } = exchanged;
      if (status === 429 || status >= 500) return { kind: "failing" };
      const value = status === 200 ? jsonObject(text) : null;
      return value === null ? { kind: "absent" } : { kind: "document", value };
    }
    default:
      return { kind: "unreachable" };
  }
}
