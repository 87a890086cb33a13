/** What a discovery does to the catalog: the table of design.md section 5. Pure. */
import type { ToolMode } from "../registry/server-record.ts";
import type { DiscoveredTool } from "./definition.ts";

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

export interface Merge {
  readonly tool_mode: ToolMode;
  /** The rows that are to be written, whole. */
  readonly rows: readonly ToolRow[];
  readonly added: readonly string[];
  /** Tools whose definition differs from the approved one; it is held. */
  readonly changed: readonly string[];
  readonly vanished: readonly string[];
}

/** @param now Milliseconds since the Unix epoch. */
export function mergeDiscovery(
  tool_mode: ToolMode,
  stored: readonly ToolRow[],
  discovered: readonly DiscoveredTool[],
  now: number,
): Merge {
  // The first discovery that finds anything fills a policy that nobody has set; an empty one leaves it open (RB-12).
  const isFirst = tool_mode === "unset" && discovered.length > 0;
  const byName = new Map(stored.map((row) => [row.tool, row]));
  const rows: ToolRow[] = [];
  const [added, changed, vanished]: [string[], string[], string[]] = [[], [], []];

  for (const { name, definition, definition_hash } of discovered) {
    const before = byName.get(name);
    byName.delete(name);
    const wasSeen = before !== undefined && before.approved_hash !== null;
    const allowed = isFirst || tool_mode === "all" || (before?.allowed ?? false);
    const is_new =
      !wasSeen && !isFirst && tool_mode === "list" && before === undefined ? true : (before?.is_new ?? false);
    // A tool nobody has decided on shows nobody anything, so its latest definition simply takes over (PS-22).
    const isApproved = !wasSeen || before.approved_hash === definition_hash || (before.is_new && !before.allowed);
    if (before === undefined || !before.known) added.push(name);
    if (!isApproved) changed.push(name);
    const row: ToolRow = {
      tool: name,
      known: true,
      is_new: isFirst ? false : is_new,
      allowed,
      definition,
      definition_hash,
      approved_definition: isApproved ? definition : before.approved_definition,
      approved_hash: isApproved ? definition_hash : before.approved_hash,
      first_seen: before?.first_seen ?? now,
      last_seen: now,
    };
    if (before === undefined || differs(before, row)) rows.push(row);
  }
  for (const gone of byName.values()) {
    if (!gone.known) continue;
    vanished.push(gone.tool);
    rows.push({ ...gone, known: false });
  }
  return { tool_mode: isFirst ? "list" : tool_mode, rows, added, changed, vanished };
}

/** Whether a row is worth writing: having been seen once more is not. */
function differs(before: ToolRow, after: ToolRow): boolean {
  return (Object.keys(after) as (keyof ToolRow)[]).some((key) => key !== "last_seen" && before[key] !== after[key]);
}
