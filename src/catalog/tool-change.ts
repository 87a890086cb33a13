/** A change of a tool's definition that somebody has to decide on, or has decided. Plain data. */

export type ChangeState = "held" | "approved" | "refused" | "withdrawn";

export interface ToolChange {
  readonly change_id: string;
  readonly server_id: string;
  readonly tool: string;
  /** The definition that was in force when this one was found; JSON text as received. */
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

/** What an admin says of held changes. */
export interface Decision {
  readonly state: "approved" | "refused";
  readonly by: string;
  readonly at: number;
}
