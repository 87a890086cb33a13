/** What one tool call tells of itself while it runs. What becomes of that is decided in `telemetry.ts`. */
import type { CallRow } from "../calls/call.ts";
import type { TraceContext } from "./trace-context.ts";

/** Parts of a call that take time. There may be several of `lease` and `upstream`: one for each attempt. */
export type Phase = "decision" | "lease" | "upstream" | "journal";

/** Ends a phase. @param failure A code of ours that says why it led to nothing; left out where it did its part. */
export type EndPhase = (failure?: string) => void;

export interface CallTrace {
  readonly begin: (phase: Phase) => EndPhase;
  /** What a request upstream that belongs to the call is to carry; null: nothing. */
  readonly context: () => TraceContext | null;
  /**
   * The call has its answer, and its row.
   *
   * @param journal `stored` settles when the row is stored; `isAwaited`: the answer waits for that.
   */
  readonly answered: (row: CallRow, journal: { readonly stored: Promise<void>; readonly isAwaited: boolean }) => void;
}

const nothing = () => undefined;
const beginNothing = () => nothing;

/** A call of which nothing is recorded. What its client says of the trace goes on as it came. */
export function untraced(context: TraceContext | null): CallTrace {
  return { begin: beginNothing, context: () => context, answered: nothing };
}
