/** What is asked of the object of a credential, and what it lends. */
import type { TokenRow } from "./token.ts";

export interface LeaseAsk {
  /** The token that the server has just refused: it is not given back. */
  readonly refused: Pick<TokenRow, "token_id" | "version"> | null;
  /** The token of the identity provider that the caller came with, for an exchange (RFC 8693). */
  readonly subjectToken: string | null;
}

/** A token lent out. Secret. */
export interface LentToken {
  readonly token_id: string;
  readonly version: number;
  readonly access_token: string;
  /** Until when it may be used without asking again, in milliseconds; null: until it is refused. */
  readonly good_until: number | null;
}

/** Why there is none to lend. */
export type NoLease =
  /** Nobody has authorized it, or it has ended and cannot be renewed. */
  | "none"
  /** It has to be authorized again. */
  | "refresh_failed"
  /** Its sealed value does not open: that is no absence of one (CN-1, PS-50). */
  | "unreadable"
  /** The server refuses it, and there is no way to another. */
  | "refused"
  /** It cannot be renewed now (PS-56). */
  | "later";

export type LeaseAnswer =
  | { readonly ok: true; readonly token: LentToken }
  | { readonly ok: false; readonly why: NoLease };
