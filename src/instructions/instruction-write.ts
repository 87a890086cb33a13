/** What every write of an instruction passes, in this order: role, limits, names (OT-10 to OT-12). */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Caller, requireWriter } from "./caller.ts";
import { type InstructionContent, type InstructionKey, requireContent, requireName } from "./instruction.ts";
import { type Blocklist, findNames } from "./zero-names.ts";

export interface WriteDeps {
  /** Whether the org has such a group; one that only the identity provider knows need not be stored. */
  readonly hasGroup: (orgId: string, groupId: string) => Promise<boolean>;
}

/**
 * The order is a rule: whoever may not write must not learn by a refusal what the blocklist holds.
 *
 * @param blocklistOf Read only for those who may write.
 * @throws GatewayError `forbidden`; `not_found` for a group, field `group`; `invalid_request` with the argument
 */
export async function checkWrite(
  { hasGroup }: WriteDeps,
  caller: Caller,
  document: InstructionKey & InstructionContent,
  blocklistOf: () => Promise<Blocklist>,
): Promise<void> {
  const { group_id } = document;
  requireWriter(caller, group_id);
  if (group_id !== "" && !caller.groups.has(group_id) && !(await hasGroup(caller.org, group_id))) {
    throw new GatewayError("not_found", "There is no such group.", { field: "group" });
  }
  requireName("kind", document.kind);
  requireName("slug", document.slug);
  requireContent(document);
  const findings = findNames(document, await blocklistOf());
  const [first] = findings;
  if (first === undefined) return;
  const { argument } = first;
  const isOne = argument !== null && findings.every((finding) => finding.argument === argument);
  const message = `write refused: ${findings.map((finding) => finding.message).join(" ; ")}`;
  throw new GatewayError("invalid_request", message, isOne ? { field: argument } : {});
}
