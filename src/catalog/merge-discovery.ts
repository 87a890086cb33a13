/** What a discovery does to the catalog: the table of design.md section 5. Pure. */

import type { NewId } from "../platform/ids.ts";
import type { DefinitionPolicy } from "../registry/server-record.ts";
import type { ToolMode } from "../registry/tool-policy.ts";
import { type DiscoveredTool, hashOf } from "./definition.ts";
import { INSTRUCTIONS, type ToolChange } from "./tool-change.ts";

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
  readonly instructions: Instructions;
}

/** What a server tells its clients about itself. */
export interface Instructions {
  /** As the last discovery had it; null for none. */
  readonly instructions: string | null;
  /** In force while the server gives any. */
  readonly approved_instructions: string | null;
}

/** What a discovery found. */
export interface Discovery {
  readonly tools: readonly DiscoveredTool[];
  readonly instructions: string | null;
}

/** What is stored of a server when its discovery is merged. */
export interface Stored extends Instructions {
  readonly server_id: string;
  readonly tool_mode: ToolMode;
  readonly definition_policy: DefinitionPolicy;
  readonly rows: readonly ToolRow[];
  readonly changes: readonly OpenChange[];
}

/** What stands of a server's catalog, all of one moment, and how many changes have been decided so far. */
export type Standing = Omit<Stored, "server_id" | "tool_mode"> & { readonly decided: number };

/** @param now Milliseconds since the Unix epoch. */
export function mergeDiscovery(
  stored: Stored,
  { tools: discovered, instructions }: Discovery,
  { now, newId }: { readonly now: number; readonly newId: NewId },
): Merge {
  const { tool_mode } = stored;
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
    const isHeld = pin(name, isOther ? approved : null, { definition, definition_hash, isUndecided });
    if (isOther && !isUndecided) changed.push(name);
    // Equal hashes still leave bytes that differ: what agents see are those that were approved.
    const isKept = isHeld || (approved !== null && !isOther);
    const inForce = { approved_definition: approved, approved_hash: before?.approved_hash ?? null };
    addIfDifferent(isKept ? { ...row, ...inForce } : row, before);
  }
  for (const gone of byName.values()) {
    if (!gone.known) continue;
    vanished.push(gone.tool);
    rows.push({ ...gone, known: false });
  }
  return {
    tool_mode: isFirst ? "list" : tool_mode,
    rows,
    found,
    withdrawn,
    added,
    changed,
    vanished,
    instructions: { instructions, approved_instructions: instructionsInForce() },
  };

  /**
   * Notes a definition that differs from the one in force, and withdraws what is held and overtaken by it.
   *
   * @param approved JSON text of the one in force; null when this one does not differ from it.
   * @returns Whether the one in force stays.
   */
  function pin(
    tool: string,
    approved: string | null,
    { definition, definition_hash, isUndecided }: Omit<DiscoveredTool, "name"> & { isUndecided: boolean },
  ): boolean {
    const isTrusted = stored.definition_policy === "trust";
    const ofTool = stored.changes.filter((change) => change.tool === tool);
    withdrawn.push(...overtaken(ofTool, approved !== null && !isTrusted ? definition_hash : null));
    if (approved === null || isUndecided) return false;
    const isReported = ofTool.some(({ proposed_hash }) => proposed_hash === definition_hash);
    if (isTrusted || !isReported) {
      found.push({
        change_id: newId("chg"),
        server_id: stored.server_id,
        tool,
        approved,
        proposed: definition,
        proposed_hash: definition_hash,
        state: isTrusted ? "approved" : "held",
        found_at: now,
        decided_at: isTrusted ? now : null,
        decided_by: isTrusted ? "definition_policy" : null,
      });
    }
    return !isTrusted;
  }

  /** PS-22: a server's own instructions are held like its definitions. */
  function instructionsInForce(): string | null {
    const { approved_instructions: approved } = stored;
    if (instructions === null) return approved;
    const definition = JSON.stringify(instructions);
    const proposed = { definition, definition_hash: hashOf(instructions), isUndecided: false };
    const isOther = approved !== null && approved !== instructions;
    return pin(INSTRUCTIONS, isOther ? JSON.stringify(approved) : null, proposed) ? approved : instructions;
  }

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
