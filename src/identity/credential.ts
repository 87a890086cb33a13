import { looksLikeKey } from "../access/virtual-key.ts";
import { GatewayError } from "../failure/gateway-error.ts";

/** What a request shows of who is asking (PS-1). */
export interface Credentials {
  /** A bearer token that is no virtual key. */
  readonly token: string | null;
  /** A virtual key, from whichever of its headers. The same one may come in several. */
  readonly key: string | null;
}

const KEY_HEADERS = ["x-bf-vk", "x-api-key"] as const;

/**
 * The credentials of a request: a bearer token, and a virtual key as bearer, in `x-bf-vk` or in `x-api-key`.
 *
 * @throws GatewayError `ambiguous_credentials` for two different keys; `unauthorized` for something else in the place of
 *   one.
 */
export function credentialsOf(headers: Headers): Credentials {
  const bearer = bearerOf(headers) ?? null;
  const isKey = bearer !== null && looksLikeKey(bearer);
  const keys = new Set(isKey ? [bearer] : []);
  for (const name of KEY_HEADERS) {
    const value = headers.get(name)?.trim();
    if (!value) continue;
    // Some clients send their bearer token in every header they know.
    if (value !== bearer && !looksLikeKey(value)) throw name === "x-bf-vk" ? unknownKey() : unauthorized();
    if (looksLikeKey(value)) keys.add(value);
  }
  if (keys.size > 1) throw new GatewayError("ambiguous_credentials", "The request carries two different keys.");
  const [key = null] = keys;
  return { token: isKey ? null : bearer, key };
}

/** The bearer token of a request where it looks like a JWT, as an identity provider makes them; the gateway makes none. */
export function jwtAmong(headers: Headers): string | null {
  const token = bearerOf(headers) ?? "";
  return /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token) ? token : null;
}

/** The bearer token of a request (RFC 6750 section 2.1). */
function bearerOf(headers: Headers): string | undefined {
  return /^Bearer +([^\s]+) *$/i.exec(headers.get("Authorization") ?? "")?.[1];
}

/** What an unknown or unusable virtual key is refused with: the one refusal, but the execute door can tell (BF-59). */
export function unknownKey(): GatewayError {
  return new GatewayError("unauthorized", INVALID, { cause: new UnknownKey() });
}

export function isUnknownKey(thrown: unknown): boolean {
  return thrown instanceof GatewayError && thrown.cause instanceof UnknownKey;
}

class UnknownKey extends Error {
  override readonly name = "UnknownKey";
}

const INVALID = "A valid credential is required.";

/**
 * The one refusal of a missing and of an invalid credential.
 *
 * @param reason For the log, in words of ours or of a library, never of the credential.
 */
export function unauthorized(reason?: string): GatewayError {
  const options = reason === undefined ? {} : { cause: new Error(reason) };
  return new GatewayError("unauthorized", INVALID, options);
}
