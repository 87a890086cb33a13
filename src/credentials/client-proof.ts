/** How the gateway proves to an authorization server that it is the client it says it is (CN-19). */
import { importPKCS8 } from "jose";
import { type ClientAuth, ClientSecretPost, None, PrivateKeyJwt } from "oauth4webapi";
import type { Secret } from "../platform/secret.ts";

export const TOKEN_AUTH_METHODS = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"] as const;
export type TokenAuthMethod = (typeof TOKEN_AUTH_METHODS)[number];

export function isTokenAuthMethod(value: unknown): value is TokenAuthMethod {
  return TOKEN_AUTH_METHODS.some((method) => method === value);
}

/**
 * Those that a private key in PKCS#8 may be for; the first that imports it is the one it is for. Ed25519 is the last:
 * workerd takes keys of the other kinds for one of these.
 */
const KEY_ALGORITHMS = ["ES256", "ES384", "ES512", "RS256", "Ed25519"];

/**
 * @param secret With `private_key_jwt` the private key, PKCS#8 in PEM.
 * @param method Null: Basic with a secret, else none.
 * @returns Null when there is no such key.
 */
export async function clientProof(
  secret: Secret | string | null,
  method: TokenAuthMethod | null,
): Promise<ClientAuth | null> {
  const text = (typeof secret === "string" ? secret : secret?.reveal()) ?? "";
  if (method === "private_key_jwt") {
    const key = await privateKey(text);
    return key === null ? null : PrivateKeyJwt(key);
  }
  if (text === "" || method === "none") return None();
  return method === "client_secret_post" ? ClientSecretPost(text) : basic(text);
}

/**
 * Id and secret are form-encoded first (RFC 6749 section 2.3.1), as a form is: the library encodes `-` and `_` too,
 * which is lost on the many servers that do not decode.
 */
function basic(secret: string): ClientAuth {
  return (_server, { client_id }, _body, headers) => {
    headers.set("authorization", `Basic ${btoa(`${formEncoded(client_id)}:${formEncoded(secret)}`)}`);
  };
}

function formEncoded(text: string): string {
  return new URLSearchParams({ "": text }).toString().slice(1);
}

async function privateKey(pem: string): Promise<CryptoKey | null> {
  for (const algorithm of KEY_ALGORITHMS) {
    const key = await importPKCS8(pem.trim(), algorithm).catch(() => null);
    if (key !== null) return key;
  }
  return null;
}
