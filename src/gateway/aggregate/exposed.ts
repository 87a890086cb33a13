/**
 * Prompts and resources of servers under the names that `/mcp` gives them. Nobody keeps a list of them, so each name
 * says by itself which server it is of, and the rest of it stays as the server wrote it (OT-1). Pure.
 */

/** What a name of `/mcp` stands for. */
export interface Owned {
  /** The server's slug in lower case. */
  readonly slug: string;
  /** The server's own name or URI. */
  readonly own: string;
}

const SCHEME = "postern+";

/** A prompt's name; server names have no underscore, so that the first two always split. */
export function exposedPrompt(server: string, prompt: string): string {
  return `${server}__${prompt}`;
}

/** @returns Null for what no server's prompt can be called. */
export function readPrompt(exposed: unknown): Owned | null {
  const at = typeof exposed === "string" ? exposed.indexOf("__") : -1;
  if (typeof exposed !== "string" || at < 1) return null;
  return { slug: exposed.slice(0, at).toLowerCase(), own: exposed.slice(at + 2) };
}

/**
 * A resource's URI, or a template of one (RFC 6570): the server is named by a scheme before all of it, which is legal
 * wherever the original was, leaves query, fragment and expressions where they are, and may be written in any case.
 */
export function exposedUri(server: string, uri: string): string {
  return `${SCHEME}${server.toLowerCase()}:${uri}`;
}

/** @returns Null for a URI that this door has not given. */
export function readUri(exposed: unknown): Owned | null {
  if (typeof exposed !== "string" || exposed.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return null;
  const at = exposed.indexOf(":");
  if (at <= SCHEME.length) return null;
  return { slug: exposed.slice(SCHEME.length, at).toLowerCase(), own: exposed.slice(at + 1) };
}
