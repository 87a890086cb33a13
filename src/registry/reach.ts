/** Which servers somebody sees, and which they may change (PS-4, PS-5, RB-11). Pure. */
import { GatewayError } from "../failure/gateway-error.ts";
import type { Principal } from "../identity/principal.ts";

/** Who acts on the registry. */
export type Actor = Pick<Principal, "id" | "org" | "role" | "isPlatformAdmin">;

/** In the place of an org: the servers of all of them. No org can have this id. */
export const EVERY_ORG = "*";

/** The org whose servers an actor sees: global ones and its own. Admins of the platform see those of every org. */
export function scopeOf({ org, isPlatformAdmin }: Actor): string {
  return isPlatformAdmin ? EVERY_ORG : org;
}

/** An org admin edits the servers that are its org's alone; whoever runs the platform edits all (PS-5). */
export function mayEdit({ org, role, isPlatformAdmin }: Actor, orgIds: readonly string[]): boolean {
  return isPlatformAdmin || (role === "org_admin" && orgIds.length === 1 && orgIds[0] === org);
}

/** @throws GatewayError `forbidden` */
export function requireEditable(actor: Actor, orgIds: readonly string[]): void {
  if (mayEdit(actor, orgIds)) return;
  throw new GatewayError("forbidden", "This server is not your org's alone, so that you cannot change it.");
}

/** The orgs of a server that somebody registers (RB-27, RB-28). @throws GatewayError `forbidden`, field `org_ids` */
export function orgsToGive({ org, isPlatformAdmin }: Actor, asked: readonly string[] | undefined): readonly string[] {
  if (isPlatformAdmin) return asked ?? [];
  if (asked === undefined || (asked.length === 1 && asked[0] === org)) return [org];
  throw new GatewayError("forbidden", "You register servers for your own org only.", { field: "org_ids" });
}
