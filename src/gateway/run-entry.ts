/** What a call must know of its run before it is made: step 9 of B.4 (PS-40, PS-41). */
import type { CallRefusal } from "../access/admission.ts";
import type { CallRow } from "../calls/call.ts";
import type { Tool } from "../catalog/snapshot.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { causesOf, log } from "../platform/log.ts";
import { RUN_META, runNotOpen, usdText } from "../runs/run.ts";
import type { SessionRuns } from "../sessions/session-runs.ts";
import { CALL_TIMEOUT_MS } from "./attempt.ts";
import type { ClientMessage } from "./client-message.ts";
import type { CallSide, ShapedResponse } from "./client-side.ts";

export type RunGate = Pick<SessionRuns, "stamp" | "admit" | "release">;

/** What the row of a call says of its run. */
export type RunMark = Pick<CallRow, "run_id" | "entered">;

export interface RunEntry {
  readonly run: RunMark;
  /** Something is held for the call until it has ended. */
  readonly isReserved: boolean;
  /** The answer, when the call is not to be made; null when it is. */
  readonly response: ShapedResponse | null;
  readonly reason: CallRefusal | null;
}

/** The run that a client has named for a call; null: none. */
export function namedRun({ meta }: ClientMessage): string | null {
  const named = meta[RUN_META];
  return named === undefined ? null : typeof named === "string" ? named : JSON.stringify(named);
}

/** Asks where there is something to ask. Never throws: without an answer, nothing is called. */
export async function enterRun(
  runs: RunGate,
  call: {
    readonly side: CallSide;
    readonly message: ClientMessage;
    readonly sessionName: string;
    readonly waitUntil: (work: Promise<unknown>) => void;
  },
  tool: Tool,
  { call_id, run }: { readonly call_id: string; readonly run: RunMark },
): Promise<RunEntry> {
  const { side, message, sessionName, waitUntil } = call;
  const named = namedRun(message);
  const { price_nano } = tool;
  const ask = { call_id, price_nano, timeout_ms: tool.server.record.timeout_ms ?? CALL_TIMEOUT_MS };
  const entered = { run, isReserved: false, response: null, reason: null };
  try {
    const admitted = await runs.admit({ stack: sessionName, named }, ask, waitUntil);
    switch (admitted.kind) {
      case "unasked":
        return entered;
      case "in":
        return { ...entered, run: { ...run, run_id: admitted.run_id }, isReserved: admitted.isReserved };
      case "not_open": {
        const error = runNotOpen(named ?? "").message;
        return {
          ...entered,
          response: { ...side.misfit(error, message), ok: false, outcome: "refused", error: "run not open" },
        };
      }
      case "refused": {
        const { run_id, short } = admitted;
        const amounts = `this call costs ${usdText(price_nano)} USD, and ${usdText(short.left_nano)} USD is left`;
        const text = `run budget exceeded: ${amounts} in run ${short.run_id}`;
        const code = "budget_exceeded";
        const shaped = side.failure({ code, reason: text, text, timeoutMs: null }, message);
        return {
          ...{ run: { ...run, run_id }, isReserved: false, reason: code },
          response: { ...shaped, ok: false, outcome: "refused", error: "run budget exceeded" },
        };
      }
    }
  } catch (thrown) {
    // Whether anything is held by now is not known.
    waitUntil(runs.release(sessionName, call_id));
    const { message: reason } = GatewayError.from(thrown);
    log("error", "run_not_asked", { server_id: tool.server.record.server_id, causes: causesOf(thrown) });
    const text = `Tool execution failed for ${tool.name}. ${reason}`;
    const shaped = side.failure({ code: "upstream_failed", reason, text, timeoutMs: null }, message);
    return { ...entered, response: { ...shaped, ok: false, outcome: "gateway_failed", error: reason } };
  }
}
