/**
 * One tool call, from admission to the row in the log (design.md section 7). It comes out as a sequence of events, so
 * that the door decides how a client gets them and this decides what it gets.
 */
import { admit, admitServer, type CallRefusal } from "../access/admission.ts";
import type { RequestFilters } from "../access/request-filters.ts";
import { type CallRow, cut } from "../calls/call.ts";
import { isBuiltIn, type Server, type Tool } from "../catalog/snapshot.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import { WAITING_FOR_BRIDGE } from "../registry/server-record.ts";
import type { Progress } from "./attempt.ts";
import { type BuiltIn, callBuiltIn } from "./built-in.ts";
import type { ShapedResponse } from "./client-side.ts";
import { type ClientRequest, failed, performRequest, type RequestEvent, type UpstreamDeps } from "./perform.ts";
import { enterRun, type RunGate, type RunMark } from "./run-entry.ts";

export interface ToolCallDeps extends UpstreamDeps {
  /** The server that is part of the gateway. */
  readonly builtIn: BuiltIn;
  readonly runs: RunGate;
  /** The arguments of a call as the log shows them, as JSON text. */
  readonly loggedArguments: (args: unknown) => string | null;
  readonly newId: NewId;
}

export interface ToolCall extends ClientRequest {
  readonly filters: RequestFilters;
  /** The door's path. */
  readonly door: string;
  /** The tool's name as sent. */
  readonly name: string;
  /** What the name led to. */
  readonly server: Server | undefined;
  readonly tool: Tool | undefined;
}

/** What comes of a call; the last event is its response, and `row` is what the log is to say, where it says anything. */
export type CallEvent =
  | RequestEvent
  | { readonly kind: "response"; readonly response: ShapedResponse; readonly row: CallRow | null };

/** Decides and performs a call. Never throws: whatever happens, the last event is a response with its row. */
export async function* callTool(deps: ToolCallDeps, call: ToolCall): AsyncGenerator<CallEvent, void> {
  const created_at = deps.clock();
  const progress: Progress = { tries: 0, attempts: 0, upstreamStart: null };
  const { principal, filters, server } = call;
  const endDecision = call.trace.begin("decision");
  const admission = admit(principal, filters, server, call.tool);
  const call_id = deps.newId("call");
  let run: RunMark = { run_id: null, entered: deps.runs.stamp() };
  let reason: CallRefusal | null = admission.allowed ? null : admission.reason;
  const finish = (response: ShapedResponse): CallEvent => {
    const now = deps.clock();
    const upstream_ms = progress.upstreamStart === null ? null : now - progress.upstreamStart;
    const timing = { created_at, duration_ms: now - created_at, upstream_ms, attempts: progress.attempts };
    return { kind: "response", response, row: rowOf(deps, { id: call_id, ...run, reason }, call, response, timing) };
  };
  if (server?.record.connection_type === "stdio" && admitServer(principal, filters, server) === null) {
    endDecision("bridge_missing");
    const text = `server '${server.record.name}' is ${WAITING_FOR_BRIDGE}`;
    const failure = { code: "bridge_missing", reason: text, text, timeoutMs: null } as const;
    yield finish({ ...call.side.failure(failure, call.message), ok: false, outcome: failure.code, error: text });
    return;
  }
  if (!admission.allowed) {
    endDecision(admission.reason);
    const shaped = call.side.refusal(admission.reason, call.name, call.message);
    yield finish({ ...shaped, ok: false, outcome: "refused", error: "the tool is unknown or not allowed" });
    return;
  }
  const mismatch = call.side.headerMismatch?.(admission.tool, call.message, call.headers) ?? null;
  if (mismatch !== null) {
    yield finish({ ...mismatch, ok: false, outcome: "refused", error: "a header differs from the arguments" });
    return;
  }
  const entry = await enterRun(deps.runs, call, admission.tool, { call_id, run });
  endDecision(entry.reason ?? entry.response?.outcome);
  run = entry.run;
  if (entry.response !== null) {
    reason = entry.reason;
    yield finish(entry.response);
    return;
  }
  let response: ShapedResponse;
  try {
    if (isBuiltIn(admission.tool)) {
      ({ response, run } = await callBuiltIn(deps.builtIn, call, admission.tool, run));
    } else {
      response = yield* performRequest(deps, call, subjectOf(admission.tool), progress);
    }
  } catch (thrown) {
    log("error", "call_failed", { server_id: admission.tool.server.record.server_id, causes: causesOf(thrown) });
    const failure = failed(call, subjectOf(admission.tool), { reason: "The gateway could not reach the server." });
    response = { ...failure, outcome: "gateway_failed" };
  }
  // Before the answer: the client's next call must not find the price of a failed one still held.
  if (entry.isReserved && !response.ok) await deps.runs.release(call.sessionName, call_id);
  yield finish(response);
}

function subjectOf(tool: Tool) {
  const { name, server, repeatable } = tool;
  return { server, name, repeatable, failed: `Tool execution failed for ${name}.`, tool };
}

function rowOf(
  { loggedArguments }: ToolCallDeps,
  known: Pick<CallRow, "id" | "run_id" | "entered" | "reason">,
  { principal, door, message, name, server, tool, sessionId }: ToolCall,
  { ok, outcome, error }: ShapedResponse,
  timing: Pick<CallRow, "created_at" | "duration_ms" | "upstream_ms" | "attempts">,
): CallRow {
  return {
    ...known,
    ...timing,
    org_id: principal.org,
    server: server?.record.name ?? null,
    server_id: server?.record.server_id ?? null,
    tool: tool?.name ?? cut(name),
    exposed_name: cut(name),
    door,
    sub: principal.kind === "user" ? principal.id : null,
    email: principal.email,
    virtual_key_id: principal.key?.virtual_key_id ?? null,
    session_id: sessionId,
    parent_run_id: null,
    args: loggedArguments(message.params["arguments"]),
    ok,
    outcome,
    error: error === null ? null : cut(error),
    definition_hash: tool?.definition_hash ?? null,
    cost_nano: ok && tool !== undefined ? tool.price_nano : 0,
  };
}
