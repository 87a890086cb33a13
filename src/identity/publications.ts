/** The two documents that an identity provider publishes about itself: its metadata and its keys. */
import type { JSONWebKeySet } from "jose";
import type { AuthorizationServer } from "oauth4webapi";
import { readBounded } from "../platform/bounded-text.ts";
import type { Clock } from "../platform/clock.ts";
import type { Outgoing, Send } from "../platform/guarded-fetch.ts";
import { isObject } from "../platform/json-value.ts";
import { ATTEMPT_MS, createRemembered, type ProviderMemory, type Published, unavailable } from "./remembered.ts";

/** Bytes of one answer. */
const MAX_ANSWER = 256 * 1024;

/** Sends one request to the provider, and gives its answer once that is there as a whole. */
export type AskProvider = (request: Omit<Outgoing, "signal">) => Promise<Response>;

/** Bounded in time and size, to whatever origin the provider has named. */
export function askProvider(send: Send): AskProvider {
  return async (request) => {
    const signal = AbortSignal.timeout(ATTEMPT_MS);
    const response = await send({ ...request, signal }, URL.parse(request.url)?.origin ?? "");
    const text = await readBounded(response, MAX_ANSWER);
    const headers = { "Content-Type": response.headers.get("Content-Type") ?? "" };
    return new Response(text === "" ? null : text, { status: response.status, headers });
  };
}

export interface PublicationDeps {
  readonly issuer: string;
  readonly ask: AskProvider;
  readonly memory: ProviderMemory;
  readonly clock: Clock;
}

export type Publications = ReturnType<typeof createPublications>;

/** Every function throws GatewayError `unavailable` when there is nothing to go by. */
export function createPublications({ issuer, ask, memory, clock }: PublicationDeps) {
  const remembered = createRemembered({ memory, clock });

  async function read(url: string): Promise<{ status: number; document: Published | null }> {
    const response = await ask({ url, method: "GET", headers: { Accept: "application/json" } });
    const { status } = response;
    if (status !== 200) return { status, document: null };
    const document: unknown = await response.json();
    return { status, document: isObject(document) ? document : null };
  }

  async function loadMetadata(): Promise<Published> {
    for (const url of metadataUrls(issuer)) {
      const { status, document } = await read(url);
      if (status >= 400 && status < 500) continue;
      // OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3: identical, not merely equivalent.
      if (document?.["issuer"] !== issuer) throw unavailable(new Error("the metadata is not that of the issuer"));
      return document;
    }
    throw unavailable(new Error("the issuer publishes no metadata"));
  }

  async function metadata(): Promise<AuthorizationServer> {
    // The issuer is checked; whoever uses another member checks what it is.
    return (await remembered.current(issuer, loadMetadata)) as Published & AuthorizationServer;
  }

  async function keysUrl(): Promise<string> {
    const { jwks_uri }: { jwks_uri?: unknown } = await metadata();
    if (typeof jwks_uri !== "string") throw unavailable(new Error("the metadata names no keys"));
    return jwks_uri;
  }

  const loadKeys = (url: string) => async () => {
    const { document } = await read(url);
    if (document === null || !isKeySet(document)) throw unavailable(new Error("the keys cannot be read"));
    return document;
  };

  return {
    metadata,

    async keys(): Promise<JSONWebKeySet> {
      const url = await keysUrl();
      return asKeySet(await remembered.current(url, loadKeys(url)));
    },

    /** The keys after those that lack one; the same ones when they have just been fetched anew. */
    async keysAfter(known: JSONWebKeySet): Promise<JSONWebKeySet> {
      const url = await keysUrl();
      return asKeySet(await remembered.newer(url, known as JSONWebKeySet & Published, loadKeys(url)));
    },
  };
}

/** Where metadata may be: OpenID Connect Discovery 1.0 section 4.1, then RFC 8414 section 3.1. */
function metadataUrls(issuer: string): string[] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, "");
  return [
    `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${path}`,
  ];
}

function isKeySet(document: Published): boolean {
  const { keys } = document;
  return Array.isArray(keys) && keys.every(isObject);
}

/** Only what `isKeySet` has let through is ever remembered under the address of keys. */
function asKeySet(document: Published): JSONWebKeySet {
  return document as Published & JSONWebKeySet;
}
