/**
 * One tool call, from admission to the row in the log (design.md section 7). It comes out as a sequence of events, so
 * that the door decides how a client gets them and this decides what it gets.
 */
import { admit, admitServer, type CallRefusal } from "../access/admission.ts";
import type { RequestFilters } from "../access/request-filters.ts";
import { type CallRow, cut } from "../calls/call.ts";
import type { ParamHeader } from "../catalog/param-headers.ts";
import { isBuiltIn, type Server, type Tool } from "../catalog/snapshot.ts";
import type { UpstreamSession } from "../connector/ask.ts";
import type { Target } from "../connector/exchange.ts";
import { BREAKAGES } from "../connector/handshake.ts";
import type { Link } from "../credentials/flows.ts";
import type { NoLease } from "../credentials/lease.ts";
import { type Asker, NO_LEASE } from "../credentials/leases.ts";
import { type Owner, SERVER_ITSELF } from "../credentials/owner.ts";
import type { TargetOf } from "../credentials/target.ts";
import { jwtAmong } from "../identity/credential.ts";
import type { Principal } from "../identity/principal.ts";
import { isSameHost } from "../platform/address.ts";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import { DEFAULT_TIMEOUT_MS, type ServerRecord, WAITING_FOR_BRIDGE } from "../registry/server-record.ts";
import type { UpstreamOpened } from "../sessions/upstream-sessions.ts";
import { type Attempt, attemptCall, MAX_TRIES, type NoAnswer, type Progress } from "./attempt.ts";
import { type BuiltIn, callBuiltIn } from "./built-in.ts";
import type { ClientMessage } from "./client-message.ts";
import type { CallSide, ShapedResponse } from "./client-side.ts";
import { enterRun, type RunGate, type RunMark } from "./run-entry.ts";

export interface ToolCallDeps {
  /** The way to a server, for the calls of one session. */
  readonly sendTo: (record: ServerRecord, sessionName: string) => Send;
  readonly targetOf: TargetOf;
  /**
   * The session with a legacy server that belongs to this client.
   *
   * @param as Whose credential the server is shown, and the upstream token that it is of.
   * @param lost One that the server has forgotten.
   */
  readonly upstreamSession: (
    sessionName: string,
    server: Server,
    as: { readonly owner: Owner; readonly tokenId: string | null; readonly subjectToken: string | null },
    lost: UpstreamSession | null,
  ) => Promise<UpstreamOpened>;
  /** Forgets a session that is not to be used again; what runs in it goes on. */
  readonly dropSession: (sessionName: string, serverId: string, session: UpstreamSession) => Promise<void>;
  /**
   * Begins to link an account of an owner with a server (PS-59).
   *
   * @param scopes Those that the server asks for besides (P-62).
   * @returns Null when no consent would change anything.
   */
  readonly startLink: (
    record: ServerRecord,
    owner: Owner,
    link: { readonly self: string; readonly scopes: readonly string[] },
  ) => Promise<Link | null>;
  /** Looks whether a server that refuses an account has another authorization server by now. */
  readonly follow: (serverId: string) => Promise<boolean>;
  /** A server has said that its tools have changed. */
  readonly rediscover: (record: ServerRecord, owner: Owner) => Promise<void>;
  /** Reads the tools of a server anew. @returns What its definition of one of them says of `Mcp-Param-*` (P-39). */
  readonly learnParamHeaders: (
    record: ServerRecord,
    principal: Pick<Principal, "org" | "id">,
    tool: string,
  ) => Promise<readonly ParamHeader[]>;
  /** The server that is part of the gateway. */
  readonly builtIn: BuiltIn;
  readonly runs: RunGate;
  /** The arguments of a call as the log shows them, as JSON text. */
  readonly loggedArguments: (args: unknown) => string | null;
  readonly clock: Clock;
  readonly newId: NewId;
}

export interface ToolCall {
  readonly side: CallSide;
  readonly principal: Principal;
  readonly filters: RequestFilters;
  /** The door's path. */
  readonly door: string;
  /** The gateway's own origin: a server there is not contacted (PS-61). */
  readonly self: string;
  readonly message: ClientMessage;
  /** The tool's name as sent. */
  readonly name: string;
  /** What the name led to. */
  readonly server: Server | undefined;
  readonly tool: Tool | undefined;
  /** The generation of credentials of the caller's snapshot. */
  readonly credentials: number;
  /** The `Session` object that the call belongs to. */
  readonly sessionName: string;
  /** The client's own session id; null for calls without one, which share upstream sessions. */
  readonly sessionId: string | null;
  readonly headers: Headers;
  /** Ends the upstream request: its client has left, or a legacy one has been gone for too long. */
  readonly left: AbortSignal;
  /** Keeps work alive behind the answer. */
  readonly waitUntil: (work: Promise<unknown>) => void;
}

export type CallEvent =
  /** The server has begun to stream. */
  | { readonly kind: "streaming" }
  | { readonly kind: "notification"; readonly text: string }
  /** The last event; `row` is what the log is to say. */
  | { readonly kind: "response"; readonly response: ShapedResponse; readonly row: CallRow };

/** Decides and performs a call. Never throws: whatever happens, the last event is a response with its row. */
export async function* callTool(deps: ToolCallDeps, call: ToolCall): AsyncGenerator<CallEvent, void> {
  const created_at = deps.clock();
  const progress: Progress = { tries: 0, attempts: 0, upstreamStart: null };
  const { principal, filters, server } = call;
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
    const text = `server '${server.record.name}' is ${WAITING_FOR_BRIDGE}`;
    const failure = { code: "bridge_missing", reason: text, text, timeoutMs: null } as const;
    yield finish({ ...call.side.failure(failure, call.message), ok: false, outcome: failure.code, error: text });
    return;
  }
  if (!admission.allowed) {
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
      response = yield* performCall(deps, call, admission.tool, progress);
    }
  } catch (thrown) {
    log("error", "call_failed", { server_id: admission.tool.server.record.server_id, causes: causesOf(thrown) });
    const failure = failed(call, admission.tool, { reason: "The gateway could not reach the server." });
    response = { ...failure, outcome: "gateway_failed" };
  }
  // Before the answer: the client's next call must not find the price of a failed one still held.
  if (entry.isReserved && !response.ok) await deps.runs.release(call.sessionName, call_id);
  yield finish(response);
}

async function* performCall(
  deps: ToolCallDeps,
  call: ToolCall,
  tool: Tool,
  progress: Progress,
): AsyncGenerator<CallEvent, ShapedResponse> {
  const { record } = tool.server;
  if (isSameHost(record.server_url, call.self)) return failed(call, tool, { reason: BREAKAGES.refused_here });
  const asker = askerOf(call);
  let targeted = await deps.targetOf(record, asker);
  if (!targeted.ok) return withoutCredential(deps, call, tool, targeted.why, []);
  let lost: UpstreamSession | null = null;
  for (;;) {
    progress.tries++;
    const { target } = targeted;
    const session = await sessionFor(deps, call, tool, target, lost);
    const attempt =
      "failure" in session ? session.failure : yield* attemptCall(deps, call, tool, target, session.session, progress);
    if (attempt.kind === "response") return attempt.response;
    const { retry } = attempt;
    const isAgain =
      retry === "always" ||
      retry === "new session" ||
      retry === "new headers" ||
      retry === "new token" ||
      (retry === "repeatable" && tool.repeatable);
    const isOver = progress.tries >= MAX_TRIES || !isAgain || call.left.aborted;
    if (isOver && attempt.scopes !== undefined) return withoutCredential(deps, call, tool, "refused", attempt.scopes);
    if (isOver) return failed(call, tool, attempt);
    lost = retry === "new session" && "session" in session ? session.session : null;
    if (retry === "new headers") progress.live = await deps.learnParamHeaders(record, call.principal, tool.name);
    if (retry !== "new token") continue;
    targeted = await deps.targetOf(record, asker, target.token);
    if (!targeted.ok) return withoutCredential(deps, call, tool, targeted.why, []);
  }
}

/** For whom the server is contacted: whoever has come to the door, whatever a request says of itself (BF-60). */
function askerOf({ principal, credentials, headers }: ToolCall): Asker {
  const owner = { org_id: principal.org, user_id: principal.id };
  return { owner, credentials, subjectToken: principal.kind === "user" ? jwtAmong(headers) : null };
}

/** The answer to a call that lacks a credential that the server takes (PS-59). */
async function withoutCredential(
  deps: ToolCallDeps,
  call: ToolCall,
  tool: Tool,
  why: NoLease,
  scopes: readonly string[],
): Promise<ShapedResponse> {
  const { record } = tool.server;
  if (why === "later") return failed(call, tool, { reason: NO_LEASE.later });
  // Before anybody is sent to an authorization server whose tokens are good no longer.
  if (why === "refused" && scopes.length === 0) await deps.follow(record.server_id);
  if (record.auth_type !== "per_user_oauth") {
    return failed(call, tool, { reason: `${record.display_name} is not connected; ask an admin.` });
  }
  if (record.grant_type === "token_exchange") {
    return failed(call, tool, { reason: `${record.display_name} takes only users of the identity provider.` });
  }
  const { org_id, user_id } = { org_id: call.principal.org, user_id: call.principal.id };
  const link = await deps.startLink(record, { org_id, user_id }, { self: call.self, scopes });
  if (link === null) return failed(call, tool, { reason: "The linked account may not do this." });
  const reason = "An account has to be linked with the server first.";
  return {
    ...call.side.linkNeeded({ ...link, server: record }, call.message),
    ok: false,
    outcome: "link_needed",
    error: reason,
  };
}

async function sessionFor(
  deps: ToolCallDeps,
  call: ToolCall,
  { server }: Tool,
  { token }: Target,
  lost: UpstreamSession | null,
): Promise<{ session: UpstreamSession | null } | { failure: Extract<Attempt, { kind: "failed" }> }> {
  if (server.record.era === null) {
    return { failure: { kind: "failed", reason: "The server is not connected yet.", retry: "never" } };
  }
  if (server.record.era === "modern") return { session: null };
  const { owner, subjectToken } = askerOf(call);
  const as = { owner: owner ?? SERVER_ITSELF, tokenId: token?.token_id ?? null, subjectToken };
  const opened = await deps.upstreamSession(call.sessionName, server, as, lost);
  if (opened.ok) return { session: opened.session };
  const { message: reason, isTimeout, status } = opened.failure;
  if (token !== null && status === 401) return { failure: { kind: "failed", reason, retry: "new token", scopes: [] } };
  const waited = isTimeout ? { timeoutMs: server.record.timeout_ms ?? DEFAULT_TIMEOUT_MS } : {};
  return { failure: { kind: "failed", reason, retry: "never", ...waited } };
}

function failed({ side, message, left }: ToolCall, tool: Tool, { reason, ...waited }: NoAnswer): ShapedResponse {
  const timeoutMs = waited.timeoutMs ?? null;
  const code = timeoutMs === null ? "upstream_failed" : "upstream_timeout";
  const text = `Tool execution failed for ${tool.name}. ${reason}`;
  return {
    ...side.failure({ code, reason, text, timeoutMs }, message),
    ok: false,
    outcome: left.aborted ? "abandoned" : code,
    error: reason,
  };
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
