/** The MCP doors as OAuth resources: their names, who may enter with which token, and what they tell clients. Pure. */

/** The one scope there is: what a token may do is what its owner may do. */
export const SCOPE = "mcp";

const WELL_KNOWN = "/.well-known/oauth-protected-resource";

/** Whether a path segment can name a server. */
export function isSlug(segment: string): boolean {
  return /^[A-Za-z0-9-]{1,63}$/.test(segment);
}

/**
 * A door as a resource (RFC 8707): its URL, with its path as the client spells it and without a trailing slash.
 *
 * @param slug The server that the path names; null for the door to all of them.
 */
export function resourceOf(origin: string, slug: string | null): string {
  return `${origin}/mcp${slug === null ? "" : `/${slug}`}`;
}

/** A door of ours from its URL, in the spelling of `resourceOf`; null for anything else. */
export function parseResource(text: string, origin: string): string | null {
  const url = URL.parse(text);
  if (url?.origin !== origin || url.href !== `${origin}${url.pathname}`) return null;
  const [, slug] = /^\/mcp(?:\/([^/]+))?$/.exec(url.pathname) ?? ["", ""];
  return slug === undefined || isSlug(slug) ? resourceOf(origin, slug ?? null) : null;
}

/** The server that a resource of ours is about; null for all of them. */
export function slugOf(resource: string): string | null {
  return /\/mcp\/([^/]+)$/.exec(resource)?.[1] ?? null;
}

/** Whether a token for an audience is good at a resource: the same one, or one below it (protocol.md 6.1). */
export function covers(audience: string, resource: string): boolean {
  // Names of servers are told apart ignoring case, and hosts are in lower case already.
  const [whole, part] = [audience.toLowerCase(), resource.toLowerCase()];
  return part === whole || part.startsWith(`${whole}/`);
}

/** Where the description of a door is. */
export function metadataUrl(origin: string, slug: string | null): string {
  return resourceOf(`${origin}${WELL_KNOWN}`, slug);
}

/**
 * The description of a door (RFC 9728 section 2). It is the same for every legal name, so that it tells nothing about
 * which servers exist.
 *
 * @param issuers Whose tokens are accepted besides our own.
 */
export function resourceMetadata(origin: string, slug: string | null, issuers: readonly string[]) {
  return {
    resource: resourceOf(origin, slug),
    authorization_servers: [origin, ...issuers],
    scopes_supported: [SCOPE],
    bearer_methods_supported: ["header"],
  };
}

/** What a refusal says to a client that could sign in (RFC 6750 section 3, RFC 9728 section 5.1). */
export function challenge(
  origin: string,
  slug: string | null,
  error: "invalid_token" | "insufficient_scope" | null,
): string {
  const told = error === null ? "" : `, error="${error}"`;
  return `Bearer resource_metadata="${metadataUrl(origin, slug)}", scope="${SCOPE}"${told}`;
}
