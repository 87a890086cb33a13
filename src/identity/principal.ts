/** Who is asking, after authentication (design.md section 6). Plain data. */
import type { KeyRule } from "../access/virtual-key.ts";

/** A role in an org as it is stored; whoever administers a group in it has that besides (PS-4). */
export type OrgRole = "org_admin" | "member";

/** Whoever asks, whatever they showed: every door and every rule decides on this. */
export interface Principal {
  readonly kind: "admin_key" | "user" | "virtual_key";
  /** `admin-key`; the subject that the identity provider names; `key:<virtual_key_id>` (RB-15, PS-9). */
  readonly id: string;
  readonly email: string | null;
  /** The one org that this request is about (PS-2). */
  readonly org: string;
  /** In that org; null: none, and so nothing of it can be seen. */
  readonly role: OrgRole | null;
  /** The groups of the org that it belongs to, and whether it administers them. */
  readonly groups: ReadonlyMap<string, boolean>;
  /** Above all orgs, and like an org admin in each. */
  readonly isPlatformAdmin: boolean;
  /** The key that narrows it: a virtual key itself, or the one that a user has shown besides (PS-1). */
  readonly key: KeyGrant | null;
  /** Names what it may see of its org: principals of one org with equal views are shown the same lists. */
  readonly view: string;
  /** The generation of the org that this was read at. */
  readonly generation: number;
}

/** What a virtual key opens. */
export interface KeyGrant {
  readonly virtual_key_id: string;
  readonly name: string;
  /** By server; a server that is not in it falls to `allow_on_all_virtual_keys`. */
  readonly rules: ReadonlyMap<string, KeyRule>;
}

/** What is stored of somebody in one org, all of one moment. */
export interface Standing {
  /** Whether there is such an org. */
  readonly exists: boolean;
  readonly role: OrgRole | null;
  /** Whether it administers each of its groups. */
  readonly groups: ReadonlyMap<string, boolean>;
  /** The generation of the org. */
  readonly generation: number;
}

/** The id of the principal behind `ADMIN_KEY` (RB-15). */
export const ADMIN_ID = "admin-key";

/** Whether it may do what an org admin of its org may (PS-4). */
export function isOrgAdmin({ role, isPlatformAdmin }: Pick<Principal, "role" | "isPlatformAdmin">): boolean {
  return isPlatformAdmin || role === "org_admin";
}

/** Whether it belongs to its org at all. */
export function isMember({ role, isPlatformAdmin }: Principal): boolean {
  return isPlatformAdmin || role !== null;
}
