/**
 * What a token endpoint's answer says. Read more leniently than RFC 6749 section 5 has it, because providers are; judged
 * by HTTP status and OAuth error code alone, never by words (T-42). None of its text is repeated (T-2). Pure.
 */
import { scopesIn } from "./bearer-challenge.ts";
import { jsonObject } from "./oauth-exchange.ts";

export interface TokenAnswer {
  readonly access_token: string;
  readonly refresh_token: string | null;
  readonly token_type: string;
  /** Seconds, more than none; null: not said, or nothing that makes sense (CN-21). */
  readonly expires_in: number | null;
  /** Null: not said, so those that were asked for (RB-21). */
  readonly scopes: readonly string[] | null;
}

export type TokenRefusal =
  /** The grant is good no longer: `invalid_grant`, `unauthorized_client`. */
  | "grant_refused"
  /** The client is not known, or not proved: `invalid_client`, or a 401 without a code. */
  | "client_refused"
  /** The request, for another reason; the same one will not do better. */
  | "refused"
  /** Nothing that can be gone by: no answer, an outage, an answer that is none. */
  | "unavailable";

export type TokenOutcome =
  | { readonly ok: true; readonly answer: TokenAnswer }
  /** The message is ours. */
  | { readonly ok: false; readonly refusal: TokenRefusal; readonly message: string };

export const refusedWith = (refusal: TokenRefusal, message: string): Extract<TokenOutcome, { ok: false }> => ({
  ok: false,
  refusal,
  message,
});

const REFUSED_GRANT = "The authorization server does not accept the grant: it has ended, or was used before.";
const REFUSED_CLIENT = "The authorization server does not accept the gateway as this client.";
const REFUSED_RESOURCE = "The authorization server refuses the parameter resource (RFC 8707), which names the server.";

/** By OAuth error code (RFC 6749 section 5.2, RFC 8707 section 2). */
const REFUSALS = new Map<string, readonly [TokenRefusal, string]>([
  ["invalid_grant", ["grant_refused", REFUSED_GRANT]],
  ["unauthorized_client", ["grant_refused", "The authorization server does not let this client have such a grant."]],
  ["invalid_client", ["client_refused", REFUSED_CLIENT]],
  ["invalid_scope", ["refused", "The authorization server refuses the scopes that were asked for."]],
  ["invalid_target", ["refused", REFUSED_RESOURCE]],
  ["unsupported_grant_type", ["refused", "The authorization server does not offer such a grant."]],
  // What GitHub and Slack call the same, with status 200.
  ["bad_refresh_token", ["grant_refused", REFUSED_GRANT]],
  ["bad_verification_code", ["grant_refused", REFUSED_GRANT]],
  ["incorrect_client_credentials", ["client_refused", REFUSED_CLIENT]],
  ["invalid_refresh_token", ["grant_refused", REFUSED_GRANT]],
  ["invalid_code", ["grant_refused", REFUSED_GRANT]],
  ["invalid_client_id", ["client_refused", REFUSED_CLIENT]],
  ["bad_client_secret", ["client_refused", REFUSED_CLIENT]],
]);

/** A header carries it. */
const TOKEN = /^[\x20-\x7e]+$/;
/** A hundred years: whatever is beyond has no date. */
const MAX_LIFETIME_S = 3_153_600_000;

/** @param text Of the body: JSON, or a form (BF-49), whatever its type says. */
export function readTokenAnswer(status: number, text: string): TokenOutcome {
  if (status === 429) return refusedWith("unavailable", "The authorization server asks to be left alone for a while.");
  if (status >= 500) return refusedWith("unavailable", `The authorization server failed with status ${status}.`);
  const body = jsonObject(text) ?? Object.fromEntries(new URLSearchParams(text));
  const error = body["error"];
  const known = typeof error === "string" ? REFUSALS.get(error) : undefined;
  if (known !== undefined && (status === 200 || status >= 400)) return refusedWith(...known);
  if (status >= 400) {
    // PS-56: what a client without a right to be here gets from servers, and proxies before them, that say no more.
    if (status === 401 && typeof error !== "string") return refusedWith("client_refused", REFUSED_CLIENT);
    return refusedWith("refused", `The authorization server refused the request with status ${status}.`);
  }
  const { access_token, refresh_token, token_type, expires_in, scope } = body;
  if (status !== 200 || error !== undefined || typeof access_token !== "string" || !TOKEN.test(access_token)) {
    return refusedWith("unavailable", "The authorization server gave an answer without an access token.");
  }
  return {
    ok: true,
    answer: {
      access_token,
      refresh_token: typeof refresh_token === "string" && refresh_token !== "" ? refresh_token : null,
      token_type: typeof token_type === "string" && token_type !== "" ? token_type : "Bearer",
      expires_in: lifetimeOf(expires_in),
      scopes: typeof scope === "string" ? scopesIn(scope) : null,
    },
  };
}

function lifetimeOf(value: unknown): number | null {
  const isNumber = typeof value === "number" || (typeof value === "string" && /^\s*\d+(\.\d+)?\s*$/.test(value));
  const seconds = isNumber ? Math.floor(Number(value)) : 0;
  return seconds > 0 ? Math.min(seconds, MAX_LIFETIME_S) : null;
}
