/**
 * One tool call, from admission to the row in the log (design.md section 7). It comes out as a sequence of events, so
 * that the door decides how a client gets them and this decides what it gets.
 */
import { type Admission, admit, admitServer } from "../access/admission.ts";
import type { RequestFilters } from "../access/request-filters.ts";
import { type CallRow, cut, loggedArguments } from "../calls/call.ts";
import type { Server, Tool } from "../catalog/snapshot.ts";
import { tellLegacy, type UpstreamSession } from "../connector/ask.ts";
import { type Deadline, startDeadline } from "../connector/deadline.ts";
import { type Exchange, ExchangeBroken, exchange, type Received, type Target } from "../connector/exchange.ts";
import { BREAKAGES, failureOf } from "../connector/handshake.ts";
import type { Principal } from "../identity/principal.ts";
import { isSameHost } from "../platform/address.ts";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import { DEFAULT_TIMEOUT_MS, type ServerRecord, WAITING_FOR_BRIDGE } from "../registry/server-record.ts";
import type { UpstreamOpened } from "../sessions/upstream-sessions.ts";
import type { ClientMessage } from "./client-message.ts";
import type { CallSide, ShapedResponse } from "./client-side.ts";

/** Deadline of a call when no admin set one (PS-30). */
const CALL_TIMEOUT_MS = 60_000;

/** Attempts of one call at most, whatever the reason for the second (PS-31). */
const MAX_ATTEMPTS = 2;

export interface ToolCallDeps {
  /** The way to a server, for the calls of one session. */
  readonly sendTo: (record: ServerRecord, sessionName: string) => Send;
  readonly targetOf: (record: ServerRecord) => Promise<Target>;
  /**
   * The session with a legacy server that belongs to this client.
   *
   * @param lost One that the server has forgotten.
   */
  readonly upstreamSession: (
    sessionName: string,
    server: Server,
    lost: UpstreamSession | null,
  ) => Promise<UpstreamOpened>;
  /** A server has said that its tools have changed. */
  readonly rediscover: (serverId: string) => Promise<void>;
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

/** What is known of a call while it runs. */
interface Progress {
  attempts: number;
  upstreamStart: number | null;
}

/** Decides and performs a call. Never throws: whatever happens, the last event is a response with its row. */
export async function* callTool(deps: ToolCallDeps, call: ToolCall): AsyncGenerator<CallEvent, void> {
  const created_at = deps.clock();
  const progress: Progress = { attempts: 0, upstreamStart: null };
  const { principal, filters, server } = call;
  const admission = admit(principal, filters, server, call.tool);
  const finish = (response: ShapedResponse): CallEvent => {
    const now = deps.clock();
    const upstream_ms = progress.upstreamStart === null ? null : now - progress.upstreamStart;
    const timing = { created_at, duration_ms: now - created_at, upstream_ms, attempts: progress.attempts };
    return { kind: "response", response, row: rowOf(deps.newId("call"), call, admission, response, timing) };
  };
  if (server?.record.connection_type === "stdio" && admitServer(principal, filters, server) === null) {
    const text = `server '${server.record.name}' is ${WAITING_FOR_BRIDGE}`;
    const failure = { code: "bridge_missing", reason: text, text, timeoutMs: null } as const;
    yield finish({ ...call.side.failure(failure, call.message), ok: false, error: text });
    return;
  }
  if (!admission.allowed) {
    const shaped = call.side.refusal(admission.reason, call.name, call.message);
    yield finish({ ...shaped, ok: false, error: "the tool is unknown or not allowed" });
    return;
  }
  try {
    const upstream = performCall(deps, call, admission.tool, progress);
    for (;;) {
      const step = await upstream.next();
      if (step.done === true) {
        yield finish(step.value);
        return;
      }
      yield step.value;
    }
  } catch (thrown) {
    log("error", "call_failed", { server_id: admission.tool.server.record.server_id, causes: causesOf(thrown) });
    yield finish(failed(call, admission.tool, { reason: "The gateway could not reach the server." }));
  }
}

/** Why there was no answer; `timeoutMs` when it was waited for that long. */
interface NoAnswer {
  readonly reason: string;
  readonly timeoutMs?: number;
}

type Attempt =
  | { readonly kind: "response"; readonly response: ShapedResponse }
  | (NoAnswer & {
      readonly kind: "failed";
      readonly retry: "never" | "repeatable" | "always" | "new session";
    });

async function* performCall(
  deps: ToolCallDeps,
  call: ToolCall,
  tool: Tool,
  progress: Progress,
): AsyncGenerator<CallEvent, ShapedResponse> {
  const { server_url } = tool.server.record;
  if (isSameHost(server_url, call.self)) return failed(call, tool, { reason: BREAKAGES.refused_here });
  const target = await deps.targetOf(tool.server.record);
  let lost: UpstreamSession | null = null;
  for (;;) {
    const session = await sessionFor(deps, call, tool, lost);
    if ("failure" in session) return failed(call, tool, session.failure);
    const attempt = yield* attemptCall(deps, call, tool, target, session.session, progress);
    if (attempt.kind === "response") return attempt.response;
    const { retry } = attempt;
    const isAgain = retry === "always" || retry === "new session" || (retry === "repeatable" && tool.repeatable);
    if (progress.attempts >= MAX_ATTEMPTS || !isAgain || call.left.aborted) return failed(call, tool, attempt);
    lost = retry === "new session" ? session.session : null;
  }
}

async function sessionFor(
  deps: ToolCallDeps,
  call: ToolCall,
  { server }: Tool,
  lost: UpstreamSession | null,
): Promise<{ session: UpstreamSession | null } | { failure: NoAnswer }> {
  if (server.record.era === null) return { failure: { reason: "The server is not connected yet." } };
  if (server.record.era === "modern") return { session: null };
  const opened = await deps.upstreamSession(call.sessionName, server, lost);
  if (opened.ok) return { session: opened.session };
  const { message: reason, isTimeout } = opened.failure;
  return { failure: isTimeout ? { reason, timeoutMs: server.record.timeout_ms ?? DEFAULT_TIMEOUT_MS } : { reason } };
}

/** One request upstream, to its end. */
async function* attemptCall(
  deps: ToolCallDeps,
  call: ToolCall,
  tool: Tool,
  target: Target,
  session: UpstreamSession | null,
  progress: Progress,
): AsyncGenerator<CallEvent, Attempt> {
  const { record } = tool.server;
  const { message, side } = call;
  const era = record.era ?? "legacy";
  // A client without a session of its own shares one upstream, where its ids may be another client's as well.
  const ownId = era === "legacy" && call.sessionId === null ? JSON.stringify(crypto.randomUUID()) : null;
  const forwarding = { message, toolName: tool.name, session, ownId, headers: call.headers };
  const send = deps.sendTo(record, call.sessionName);
  const timeoutMs = record.timeout_ms ?? CALL_TIMEOUT_MS;
  const deadline = startDeadline(timeoutMs, call.left);
  progress.attempts++;
  progress.upstreamStart ??= deps.clock();
  let end = () => endRequest(deadline);
  try {
    const result = await exchange(send, target, side.request(forwarding, era), deadline);
    const id = ownId ?? message.id;
    const from = { era, serverInfo: record.server_info };
    switch (result.kind) {
      case "message": {
        const { status } = result;
        // The second time it is the server's answer to the call.
        const isLost = isLostSession(status, session) && progress.attempts < MAX_ATTEMPTS;
        if (isLost) return { kind: "failed", reason: `${SAYS} ${status}.`, retry: "new session" };
        if (status === 401 || status === 403) return statusFailure(status, session);
        if (!isResponse(result.message, id)) return brokenFailure(new ExchangeBroken("not_mcp"), timeoutMs);
        return { kind: "response", response: side.response(result.message, { ...from, status }, message) };
      }
      case "stream": {
        yield { kind: "streaming" };
        const response = yield* readStream(deps, call, result.messages, { send, target, session, deadline, id });
        if (response === null) return brokenFailure(new ExchangeBroken("cut"), timeoutMs);
        end = () => call.waitUntil(drain(result.messages, deadline));
        return { kind: "response", response: side.response(response, { ...from, status: 200 }, message) };
      }
      case "status":
        return statusFailure(result.status, session);
      case "broken":
        return brokenFailure(result, timeoutMs);
    }
  } catch (thrown) {
    if (thrown instanceof ExchangeBroken) return brokenFailure(thrown, timeoutMs);
    throw thrown;
  } finally {
    end();
  }
}

/** Whatever the server still sends for a request, nobody waits for. */
function endRequest(deadline: Deadline): void {
  deadline.abort();
  deadline.clear();
}

const DRAIN_MS = 1_000;

/**
 * A server ends its stream right behind the response. Reading to that end keeps the connection for the next call, and
 * the server is not told of a client that left.
 */
async function drain(messages: AsyncGenerator<Received>, deadline: Deadline): Promise<void> {
  const timer = setTimeout(deadline.abort, DRAIN_MS);
  try {
    while (!(await messages.next()).done);
  } catch {
    // The response is there; how its stream ends changes nothing.
  } finally {
    clearTimeout(timer);
    endRequest(deadline);
  }
}

const SAYS = "The server answered with HTTP";

function isLostSession(status: number, session: UpstreamSession | null): boolean {
  return session !== null && session.session_id !== null && (status === 404 || status === 400);
}

function statusFailure(status: number, session: UpstreamSession | null): Attempt {
  if (isLostSession(status, session)) return { kind: "failed", reason: `${SAYS} ${status}.`, retry: "new session" };
  const reason = failureOf({ kind: "status", status }, "connect").message;
  return { kind: "failed", reason, retry: retryAfter(status) };
}

/**
 * A 5xx without an MCP message comes from something in front of the server, which did not get the call (PS-31); except
 * for those that say that an answer was waited for in vain: 504, and Cloudflare's 520 and 524. A fixed credential is
 * refused a second time as well (CN-11).
 */
function retryAfter(status: number): "never" | "repeatable" | "always" {
  if (status < 500) return "never";
  return status === 504 || status === 520 || status === 524 ? "repeatable" : "always";
}

/** PS-31: a call that the server may have got is sent again only if its tool allows that. */
function brokenFailure(
  { breakage }: Pick<Extract<Exchange, { kind: "broken" }>, "breakage">,
  timeoutMs: number,
): Attempt {
  const retry = breakage === "lost" || breakage === "timeout" || breakage === "cut" ? "repeatable" : "never";
  return { kind: "failed", reason: BREAKAGES[breakage], retry, ...(breakage === "timeout" ? { timeoutMs } : {}) };
}

/** Passes on what belongs to the call until its response; null when the stream ends without one. */
async function* readStream(
  deps: ToolCallDeps,
  call: ToolCall,
  messages: AsyncGenerator<Received>,
  at: { send: Send; target: Target; session: UpstreamSession | null; deadline: Deadline; id: string | null },
): AsyncGenerator<CallEvent, Received | null> {
  // By hand: leaving a `for await` would close the stream, and with it the connection.
  for (let next = await messages.next(); !next.done; next = await messages.next()) {
    const received = next.value;
    const { method, id } = received.value;
    if (method === undefined) {
      // A response to something else, or a second one, is dropped (P-72).
      if (isResponse(received, at.id)) return received;
    } else if (id !== undefined) {
      await answerServer(at, method, id);
    } else {
      if (method === "notifications/progress") at.deadline.restart();
      // What fails here is tried again by the connector's own alarm.
      if (method === "notifications/tools/list_changed") {
        call.waitUntil(deps.rediscover(at.target.server_id).catch(() => undefined));
      }
      const text = call.side.notification(received, call.message);
      if (text !== null) yield { kind: "notification", text };
    }
  }
  return null;
}

/** A request of the server: nothing was declared to it, so it gets a pong or a refusal. */
async function answerServer(
  { send, target, session }: { send: Send; target: Target; session: UpstreamSession | null },
  method: unknown,
  id: unknown,
): Promise<void> {
  if (session === null) return;
  const refusal = { error: { code: -32601, message: "This client has not declared that." } };
  const answer = method === "ping" ? { result: {} } : refusal;
  await tellLegacy({ send, target, timeoutMs: ANSWER_TIMEOUT_MS }, session, { id, ...answer });
}

const ANSWER_TIMEOUT_MS = 10_000;

/** Whether a message answers the request with that id; servers leave the id out where they could not read it. */
function isResponse({ value }: Received, id: string | null): boolean {
  if ("method" in value || !("result" in value || "error" in value)) return false;
  if (value["id"] === undefined || value["id"] === null) return "error" in value;
  return id !== null && JSON.parse(id) === value["id"];
}

function failed({ side, message }: ToolCall, tool: Tool, { reason, ...waited }: NoAnswer): ShapedResponse {
  const timeoutMs = waited.timeoutMs ?? null;
  const code = timeoutMs === null ? "upstream_failed" : "upstream_timeout";
  const text = `Tool execution failed for ${tool.name}. ${reason}`;
  return { ...side.failure({ code, reason, text, timeoutMs }, message), ok: false, error: reason };
}

function rowOf(
  id: string,
  { principal, door, message, name, server, tool, sessionId }: ToolCall,
  admission: Admission,
  { ok, error }: ShapedResponse,
  timing: Pick<CallRow, "created_at" | "duration_ms" | "upstream_ms" | "attempts">,
): CallRow {
  return {
    id,
    ...timing,
    org_id: principal.org,
    server: server?.record.name ?? null,
    server_id: server?.record.server_id ?? null,
    tool: tool?.name ?? cut(name),
    door,
    sub: principal.kind === "user" ? principal.id : null,
    email: principal.email,
    virtual_key_id: principal.key?.virtual_key_id ?? null,
    session_id: sessionId,
    run_id: null,
    args: loggedArguments(message.params["arguments"]),
    ok,
    error: error === null ? null : cut(error),
    reason: admission.allowed ? null : admission.reason,
    definition_hash: tool?.definition_hash ?? null,
    cost_nano: ok && tool !== undefined ? tool.price_nano : 0,
  };
}
