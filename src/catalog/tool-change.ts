/** A change of what a server says of its tools, or of itself, that somebody decides on, or has decided. Plain data. */

export type ChangeState = "held" | "approved" | "refused" | "withdrawn";

export interface ToolChange {
  readonly change_id: string;
  readonly server_id: string;
  /** The tool's name, which is never empty; `INSTRUCTIONS` for the server's own instructions. */
  readonly tool: string;
  /** The definition that was in force when this one was found; JSON text as received, of a string for instructions. */
  readonly approved: string;
  /** JSON text as received. */
  readonly proposed: string;
  readonly proposed_hash: string;
  readonly state: ChangeState;
  readonly found_at: number;
  readonly decided_at: number | null;
  /** The principal's id, or `definition_policy` where the server is trusted. */
  readonly decided_by: string | null;
}

/** Stands for a server's own instructions where the name of a tool does. */
export const INSTRUCTIONS = "";

/** What an admin says of held changes. */
export interface Decision {
  readonly state: "approved" | "refused";
  readonly by: string;
  readonly at: number;
}
