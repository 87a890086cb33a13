/** The admission function: one answer for listing and for calling, on every door (B.4, PS-10, PS-11). Pure. */
import type { Server, Tool } from "../catalog/snapshot.ts";
import { isMember, type Principal } from "../identity/principal.ts";
import { filtersPass, filtersPassServer, type RequestFilters } from "./request-filters.ts";
import { type KeyRule, ruleAllows } from "./virtual-key.ts";

/** Why a call is refused; the first that applies, in the order of B.4. */
export type Refusal =
  | "server_disabled"
  | "server_not_active"
  | "not_visible"
  | "tool_unknown"
  | "tool_blocked"
  | "key_denied"
  | "filtered";

/** Why a call is not made (PS-10): a budget is no part of what may be listed. */
export type CallRefusal = Refusal | "budget_exceeded";

export type Admission =
  | { readonly allowed: true; readonly tool: Tool }
  | { readonly allowed: false; readonly reason: Refusal };

/**
 * Decides on one tool of one server.
 *
 * @param server The server that the name or the path led to; none is `not_visible`, as for a server of another org.
 * @param tool The tool by that name in the catalog; none is `tool_unknown`.
 */
export function admit(
  principal: Principal,
  filters: RequestFilters,
  server: Server | undefined,
  tool: Tool | undefined,
): Admission {
  const reason = refusalOf(principal, server);
  if (reason !== null) return { allowed: false, reason };
  if (tool === undefined || server === undefined) return { allowed: false, reason: "tool_unknown" };
  if (!tool.allowed) return { allowed: false, reason: "tool_blocked" };
  const isGranted = isOpen(principal, server, (rule) => ruleAllows(rule, tool.name));
  if (!isGranted) return { allowed: false, reason: "key_denied" };
  return filtersPass(filters, server.record, tool) ? { allowed: true, tool } : { allowed: false, reason: "filtered" };
}

/** The part of the decision that needs no tool: whether the principal may see the server at all, and asks for it. */
export function admitServer(principal: Principal, filters: RequestFilters, server: Server | undefined): Refusal | null {
  const reason = refusalOf(principal, server);
  if (reason !== null || server === undefined) return reason ?? "not_visible";
  if (!isOpen(principal, server, (rule) => rule.length > 0)) return "key_denied";
  return filtersPassServer(filters, server.record, server.tools.values()) ? null : "filtered";
}

/** The key rule, where there is a key (BF-51): an explicit assignment beats the server's default, also when empty. */
function isOpen({ key }: Principal, { record }: Server, byRule: (rule: KeyRule) => boolean): boolean {
  if (key === null) return true;
  const rule = key.rules.get(record.server_id);
  return rule === undefined ? record.allow_on_all_virtual_keys : byRule(rule);
}

function refusalOf(principal: Principal, server: Server | undefined): Refusal | null {
  if (server === undefined) return "not_visible";
  if (!server.record.enabled) return "server_disabled";
  if (server.record.status !== "active") return "server_not_active";
  // Whoever has no role in the org sees nothing of it (PS-4).
  return isMember(principal) ? null : "not_visible";
}
