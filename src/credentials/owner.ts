/** Whose account at a server a credential stands for. */

/** A user or a virtual key in one org (RB-18); both empty: the server's own, for all who may use it. */
export interface Owner {
  readonly org_id: string;
  /** The id of the principal. */
  readonly user_id: string;
}

/** The owner of what an admin has authorized once for a whole server. */
export const SERVER_ITSELF: Owner = { org_id: "", user_id: "" };

/**
 * The owner of the account that a platform admin tries a server of per-user accounts with: the tools are read with it,
 * and then it is given up (BF-48). It is in no org, so that no call is made with it.
 */
export const TRIAL: Owner = { org_id: "", user_id: "admin-key" };

/** Names the object that keeps a credential. */
export function credentialName(serverId: string, { org_id, user_id }: Owner): string {
  return JSON.stringify([serverId, org_id, user_id]);
}

/** What such a name stands for. */
export function readCredentialName(name: string): { readonly serverId: string; readonly owner: Owner } {
  const [serverId = "", org_id = "", user_id = ""] = JSON.parse(name) as string[];
  return { serverId, owner: { org_id, user_id } };
}

/** Whether an owner is neither a user nor a key of some org. */
export function isTrial({ org_id, user_id }: Owner): boolean {
  return org_id === TRIAL.org_id && user_id === TRIAL.user_id;
}

export function isServerItself({ user_id }: Owner): boolean {
  return user_id === "";
}
