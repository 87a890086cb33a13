/** The admission function: one answer for listing and for calling, on every door (B.4, PS-10, PS-11). Pure. */
import type { Server, Tool } from "../catalog/snapshot.ts";
import type { KeyPrincipal } from "../identity/principal.ts";
import { ruleAllows } from "./virtual-key.ts";

/** Why a call is refused; the first that applies, in the order of B.4. */
export type Refusal =
  | "server_disabled"
  | "server_not_active"
  | "not_visible"
  | "tool_unknown"
  | "tool_blocked"
  | "key_denied";

export type Admission =
  | { readonly allowed: true; readonly tool: Tool }
  | { readonly allowed: false; readonly reason: Refusal };

/**
 * Decides on one tool of one server.
 *
 * @param server The server that the name or the path led to; none is `not_visible`, as for a server of another org.
 * @param tool The tool by that name in the catalog; none is `tool_unknown`.
 */
export function admit(principal: KeyPrincipal, server: Server | undefined, tool: Tool | undefined): Admission {
  const reason = refusalOf(server);
  if (reason !== null) return { allowed: false, reason };
  if (tool === undefined || server === undefined) return { allowed: false, reason: "tool_unknown" };
  if (!tool.allowed) return { allowed: false, reason: "tool_blocked" };
  const { record } = server;
  const rule = principal.key.rules.get(record.server_id);
  // An explicit assignment beats the server's default, also when it is empty (BF-20).
  const isGranted = rule === undefined ? record.allow_on_all_virtual_keys : ruleAllows(rule, tool.name);
  return isGranted ? { allowed: true, tool } : { allowed: false, reason: "key_denied" };
}

/** The part of the decision that needs no tool: whether the principal may see the server at all. */
export function admitServer(principal: KeyPrincipal, server: Server | undefined): Refusal | null {
  const reason = refusalOf(server);
  if (reason !== null || server === undefined) return reason ?? "not_visible";
  const rule = principal.key.rules.get(server.record.server_id);
  const isGranted = rule === undefined ? server.record.allow_on_all_virtual_keys : rule.length > 0;
  return isGranted ? null : "key_denied";
}

function refusalOf(server: Server | undefined): Refusal | null {
  if (server === undefined) return "not_visible";
  if (!server.record.enabled) return "server_disabled";
  if (server.record.status !== "active") return "server_not_active";
  return null;
}
