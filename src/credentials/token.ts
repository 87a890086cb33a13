/** Upstream tokens: what is stored of them, what is shown of them, and when they are due. Pure. */
import type { Owner } from "./owner.ts";
import type { TokenAnswer } from "./token-answer.ts";
import type { OAuthClient } from "./token-endpoint.ts";

/** What is known of a token besides its value (RB-19). Times in milliseconds since the Unix epoch. */
export interface TokenRow extends Owner {
  readonly server_id: string;
  readonly token_id: string;
  /** Each refresh makes the next. */
  readonly version: number;
  /** Null when nobody has said. */
  readonly expires_at: number | null;
  /** When it is refreshed where `expires_at` is null and there is a refresh token (CN-21). */
  readonly assumed_expiry: number | null;
  readonly has_refresh_token: boolean;
  readonly refresh_failed: boolean;
  readonly scopes: readonly string[];
  readonly created: number;
  readonly modified: number;
}

/** Our registration that a token was given to: only that one can refresh it, or revoke it. Secret, like the token. */
export interface TokenClient extends OAuthClient {
  readonly client_secret: string | null;
  readonly revocation_endpoint: string | null;
}

/** The value of a token: sealed wherever it is stored. */
export interface TokenValue {
  readonly access_token: string;
  readonly refresh_token: string | null;
  readonly token_type: string;
  readonly client: TokenClient;
}

export type TokenStatus = "valid" | "expired" | "refresh_failed";

/** RB-20. @param now Milliseconds since the Unix epoch. */
export function statusOf({ refresh_failed, expires_at }: TokenRow, now: number): TokenStatus {
  if (refresh_failed) return "refresh_failed";
  return expires_at !== null && expires_at <= now ? "expired" : "valid";
}

/** How long before its end a token is refreshed (CN-24, CN-25). Seconds. */
export const EXPIRY_BUFFER_S = 300;

/**
 * Whether a token counts as expired (CN-24 to CN-26).
 *
 * @param expiresAt Seconds since the Unix epoch; null and 0 say nothing, and nothing is expired then.
 * @param now Seconds since the Unix epoch.
 */
export function isExpired(expiresAt: number | null, now: number, buffer = EXPIRY_BUFFER_S): boolean {
  return expiresAt !== null && expiresAt !== 0 && now >= expiresAt - buffer;
}

/** What is assumed of a token whose life nobody has stated (CN-21). */
const ASSUMED_LIFE_S = 3_600;

/** The expiry of an answer that came at `now`, in milliseconds since the Unix epoch. */
export function expiryOf(
  { expires_in }: Pick<TokenAnswer, "expires_in">,
  now: number,
): Pick<TokenRow, "expires_at" | "assumed_expiry"> {
  return expires_in === null
    ? { expires_at: null, assumed_expiry: now + ASSUMED_LIFE_S * 1_000 }
    : { expires_at: now + expires_in * 1_000, assumed_expiry: null };
}

/** Whether a token is to be renewed. @param now Milliseconds since the Unix epoch. */
export function isDue(row: TokenRow, now: number): boolean {
  const end = endOf(row);
  return isExpired(end === null ? null : end / 1_000, now / 1_000);
}

/** Whether the access token is good no longer. @param now Milliseconds since the Unix epoch. */
export function hasEnded({ expires_at }: TokenRow, now: number): boolean {
  return expires_at !== null && now >= expires_at;
}

/** What a renewal changes of what is stored. */
export function renewalOf({ version, expires_at, assumed_expiry, has_refresh_token, scopes, modified }: TokenRow) {
  return { version, expires_at, assumed_expiry, has_refresh_token, scopes, modified };
}

/** CN-21: an assumed expiry leads to a refresh, and to nothing where there is no refresh token. */
function endOf({ expires_at, assumed_expiry, has_refresh_token }: TokenRow): number | null {
  return expires_at ?? (has_refresh_token ? assumed_expiry : null);
}

/**
 * Until when a token is lent out without asking, in milliseconds; null for one that is used until it is refused.
 */
export function freshUntil(row: TokenRow): number | null {
  const end = endOf(row);
  return end === null ? null : end - EXPIRY_BUFFER_S * 1_000;
}
