/** Runs: brackets that agents put around their work, on a stack of their session (OT-15 to OT-17). Pure. */
import { cut } from "../calls/call.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { NANO, parsePrice } from "../registry/tool-policy.ts";

/** How an agent may end a run (OT-16); `abandoned` is also what becomes of one that nobody ends (PS-43). */
export const OUTCOMES = ["done", "abandoned", "failed", "blocked"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** The member of `_meta` by which a client names the run of a call (PS-40). */
export const RUN_META = "dev.postern/run_id";

/** Open runs of one stack (OT-16). */
export const MAX_OPEN_RUNS = 32;
const MAX_LABEL = 200;
const MAX_DOCTRINE = 200;
const MAX_NOTE = 2_000;

/** Stamps of calls count those of an isolate within a millisecond (`RunPlace.entered`). */
export const STAMPS_PER_MS = 1_000;

/** Where a call stands. */
export interface RunPlace {
  /** Names the stack: a client's session, or the default one of its principal. */
  readonly stack: string;
  readonly org_id: string;
  readonly principal_id: string;
  /** The client's own session; null without one. */
  readonly session_id: string | null;
  /** When the call came in, among the calls of its stack: a greater number is later. */
  readonly entered: number;
  /** The run that the client has named for the call; null: the one on top of the stack. */
  readonly named: string | null;
}

/** A run that is to begin. */
export interface RunDraft {
  /** 32 hexadecimal characters. */
  readonly run_id: string;
  readonly label: string;
  /** What the agent goes by: its own words, or the slug of an instruction. */
  readonly doctrine: string | null;
  /** Nano-dollars (PS-42); null: no limit. */
  readonly budget_nano: number | null;
}

/** How a run ends. */
export interface RunEnd {
  readonly outcome: Outcome;
  readonly note: string | null;
}

/** The stacks of runs: those of the `Session` objects, or `inMemoryRuns`. */
export interface RunStacks {
  /**
   * Puts a run on top.
   *
   * @returns The run it stands in; null: it is the outermost.
   * @throws GatewayError `conflict` with 32 open runs; `not_found` when the named run around it is not open
   */
  start(place: RunPlace, draft: RunDraft): Promise<{ readonly parent_run_id: string | null }>;
  /** Takes a run out, wherever it stands. @returns Whether it was open in this stack. */
  finish(place: RunPlace, runId: string, end: RunEnd): Promise<boolean>;
  /**
   * The run of a call (OT-17).
   *
   * @returns Undefined where whoever keeps the row of the call finds that out.
   */
  active(place: RunPlace): Promise<string | null | undefined>;
}

/** A run as it is kept in D1 (PS-43). Plain data: it waits in an object until it is there. */
export interface RunRow {
  readonly run_id: string;
  readonly org_id: string;
  /** The principal's id. */
  readonly principal_id: string;
  readonly session_id: string | null;
  readonly label: string;
  readonly doctrine: string | null;
  readonly parent_run_id: string | null;
  readonly budget_nano: number | null;
  /** What its calls and those of the runs inside it have cost; with a budget, what counts against that. */
  readonly spent_nano: number;
  /** Of the run itself, without the runs inside it. */
  readonly calls: number;
  readonly cost_nano: number;
  /** Null while it is open. */
  readonly outcome: Outcome | null;
  readonly note: string | null;
  /** Milliseconds since the Unix epoch. */
  readonly started_at: number;
  readonly finished_at: number | null;
  /** Greater with every change: an earlier state never takes the place of a later one. */
  readonly version: number;
}

/** @throws GatewayError `invalid_request` naming the argument */
export function readDraft(
  runId: string,
  given: { readonly label: string; readonly doctrine?: string | undefined; readonly budget_usd?: number | undefined },
): RunDraft {
  const { label, doctrine = null, budget_usd } = given;
  requireText("label", label, 1, MAX_LABEL);
  if (doctrine !== null) requireText("doctrine", doctrine, 0, MAX_DOCTRINE);
  const budget_nano = budget_usd === undefined ? null : parsePrice(budget_usd, "budget_usd");
  return { run_id: runId, label, doctrine, budget_nano };
}

/** @throws GatewayError `invalid_request` naming the argument, with the text of OT-16 for the outcome */
export function readEnd(given: { readonly outcome: string; readonly note?: string | undefined }): RunEnd {
  const { outcome, note = null } = given;
  const known = OUTCOMES.find((one) => one === outcome);
  if (known === undefined) {
    const text = `invalid outcome: '${cut(outcome)}' (expected done, abandoned, failed or blocked)`;
    throw new GatewayError("invalid_request", text, { field: "outcome" });
  }
  if (note !== null) requireText("note", note, 0, MAX_NOTE);
  return { outcome: known, note };
}

export function tooManyRuns(): GatewayError {
  return new GatewayError("conflict", `A session has at most ${MAX_OPEN_RUNS} open runs. Finish one first.`);
}

/** @param runId As the client has sent it. */
export function runNotOpen(runId: string): GatewayError {
  return new GatewayError("not_found", `run not open: ${cut(runId)}`);
}

/** An amount for people and agents to read, exact to the nano-dollar. */
export function usdText(nano: number): string {
  const fraction = String(nano % NANO).padStart(9, "0");
  return `${Math.floor(nano / NANO)}.${fraction}`.replace(/\.?0+$/, "") || "0";
}

/** What a database would hand back changed is refused: half a surrogate pair, and the character that ends a text. */
function requireText(argument: string, text: string, min: number, max: number): void {
  // Characters, as code points.
  const { length } = [...text];
  if (length >= min && length <= max && text.isWellFormed() && !text.includes("\0")) return;
  const range = min === 0 ? `at most ${max}` : `${min} to ${max}`;
  const rule = `${argument} must have ${range} characters of Unicode, and no U+0000.`;
  throw new GatewayError("invalid_request", rule, { field: argument });
}
