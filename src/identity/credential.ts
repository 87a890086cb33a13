import { GatewayError } from "../failure/gateway-error.ts";

const CARRIERS = ["x-bf-vk", "x-api-key"] as const;

/**
 * The credential of a request: a bearer token, or a virtual key in `x-bf-vk` or `x-api-key` (PS-1). The same one may
 * come in several headers.
 *
 * @throws GatewayError `ambiguous_credentials` when two of them differ.
 */
export function credentialOf(headers: Headers): string | null {
  const found = new Set(
    [bearerOf(headers), ...CARRIERS.map((name) => headers.get(name)?.trim())].filter((value) => !!value),
  );
  if (found.size > 1) {
    throw new GatewayError("ambiguous_credentials", "The request carries two different credentials.");
  }
  const [credential] = found;
  return credential ?? null;
}

/** The bearer token of a request (RFC 6750 section 2.1). */
export function bearerOf(headers: Headers): string | undefined {
  return /^Bearer +([^\s]+) *$/i.exec(headers.get("Authorization") ?? "")?.[1];
}
