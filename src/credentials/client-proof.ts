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
 * How a client proves itself where nobody has said (CN-19): a private key by a signature, another secret by Basic unless
 * the metadata lists the other form only.
 *
 * @param listed What the metadata of the authorization server lists; empty when it does not.
 */
export function tokenAuthMethodFor(secret: Secret | string | null, listed: readonly string[]): TokenAuthMethod {
  const text = textOf(secret);
  if (text === "") return "none";
  if (text.trimStart().startsWith("-----BEGIN PRIVATE KEY-----")) return "private_key_jwt";
  const takesPostOnly = listed.includes("client_secret_post") && !listed.includes("client_secret_basic");
  return takesPostOnly ? "client_secret_post" : "client_secret_basic";
}

/**
 * @param secret With `private_key_jwt` the private key, PKCS#8 in PEM.
 * @param method Null: as `tokenAuthMethodFor` has it, with nothing listed.
 * @returns Null when the key cannot be read.
 */
export async function clientProof(
  secret: Secret | string | null,
  method: TokenAuthMethod | null,
): Promise<ClientAuth | null> {
  const text = textOf(secret);
  const chosen = method ?? tokenAuthMethodFor(secret, []);
  if (chosen === "private_key_jwt") {
    const key = await privateKey(text);
    return key === null ? null : PrivateKeyJwt(key);
  }
  if (text === "" || chosen === "none") return None();
  return chosen === "client_secret_post" ? ClientSecretPost(text) : basic(text);
}

function textOf(secret: Secret | string | null): string {
  return (typeof secret === "string" ? secret : secret?.reveal()) ?? "";
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
