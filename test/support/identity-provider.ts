/** An identity provider without a network: real keys, signatures and documents; what it answers is the test's. */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import type { OidcSettings } from "../../src/config.ts";
import { createIdentityProvider } from "../../src/identity/provider.ts";
import type { ProviderMemory } from "../../src/identity/remembered.ts";
import { ExpiringMap } from "../../src/platform/expiring-map.ts";
import { guardedFetch, type Network } from "../../src/platform/guarded-fetch.ts";
import { Secret } from "../../src/platform/secret.ts";

export const ISSUER = "https://id.example";
export const AUDIENCE = "https://gateway.example/mcp";
/** Far from the system's time: whoever asks that one is found out. */
export const NOW = Date.UTC(2031, 4, 5, 6, 7, 8);
export const NOW_S = NOW / 1000;

export const SETTINGS: OidcSettings = {
  issuer: ISSUER,
  audience: AUDIENCE,
  client: { id: "postern", secret: new Secret("c4n4ry") },
  scopes: [],
  claims: {
    sub: "sub",
    email: "email",
    org: null,
    roles: null,
    groups: null,
    group_admins: null,
    platform_admin: null,
  },
  roles: new Map([
    ["org_admin", "org_admin"],
    ["member", "member"],
  ]),
};

export interface ProviderKey {
  readonly kid: string;
  readonly alg: string;
  readonly jwk: JWK;
  readonly privateKey: CryptoKey;
}

export async function newKey(alg = "ES256"): Promise<ProviderKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { kid, alg, privateKey, jwk: { ...jwk, kid, alg, use: "sig" } };
}

/** A token as the provider signs it; `undefined` leaves a claim out. */
export async function sign(key: ProviderKey, claims: object = {}, header: object = {}): Promise<string> {
  const all = { iss: ISSUER, aud: AUDIENCE, sub: "ada", exp: NOW_S + 300, ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(all)))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey);
}

/** Three parts as they come: for texts that no honest signer makes. */
export function unsigned(header: string | object, payload: string | object, signature = "c2ln"): string {
  const part = (value: string | object) =>
    btoa(String.fromCharCode(...new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value))))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replaceAll("=", "");
  return `${part(header)}.${part(payload)}.${signature}`;
}

export interface World {
  now: number;
  /** What has been asked for, in order. */
  readonly asked: string[];
  /** The same with all that was sent. */
  readonly sent: { url: string; method: string; headers: Readonly<Record<string, string>>; body: string }[];
  /** By address; a test replaces and adds. */
  readonly pages: Record<string, () => Response | Promise<Response>>;
  keys: ProviderKey[];
}

/** A provider with one key, and the gateway's view of it. */
export async function identityWorld(settings: Partial<OidcSettings> = {}) {
  const issuer = settings.issuer ?? ISSUER;
  const key = await newKey();
  const memory: ProviderMemory = new ExpiringMap(() => world.now, 10);
  const world: World = {
    now: NOW,
    asked: [],
    sent: [],
    keys: [key],
    pages: {
      [`${issuer}/.well-known/openid-configuration`]: () => Response.json(metadataOf(issuer)),
      "https://keys.example/jwks": () => Response.json({ keys: world.keys.map(({ jwk }) => jwk) }),
    },
  };
  const network: Network = async (url, { method = "", headers, body }) => {
    world.asked.push(url);
    world.sent.push({ url, method, headers: headers as Record<string, string>, body: `${body ?? ""}` });
    return (await world.pages[url]?.()) ?? new Response("No such page", { status: 404 });
  };
  const provider = createIdentityProvider({
    settings: { ...SETTINGS, ...settings },
    send: guardedFetch({ network, allowInsecure: false }),
    memory,
    clock: () => world.now,
    allowInsecure: false,
  });
  return { world, provider, key, memory };
}

export function metadataOf(issuer: string) {
  return {
    issuer,
    jwks_uri: "https://keys.example/jwks",
    authorization_endpoint: "https://id.example/authorize?tenant=acme",
    token_endpoint: "https://token.example/token",
  };
}
