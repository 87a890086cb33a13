/**
 * Who asks for instructions, and what that may do with them (OT-10, OT-18 to OT-21). A principal is a caller as it is;
 * `createCallers` is for whoever composes this capability without the gateway's own authentication.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import { isOrgAdmin, type Principal, type Standing } from "../identity/principal.ts";

export type Caller = Pick<Principal, "id" | "org" | "role" | "groups" | "isPlatformAdmin">;

const RANKS = { org_admin: 3, group_admin: 2, member: 1, none: 0 } as const;
export type Rank = keyof typeof RANKS;

/** @param groupId The group that it is about; empty for the org itself. */
export function rankOf(caller: Caller, groupId: string): Rank {
  if (isOrgAdmin(caller)) return "org_admin";
  if (caller.role === null) return "none";
  return groupId !== "" && caller.groups.get(groupId) === true ? "group_admin" : "member";
}

/** @throws GatewayError `forbidden`, with the text of OT-18 */
export function requireRank(caller: Caller, required: Exclude<Rank, "none">, groupId = ""): void {
  const rank = rankOf(caller, groupId);
  if (RANKS[rank] >= RANKS[required]) return;
  throw new GatewayError("forbidden", `insufficient role: required '${required}', got '${rank}'`);
}

/** Who may write what belongs to the org, or to one of its groups. @throws GatewayError `forbidden` */
export function requireWriter(caller: Caller, groupId: string): void {
  requireRank(caller, groupId === "" ? "org_admin" : "group_admin", groupId);
}

/** Who may write anything at all. @throws GatewayError `forbidden` */
export function requireAnyWriter(caller: Caller): void {
  const administered = [...caller.groups].find(([, isAdmin]) => isAdmin)?.[0] ?? "";
  requireWriter(caller, administered);
}

/** The groups whose documents somebody is shown besides those of the org; null for all of them. */
export function visibleGroups(caller: Caller): string[] | null {
  return isOrgAdmin(caller) ? null : caller.role === null ? [] : [...caller.groups.keys()];
}

/** Somebody as only the org sees them: inside the built-in tools the platform confers no rights (OT-20). */
export function withinOrg<T extends Caller>(caller: T): T {
  return { ...caller, isPlatformAdmin: false };
}

/** The org of a caller: always the same one, or found for each (OT-4). */
export type ScopeResolver = string | ((userId: string) => string | null | Promise<string | null>);

/** Who has which role, and in which groups (OT-21); `MemberStore` in D1 is one. */
export interface RoleStore {
  standing(orgId: string, userId: string): Promise<Pick<Standing, "role" | "groups">>;
}

/** @returns Makes a caller of a user's id. It throws GatewayError `org_required` when there is no org for it. */
export function createCallers({ scope, roles }: { readonly scope: ScopeResolver; readonly roles: RoleStore }) {
  return async (userId: string): Promise<Caller> => {
    const org = typeof scope === "string" ? scope : await scope(userId);
    if (org === null || org === "") throw new GatewayError("org_required", "org not resolved for the caller");
    const { role, groups } = await roles.standing(org, userId);
    return { id: userId, org, role, groups, isPlatformAdmin: false };
  };
}
