/**
 * The one way out: every request that leaves the gateway passes here, whoever asks for it. Which origin a request may
 * go to is the registry's to say and comes as an argument; what no registry may allow is refused in any case (PS-61).
 */
import { GatewayError } from "../failure/gateway-error.ts";
import { kindOfHost } from "./address.ts";

/** The network itself; tests put a fake here. */
export type Network = (url: string, init: RequestInit) => Promise<Response>;

/** The runtime's own `fetch`, called as a function: as a method of something it throws "Illegal invocation". */
export const realNetwork: Network = (url, init) => fetch(url, init);

/** A request that leaves. The body is a text, so that a followed redirect can send it again. */
export interface Outgoing {
  readonly url: string;
  readonly method: "GET" | "POST" | "DELETE";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/**
 * Sends one request.
 *
 * @param origin The only origin that this request, or a redirect of it, may go to.
 * @throws GatewayError `upstream_failed` when the request may not be sent, or a redirect may not be followed. Whatever
 *   the network throws is thrown on.
 */
export type Send = (request: Outgoing, origin: string) => Promise<Response>;

const MAX_REDIRECTS = 3;

/** @param allowInsecure Development and tests: plain http, loopback and private addresses are let through. */
export function guardedFetch({ network, allowInsecure }: { network: Network; allowInsecure: boolean }): Send {
  return async ({ url: first, ...init }, origin) => {
    let url = first;
    for (let redirects = 0; ; redirects++) {
      const reason = refusalOf(url, { origin, allowInsecure });
      if (reason !== null) throw new GatewayError("upstream_failed", reason);
      const response = await network(url, { ...init, redirect: "manual" });
      const location = REDIRECTS.has(response.status) ? response.headers.get("Location") : null;
      if (location === null) return response;
      await response.body?.cancel();
      // Only redirects that keep method and body: the others would turn a call into something else.
      if (!KEEPING.has(response.status) && init.method !== "GET") {
        throw new GatewayError("upstream_failed", "The server redirected the request.");
      }
      if (redirects === MAX_REDIRECTS) throw new GatewayError("upstream_failed", "The server redirected too often.");
      url = URL.parse(location, url)?.href ?? "";
    }
  };
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const KEEPING = new Set([307, 308]);

/**
 * Why a URL may not be fetched, in words for an admin; null when it may.
 *
 * @param origin When given, the origin it must have.
 */
export function refusalOf(
  url: string,
  { origin, allowInsecure }: { origin?: string; allowInsecure: boolean },
): string | null {
  const parsed = URL.parse(url);
  if (parsed === null) return "This is not an absolute URL.";
  if (parsed.protocol !== "https:" && !(parsed.protocol === "http:" && allowInsecure)) {
    return allowInsecure ? "The URL must be http or https." : "The URL must be https.";
  }
  if (parsed.username !== "" || parsed.password !== "") return "The URL must not hold a user name or password.";
  const kind = kindOfHost(parsed.hostname);
  if (kind === "forbidden" || (kind === "local" && !allowInsecure)) {
    return "The host is a private, local or special address.";
  }
  if (origin !== undefined && parsed.origin !== origin) return "The server redirected to another origin.";
  return null;
}
