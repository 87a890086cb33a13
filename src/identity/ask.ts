/** What a client asks for at the authorization endpoint, checked by the library's rules and by ours. */
import {
  AuthorizationError,
  type AuthRequest,
  authorizationErrorRedirect,
  CimdFetchError,
  type ConsentDescription,
} from "@cloudflare/workers-oauth-provider";
import { GatewayError } from "../failure/gateway-error.ts";
import { refusalOf } from "../platform/guarded-fetch.ts";
import { isServable, oauthHelpers } from "./oauth-library.ts";
import { parseResource } from "./resource.ts";

export type Ask =
  | { readonly kind: "ask"; readonly request: AuthRequest; readonly client: ConsentDescription }
  /** The client is known, and is told by a redirect; `iss` is in it (RFC 9207). */
  | { readonly kind: "refused"; readonly redirectTo: string };

/** What base64url makes of 32 bytes (RFC 7636 section 4.2). */
const S256_CHALLENGE = /^[A-Za-z0-9_-]{43}$/;

/**
 * Reads an authorization request from the query of a URL.
 *
 * @throws GatewayError `invalid_request` where client or redirect URI are not to be trusted: nobody is redirected then
 *   (RFC 6749 section 4.1.2.1)
 */
export async function readAsk(url: URL, kv: KVNamespace): Promise<Ask> {
  const { origin, searchParams } = url;
  if (!isServable(origin)) throw new GatewayError("invalid_request", "Signing in needs https.");
  for (const name of new Set(searchParams.keys())) {
    // RFC 6749 section 3.1; `resource` may come more than once (RFC 8707), and the library says what it makes of that.
    if (name !== "resource" && searchParams.getAll(name).length > 1) {
      throw new GatewayError("invalid_request", "The request has a parameter twice.");
    }
  }
  requireFetchable(searchParams.get("client_id"));
  const helpers = oauthHelpers(origin, parseResource(searchParams.get("resource") ?? "", origin), kv);
  try {
    const request = await helpers.parseAuthRequest(new Request(url));
    const { codeChallenge = "" } = request;
    // The library asks it of public clients only. Without it a code that was seen by somebody else is theirs.
    if (!S256_CHALLENGE.test(codeChallenge)) {
      const description = "A code_challenge of PKCE S256 is required.";
      return { kind: "refused", redirectTo: authorizationErrorRedirect(request, "invalid_request", description) };
    }
    return { kind: "ask", request, client: await helpers.describeConsent(request) };
  } catch (cause) {
    if (cause instanceof AuthorizationError) {
      if (cause.redirectTo !== undefined) return { kind: "refused", redirectTo: cause.redirectTo };
      throw new GatewayError("invalid_request", `The app's request is not valid: ${cause.description}.`, { cause });
    }
    if (cause instanceof CimdFetchError) {
      throw new GatewayError("invalid_request", "The app's description of itself could not be read.", { cause });
    }
    throw cause;
  }
}

/** Tells the client that the person, or their identity provider, did not want it. */
export function denied(request: AuthRequest): string {
  return authorizationErrorRedirect(request, "access_denied", "Access was not granted.");
}

/**
 * A client id that is a URL is fetched by the library (CIMD); it goes only where the guarded fetch would (PS-61).
 *
 * @throws GatewayError `invalid_request`
 */
export function requireFetchable(clientId: string | null): void {
  if (clientId === null || !/^[a-z][a-z0-9+.-]*:/i.test(clientId)) return;
  const reason = refusalOf(clientId, { allowInsecure: false });
  if (reason !== null) throw new GatewayError("invalid_request", "The client_id is no URL that may be fetched.");
}
