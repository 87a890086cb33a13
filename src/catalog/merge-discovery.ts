/** What a discovery does to the catalog: the table of design.md section 5. Pure. */

import type { NewId } from "../platform/ids.ts";
import type { DefinitionPolicy } from "../registry/server-record.ts";
import type { ToolMode } from "../registry/tool-policy.ts";
import type { DiscoveredTool } from "./definition.ts";
import type { ToolChange } from "./tool-change.ts";

/** One row of the catalog; see `catalog.tables.ts` for the meaning of each column. */
export interface ToolRow {
  readonly tool: string;
  readonly known: boolean;
  readonly is_new: boolean;
  readonly allowed: boolean;
  readonly definition: string | null;
  readonly definition_hash: string | null;
  readonly approved_definition: string | null;
  readonly approved_hash: string | null;
  readonly first_seen: number | null;
  readonly last_seen: number | null;
}

/** The latest change of a tool that an admin has refused or not decided yet. */
export interface OpenChange {
  readonly change_id: string;
  readonly tool: string;
  readonly proposed_hash: string;
  readonly state: "held" | "refused";
}

export interface Merge {
  readonly tool_mode: ToolMode;
  /** The rows that are to be written, whole. */
  readonly rows: readonly ToolRow[];
  /** Definitions that differ from the one in force: held, or approved already where the server is trusted. */
  readonly found: readonly ToolChange[];
  /** Held changes that a newer definition, or the return of the approved one, has overtaken. */
  readonly withdrawn: readonly string[];
  readonly added: readonly string[];
  /** Tools whose definition differs from the approved one. */
  readonly changed: readonly string[];
  readonly vanished: readonly string[];
}

/** What is stored of a server when its discovery is merged. */
export interface Stored {
  readonly server_id: string;
  readonly tool_mode: ToolMode;
  readonly definition_policy: DefinitionPolicy;
  readonly rows: readonly ToolRow[];
  readonly changes: readonly OpenChange[];
}

/** @param now Milliseconds since the Unix epoch. */
export function mergeDiscovery(
  stored: Stored,
  discovered: readonly DiscoveredTool[],
  { now, newId }: { readonly now: number; readonly newId: NewId },
): Merge {
  const { server_id, tool_mode, definition_policy, changes } = stored;
  // The first discovery that finds anything fills a policy that nobody has set; an empty one leaves it open (RB-12).
  const isFirst = tool_mode === "unset" && discovered.length > 0;
  const byName = new Map(stored.rows.map((row) => [row.tool, row]));
  const rows: ToolRow[] = [];
  const found: ToolChange[] = [];
  const withdrawn: string[] = [];
  const [added, changed, vanished]: [string[], string[], string[]] = [[], [], []];

  for (const { name, definition, definition_hash } of discovered) {
    const before = byName.get(name);
    byName.delete(name);
    if (before === undefined || !before.known) added.push(name);
    const row = {
      tool: name,
      known: true,
      is_new: !isFirst && (before?.is_new ?? tool_mode === "list"),
      allowed: isFirst || tool_mode === "all" || (before?.allowed ?? false),
      definition,
      definition_hash,
      approved_definition: definition,
      approved_hash: definition_hash,
      first_seen: before?.first_seen ?? now,
      last_seen: now,
    };
    const approved = before?.approved_definition ?? null;
    const isOther = approved !== null && before?.approved_hash !== definition_hash;
    // A tool nobody has decided on shows nobody anything, so its latest definition simply takes over (PS-22).
    const isUndecided = before?.is_new === true && !before.allowed;
    const ofTool = changes.filter(({ tool }) => tool === name);
    const isReported = ofTool.some(({ proposed_hash }) => proposed_hash === definition_hash);
    const isTrusted = definition_policy === "trust";
    withdrawn.push(...overtaken(ofTool, isOther && !isTrusted ? definition_hash : null));
    if (!isOther || isUndecided) {
      // Equal hashes still leave bytes that differ: what agents see are those that were approved.
      const isSame = approved !== null && before?.approved_hash === definition_hash;
      addIfDifferent(isSame ? { ...row, approved_definition: approved } : row, before);
      continue;
    }
    changed.push(name);
    if (isTrusted || !isReported) {
      found.push({
        change_id: newId("chg"),
        server_id,
        tool: name,
        approved,
        proposed: definition,
        proposed_hash: definition_hash,
        state: isTrusted ? "approved" : "held",
        found_at: now,
        decided_at: isTrusted ? now : null,
        decided_by: isTrusted ? "definition_policy" : null,
      });
    }
    const held = { approved_definition: approved, approved_hash: before?.approved_hash ?? null };
    addIfDifferent(isTrusted ? row : { ...row, ...held }, before);
  }
  for (const gone of byName.values()) {
    if (!gone.known) continue;
    vanished.push(gone.tool);
    rows.push({ ...gone, known: false });
  }
  return { tool_mode: isFirst ? "list" : tool_mode, rows, found, withdrawn, added, changed, vanished };

  function addIfDifferent(row: ToolRow, before: ToolRow | undefined): void {
    // Having been seen once more is not worth a write.
    const isSame = (key: string) => key === "last_seen" || row[key as keyof ToolRow] === before?.[key as keyof ToolRow];
    if (before === undefined || !Object.keys(row).every(isSame)) rows.push(row);
  }
}

/** The held changes of a tool that do not propose this definition. */
function overtaken(changes: readonly OpenChange[], hash: string | null): string[] {
  return changes.flatMap(({ change_id, state, proposed_hash }) =>
    state === "held" && proposed_hash !== hash ? [change_id] : [],
  );
}
