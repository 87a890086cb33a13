/** Sending a person to an authorization server, and what they come back with. */
import { AuthorizationResponseError, calculatePKCECodeChallenge, validateAuthResponse } from "oauth4webapi";
import { GatewayError } from "../failure/gateway-error.ts";
import { isHostWithin } from "../platform/address.ts";
import { OWNED_PARAMS } from "../registry/oauth-fields.ts";

/** One authorization; `state` and `verifier` are fresh, unguessable, and used once. */
export interface AuthorizationRequest {
  readonly authorization_endpoint: string | null;
  readonly client_id: string;
  readonly redirectUri: string;
  readonly state: string;
  /** The PKCE code verifier (RFC 7636). */
  readonly verifier: string;
  readonly scopes: readonly string[];
  /** RFC 8707. */
  readonly resource: string;
  readonly extra_auth_params: Readonly<Record<string, string>>;
}

/**
 * Where to send the browser (RB-35, CN-29, P-59).
 *
 * @param allowInsecure Development and tests: the endpoint may be plain http.
 * @throws GatewayError `invalid_request` when there is no endpoint that a browser may be sent to
 */
export async function authorizationUrl(
  {
    authorization_endpoint,
    client_id,
    redirectUri,
    state,
    verifier,
    scopes,
    resource,
    ...request
  }: AuthorizationRequest,
  allowInsecure: boolean,
): Promise<string> {
  const field = "authorization_endpoint";
  const url = URL.parse(authorization_endpoint ?? "");
  if (url === null) throw new GatewayError("invalid_request", "The server has no authorization endpoint.", { field });
  // `javascript:` and the like would run in the gateway's own page (protocol.md 5.5).
  if (!(url.protocol === "https:" || (url.protocol === "http:" && allowInsecure))) {
    throw new GatewayError("invalid_request", "The authorization endpoint must be https.", { field });
  }
  const usual = {
    // Without it, who follows OpenID Connect (Core section 11) leaves the refresh token out.
    ...(scopes.includes("offline_access") ? { prompt: "consent" } : {}),
    ...(isHostWithin(url.hostname, "notion.com") ? { owner: "user" } : {}),
  };
  const ours = {
    response_type: "code",
    client_id,
    redirect_uri: redirectUri,
    state,
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    ...(scopes.length === 0 ? {} : { scope: scopes.join(" ") }),
    ...(resource === "" ? {} : { resource }),
  };
  const extra = Object.entries(request.extra_auth_params).filter(([name]) => !OWNED_PARAMS.has(name));
  for (const [name, value] of [...Object.entries({ ...usual, ...ours }), ...extra]) url.searchParams.set(name, value);
  url.hash = "";
  return url.href;
}

export type Callback =
  | { readonly ok: true; readonly code: string }
  /** `denied`: the authorization server has answered with an error. `invalid`: it is no answer to this request. */
  | { readonly ok: false; readonly reason: "denied" | "invalid"; readonly message: string; readonly denial?: Denial };

/** What the authorization server says of its refusal: untrusted, to be shown escaped at most (BF-46). */
export interface Denial {
  readonly error: string;
  readonly description: string | null;
}

const MAX_DENIAL = 500;

/**
 * Checks what the browser has come back with (PS-55, P-58). Of an answer whose issuer is wrong nothing is believed, its
 * error text included.
 *
 * @param issuer The one that was kept with the request.
 * @param iss_required Whether the metadata promises `iss` (RFC 9207).
 */
export function checkCallback(
  parameters: URLSearchParams,
  { issuer, iss_required, state }: { readonly issuer: string; readonly iss_required: boolean; readonly state: string },
): Callback {
  const server = { issuer, authorization_response_iss_parameter_supported: iss_required };
  try {
    // The library takes an empty issuer for none.
    if (parameters.get("iss") === "") return INVALID;
    // It wants a client for other flows than this one.
    const [code = "", another] = validateAuthResponse(server, { client_id: "postern" }, parameters, state).getAll(
      "code",
    );
    return code === "" || another !== undefined ? INVALID : { ok: true, code };
  } catch (thrown) {
    if (!(thrown instanceof AuthorizationResponseError)) return INVALID;
    const { error, error_description: description } = thrown;
    return {
      ok: false,
      reason: "denied",
      message: DENIALS.get(error) ?? "The authorization server has refused the authorization.",
      denial: { error: error.slice(0, MAX_DENIAL), description: description?.slice(0, MAX_DENIAL) ?? null },
    };
  }
}

const INVALID: Callback = { ok: false, reason: "invalid", message: "This is no answer to the authorization request." };

/** By OAuth error code (RFC 6749 section 4.1.2.1, RFC 8707 section 2). */
const DENIALS = new Map([
  ["access_denied", "Access was not granted."],
  ["invalid_scope", "The authorization server refuses the scopes that were asked for."],
  ["invalid_target", "The authorization server refuses the parameter resource (RFC 8707), which names the server."],
  ["unauthorized_client", "The authorization server does not let the gateway's client ask for authorization."],
  ["server_error", "The authorization server failed."],
  ["temporarily_unavailable", "The authorization server cannot answer at the moment."],
]);
