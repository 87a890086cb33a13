/** The headers that carry a credential, by the host it is for (CN-6, PS-58). Pure. */
import { isHostWithin } from "../platform/address.ts";
import type { ServerConfig } from "../registry/server-record.ts";

/** What Notion wants to be told besides the token. */
const NOTION_VERSION = "2022-06-28";

/** The headers that show a token to a server, static or from OAuth alike. */
export function tokenHeaders(serverUrl: string, token: string): Record<string, string> {
  const { hostname } = new URL(serverUrl);
  if (isHostWithin(hostname, "figma.com")) return { "X-Figma-Token": token };
  const bearer = { Authorization: `Bearer ${token}` };
  return isHostWithin(hostname, "notion.com") ? { ...bearer, "Notion-Version": NOTION_VERSION } : bearer;
}

/** The headers of a server with static credentials: an admin's own win over those that are made from the key. */
export function staticHeaders(serverUrl: string, { headers = {}, api_key }: ServerConfig): Record<string, string> {
  if (api_key === undefined) return { ...headers };
  const own = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  const made = Object.entries(tokenHeaders(serverUrl, api_key)).filter(([name]) => !own.has(name.toLowerCase()));
  return { ...headers, ...Object.fromEntries(made) };
}
