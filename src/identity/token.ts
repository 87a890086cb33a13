/** JSON Web Tokens of the operator's identity provider: what must hold before a claim of one is believed (PS-3). */

import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from "jose";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import { unauthorized } from "./credential.ts";

/** What a token says, before anybody has looked at what kinds of values these are. */
export type Claims = Readonly<Record<string, unknown>>;

/**
 * Signatures that only the holder of a private key can make. Neither `none` nor HS256 and the like: the latter would
 * take the provider's public key, which everybody has, for a shared secret (RFC 8725 section 3.1).
 */
export const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;

/** How far the clocks of the gateway and the provider may be apart, in seconds. */
export const TOLERANCE_S = 60;

/**
 * What a token may call itself: nothing, a JWT, or an access token (RFC 9068). A provider signs other things with the
 * same keys, such as logout tokens, that say of a user something else than "here I am" (RFC 8725 section 3.11).
 */
const TYPES: readonly unknown[] = [undefined, "jwt", "at+jwt"];

export interface TokenRules {
  readonly issuer: string;
  readonly audience: string;
  readonly clock: Clock;
  /** The provider's keys, asked for once the header is known to be sound. */
  readonly keys: () => Promise<JSONWebKeySet>;
  /** Later keys than the given ones, which lack the one of the token. */
  readonly keysAfter: (known: JSONWebKeySet) => Promise<JSONWebKeySet>;
}

/**
 * The claims of a token that the issuer signed for the audience, and whose time it is.
 *
 * @throws GatewayError `unauthorized`, the same for whatever is wrong with it; and what asking for keys throws
 */
export async function verifyToken(token: string, { issuer, audience, clock, keys, keysAfter }: TokenRules) {
  const getKey: JWTVerifyGetKey = async (header, input) => {
    const known = await keys();
    try {
      return await keyFrom(known, header, input);
    } catch (thrown) {
      if (!(thrown instanceof errors.JWKSNoMatchingKey)) throw thrown;
      return keyFrom(await keysAfter(known), header, input);
    }
  };
  try {
    const { payload, protectedHeader } = await jwtVerify(token, getKey, {
      issuer,
      audience,
      algorithms: [...ALGORITHMS],
      clockTolerance: TOLERANCE_S,
      currentDate: new Date(clock()),
      requiredClaims: ["exp"],
    });
    const { typ }: { typ?: unknown } = protectedHeader;
    const type = typeof typ === "string" ? typ.toLowerCase().replace(/^application\//, "") : typ;
    if (!TYPES.includes(type)) throw new Error("the token is of another type");
    return payload as Claims;
  } catch (thrown) {
    throw thrown instanceof GatewayError ? thrown : unauthorized(reasonOf(thrown));
  }
}

/**
 * The set is made for each token: one that is kept keeps the promise of each imported key with it, and a promise of one
 * request must not be awaited by another. Who asks remembers what came of it.
 */
const keyFrom = (keys: JSONWebKeySet, ...args: Parameters<JWTVerifyGetKey>) => createLocalJWKSet(keys)(...args);

/** What a log may know of an error: its stable code. Messages and causes of the libraries quote what they have read. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return "unknown";
  return "code" in thrown && typeof thrown.code === "string" ? thrown.code : thrown.name;
}
