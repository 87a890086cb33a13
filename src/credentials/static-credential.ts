import type { ServerConfig } from "../registry/server-record.ts";

/**
 * The headers of a server with static credentials (PS-58): `config.headers` as they are, `config.api_key` as a bearer
 * token unless an `Authorization` header is among them.
 */
export function staticHeaders({ headers = {}, api_key }: ServerConfig): Record<string, string> {
  const hasOwn = Object.keys(headers).some((name) => name.toLowerCase() === "authorization");
  return { ...headers, ...(api_key === undefined || hasOwn ? {} : { Authorization: `Bearer ${api_key}` }) };
}
