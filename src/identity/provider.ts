/** A person as the operator's identity provider vouches for them. */
export interface ProvenUser {
  readonly sub: string;
  readonly email: string | null;
  /** Orgs that the token names; empty when no org claim is mapped or present. */
  readonly orgs: readonly string[];
  /** What the claims say of rights; null where no roles claim is mapped: the members table decides then (PS-3). */
  readonly claimed: {
    readonly role: "org_admin" | "member" | null;
    readonly groups: readonly { readonly group_id: string; readonly is_admin: boolean }[];
  } | null;
  readonly isPlatformAdmin: boolean;
  /** Milliseconds since the Unix epoch: nothing may be remembered beyond it. */
  readonly expiresAt: number;
}
