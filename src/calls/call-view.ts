/** A call as our wire shows it: in answers, in exports and in the archive alike. Pure. */
import { isOrgAdmin, type Principal } from "../identity/principal.ts";
import { isoTime } from "../platform/clock.ts";
import { NANO } from "../registry/tool-policy.ts";
import type { CallRow } from "./call.ts";
import type { CallView } from "./calls.wire.ts";

export function viewOf({ args, created_at, cost_nano, ...row }: CallRow): CallView {
  return {
    ...row,
    created_at: isoTime(created_at),
    args: args === null ? null : JSON.parse(args),
    gateway_ms: row.duration_ms - (row.upstream_ms ?? 0),
    cost_usd: cost_nano / NANO,
  };
}

/** Members see their own calls, admins those of the org: whoever sees a call sees its arguments as well. */
export function maySee(principal: Principal, { sub }: CallRow): boolean {
  return isOrgAdmin(principal) || sub === principal.id;
}
