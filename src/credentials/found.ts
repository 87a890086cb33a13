/** Why an authorization server, or a client there, is not to be had. */
export interface OAuthFailure {
  /** `unreachable`: nothing answered, or only with a failure; later may be better. `unusable`: it will not be. */
  readonly kind: "unreachable" | "unusable";
  /** In our words, for an admin. */
  readonly message: string;
  /** The field of the server record that helps when it is given. */
  readonly field?: string;
}

export type Found<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: OAuthFailure };

export const unreachable = (message: string): { ok: false; failure: OAuthFailure } => ({
  ok: false,
  failure: { kind: "unreachable", message },
});

export const unusable = (message: string, field?: string): { ok: false; failure: OAuthFailure } => ({
  ok: false,
  failure: { kind: "unusable", message, ...(field === undefined ? {} : { field }) },
});
