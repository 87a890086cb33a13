/** One attempt at a tool call: a request to the server, what it streams, and how that can end (PS-31). */

import type { ParamHeader } from "../catalog/param-headers.ts";
import { sessionHeaders, tellLegacy, type UpstreamSession } from "../connector/ask.ts";
import { type Deadline, startDeadline } from "../connector/deadline.ts";
import { type Exchange, ExchangeBroken, exchange, type Received, type Target } from "../connector/exchange.ts";
import { BREAKAGES, failureOf } from "../connector/handshake.ts";
import { scopesAskedFor } from "../credentials/challenge.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import { carrying } from "../platform/hop-marker.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import { PARKED, parkedIn } from "../sessions/parked.ts";
import { carry } from "../telemetry/trace-context.ts";
import type { ResponseSource, ShapedResponse } from "./client-side.ts";
import { passLarge } from "./large-answer.ts";
import { isLegacyAnswer, MISTAKEN, refusedByProtocol } from "./modern/upstream-refusal.ts";
import type { ClientRequest, RequestEvent, Resume, Subject, UpstreamDeps } from "./perform.ts";
import { relayedRequest } from "./relayed-id.ts";

/** Rounds of one call at most, whatever the reason for the second (PS-31). */
export const MAX_TRIES = 2;

/** Deadline of a call when no admin set one (PS-30). */
export const CALL_TIMEOUT_MS = 60_000;

/** Why a request ends whose legacy client has gone: its server is not told, for that is no cancellation (P-29). */
export const GONE = "the client has gone";

/** What is known of a call while it runs. */
export interface Progress {
  /** Rounds that have begun, each with a request or with what has kept one from being sent. */
  tries: number;
  attempts: number;
  upstreamStart: number | null;
  /** What the server expects of `Mcp-Param-*`, where the call has found that out by itself. */
  live?: readonly ParamHeader[];
}

/** Why there was no answer; `timeoutMs` when it was waited for that long. */
export interface NoAnswer {
  readonly reason: string;
  readonly timeoutMs?: number;
  /** The server does not accept the account, or does not let it do this: scopes that it asks for besides. */
  readonly scopes?: readonly string[];
  /** Part of the answer has gone to the client. */
  readonly isCut?: true;
}

/** A response of a server, and what is known of where it came from. */
export interface Answer {
  readonly kind: "answer";
  readonly received: Received;
  readonly from: ResponseSource;
}

export type Attempt =
  | Answer
  /** The answer has gone to the client already. */
  | { readonly kind: "ended"; readonly response: ShapedResponse }
  /** The server asks something that only another request of the client can answer; the call waits for that. */
  | { readonly kind: "parked"; readonly park: string; readonly id: string; readonly asked: Received }
  | (NoAnswer & {
      readonly kind: "failed";
      readonly retry: "never" | "repeatable" | "always" | "new session" | "new token" | "new headers";
    });

/** How one request goes upstream. */
export interface Route {
  readonly target: Target;
  readonly session: UpstreamSession | null;
  /** Set where the request itself has gone upstream before, and waits for an answer. */
  readonly resume: Resume | null;
  /** The request has gone upstream before, and what was asked then is answered in it. */
  readonly isRepeat: boolean;
}

/** One request upstream, to its end. */
export async function* attemptRequest(
  deps: UpstreamDeps,
  request: ClientRequest,
  subject: Subject,
  { target, session, resume, isRepeat }: Route,
  progress: Progress,
): AsyncGenerator<RequestEvent, Attempt> {
  const { record } = subject.server;
  const { message, side, upstream } = request;
  const era = record.era ?? "legacy";
  // A client without a session of its own shares one upstream, where its ids may be another client's as well.
  const isShared = era === "legacy" && request.sessionId === null;
  const ownId = resume?.id ?? (isShared || isRepeat ? JSON.stringify(crypto.randomUUID()) : null);
  const { client, asks } = upstream;
  // What a client cannot be asked within this request is not declared with it.
  const told = client === null || asks !== "refused" ? client : { ...client, capabilities: {} };
  const { headers, hasTasks } = request;
  const paramHeaders = paramHeadersOf(subject, progress);
  const forwarding = { message, name: subject.name, session, ownId, headers, client: told, hasTasks, paramHeaders };
  const context = { meta: message.meta, isModern: era === "modern" };
  const outgoing =
    resume === null
      ? carry(side.request(forwarding, era), request.trace.context(), context)
      : { headers: sessionHeadersOf(session), body: resume.answer ?? "" };
  const send = carrying(deps.sendTo(record, upstream), headers);
  const timeoutMs = record.timeout_ms ?? CALL_TIMEOUT_MS;
  const deadline = startDeadline(timeoutMs, request.left);
  progress.attempts++;
  progress.upstreamStart ??= deps.clock();
  const id = ownId ?? message.id;
  let end = () => {
    const isGivenUp = deadline.signal.aborted;
    endRequest(deadline);
    if (isGivenUp) request.waitUntil(giveUp(deps, request, { record, send, target, session, id }, deadline));
  };
  async function* answer(received: Received, status: number): AsyncGenerator<RequestEvent, Attempt> {
    const from = { era, status, serverInfo: record.server_info, serverId: record.server_id };
    const { bytes } = received;
    const edits = bytes && side.edits?.(from, message);
    if (bytes === undefined || edits === undefined) return { kind: "answer", received, from };
    const owner = { principal: request.principal, serverId: record.server_id };
    const closeTask = (related: string) => deps.tasks.closeRelated(related, owner);
    const passed = yield* passLarge(message, bytes, { id, edits, from, closeTask }, deadline);
    if (typeof passed !== "string") return { kind: "ended", response: passed };
    return { ...brokenFailure({ breakage: passed }, timeoutMs), retry: "never", isCut: true };
  }
  try {
    const way = resume === null ? send : deps.resume(resume.name, resume.park);
    const resumed = sessionToResume(session, record);
    // What a task brings names it throughout, and is read whole.
    const takesLarge = side.edits !== undefined && !message.method.startsWith("tasks/");
    const result = await exchange(way, target, outgoing, deadline, resumed, takesLarge);
    switch (result.kind) {
      case "message": {
        const { status } = result;
        // The second time it is the server's answer to the call.
        const isLost = isLostSession(status, session) && progress.tries < MAX_TRIES;
        if (isLost) return { kind: "failed", reason: `${SAYS} ${status}.`, retry: "new session" };
        if (status === 401 || status === 403) return statusFailure(result, session, target);
        if (!isResponse(result.message, id)) return brokenFailure(new ExchangeBroken("not_mcp"), timeoutMs);
        if (era === "modern" && isLegacyAnswer(result.message, status)) lookAnew(deps, request, record);
        return failureByProtocol(deps, request, record, result.message) ?? (yield* answer(result.message, status));
      }
      case "stream": {
        yield { kind: "streaming" };
        const last = yield* readStream(deps, request, result.messages, {
          record,
          send,
          target,
          session,
          deadline,
          id,
        });
        if (last === null) return brokenFailure(new ExchangeBroken("cut"), timeoutMs);
        const parked = upstream.asks === "parked" ? parkedIn(last) : null;
        if (parked !== null) {
          end = () => request.waitUntil(drain(result.messages, deadline));
          return { kind: "parked", ...parked, id: id ?? "null" };
        }
        const answered = failureByProtocol(deps, request, record, last) ?? (yield* answer(last, 200));
        const isCut = answered.kind === "failed" && answered.isCut === true;
        if (!isCut) end = () => request.waitUntil(drain(result.messages, deadline));
        return answered;
      }
      case "status":
        if (resume !== null) return { kind: "failed", reason: PARK_LOST, retry: "never" };
        return statusFailure(result, session, target);
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

/** What the gateway has got wrong, and what is done about it: its client has no part in that. */
function failureByProtocol(
  deps: UpstreamDeps,
  request: ClientRequest,
  record: ServerRecord,
  response: Received,
): Attempt | null {
  if (record.era !== "modern") return null;
  const refused = refusedByProtocol(response, request.side.declares?.(request.message, request.hasTasks) === true);
  if (refused === null) return null;
  if (refused === "revision") lookAnew(deps, request, record);
  return { kind: "failed", reason: MISTAKEN[refused], retry: refused === "headers" ? "new headers" : "never" };
}

/** What fails here is tried again by the connector's own alarm. */
function lookAnew(deps: UpstreamDeps, { principal, waitUntil }: ClientRequest, record: ServerRecord): void {
  const owner = { org_id: principal.org, user_id: principal.id };
  waitUntil(deps.rediscover(record, owner).catch(() => undefined));
}

/** What the server of a call expects of `Mcp-Param-*`; other requests have none. */
function paramHeadersOf({ tool }: Subject, { live }: Progress) {
  const expected = live ?? tool?.live_param_headers ?? [];
  return { live: expected, isShown: live === undefined && tool?.live_param_headers === tool?.param_headers };
}

const PARK_LOST = "The call was given up before the answer to its question came; call it again.";

/** A stream over HTTP+SSE is its session, and is not opened again. */
function sessionToResume(session: UpstreamSession | null, { connection_type }: ServerRecord) {
  return session === null || connection_type === "sse" ? null : sessionHeaders(session);
}

function sessionHeadersOf(session: UpstreamSession | null): Record<string, string> {
  return session === null ? {} : sessionHeaders(session);
}

/** Whatever the server still sends for a request, nobody waits for. */
function endRequest(deadline: Deadline): void {
  deadline.abort();
  deadline.clear();
}

/**
 * Tells a legacy server that nobody waits for a request any more: closing its connection does not say that (P-28). Its
 * session is not used again after a request that it has let run out of time (PS-30).
 */
async function giveUp(
  deps: UpstreamDeps,
  request: ClientRequest,
  at: {
    readonly record: ServerRecord;
    readonly send: Send;
    readonly target: Target;
    readonly session: UpstreamSession | null;
    readonly id: string | null;
  },
  deadline: Deadline,
): Promise<void> {
  // Over HTTP+SSE whoever holds the stream does that.
  const { session, id, record } = at;
  if (session === null || id === null || record.connection_type === "sse" || request.left.reason === GONE) return;
  const line = { send: at.send, target: at.target, timeoutMs: ANSWER_TIMEOUT_MS };
  const params = { requestId: JSON.parse(id), reason: "nobody waits for it any more" };
  await tellLegacy(line, session, { method: "notifications/cancelled", params });
  if (deadline.isOver())
    await deps.dropSession(request.upstream.name, record.server_id, session).catch(() => undefined);
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

function statusFailure(
  { status, challenge }: { readonly status: number; readonly challenge: string | null },
  session: UpstreamSession | null,
  { token }: Target,
): Attempt {
  if (isLostSession(status, session)) return { kind: "failed", reason: `${SAYS} ${status}.`, retry: "new session" };
  const reason = failureOf({ kind: "status", status }, "connect").message;
  // A fixed credential is refused a second time as well (CN-11).
  if (token === null) return { kind: "failed", reason, retry: retryAfter(status) };
  if (status === 401) return { kind: "failed", reason, retry: "new token", scopes: [] };
  const scopes = status === 403 ? scopesAskedFor(challenge) : null;
  return { kind: "failed", reason, retry: retryAfter(status), ...(scopes === null ? {} : { scopes }) };
}

/**
 * A 5xx without an MCP message comes from something in front of the server, which did not get the call (PS-31); except
 * for those that say that an answer was waited for in vain: 504, and Cloudflare's 520 and 524.
 */
function retryAfter(status: number): "never" | "repeatable" | "always" {
  if (status < 500) return "never";
  return status === 504 || status === 520 || status === 524 ? "repeatable" : "always";
}

/** PS-31: a call that the server may have got is sent again only if its tool allows that. */
function brokenFailure(
  { breakage }: Pick<Extract<Exchange, { kind: "broken" }>, "breakage">,
  timeoutMs: number,
): Extract<Attempt, { kind: "failed" }> {
  const retry = breakage === "lost" || breakage === "timeout" || breakage === "cut" ? "repeatable" : "never";
  return { kind: "failed", reason: BREAKAGES[breakage], retry, ...(breakage === "timeout" ? { timeoutMs } : {}) };
}

/** Passes on what belongs to the request until the message that ends it; null when the stream ends without one. */
async function* readStream(
  deps: UpstreamDeps,
  request: ClientRequest,
  messages: AsyncGenerator<Received>,
  at: {
    record: ServerRecord;
    send: Send;
    target: Target;
    session: UpstreamSession | null;
    deadline: Deadline;
    id: string | null;
  },
): AsyncGenerator<RequestEvent, Received | null> {
  const { upstream, side } = request;
  const from = { era: at.record.era ?? "legacy", serverId: at.record.server_id };
  const { isResumable } = request;
  const notified = (text: string, received: Received): RequestEvent => ({
    kind: "notification",
    text,
    ...(isResumable ? { place: received } : {}),
  });
  // By hand: leaving a `for await` would close the stream, and with it the connection.
  for (let next = await messages.next(); !next.done; next = await messages.next()) {
    const received = deps.tasks.close(next.value, null, { principal: request.principal, serverId: from.serverId });
    const { method, id } = received.value;
    if (received.text === "" && received.bytes === undefined) {
      // A place in the stream that the client may come back to.
      if (isResumable) yield notified("", received);
    } else if (method === undefined) {
      // A response to something else, or a second one, is dropped (P-72).
      if (isResponse(received, at.id)) return received;
    } else if (id !== undefined) {
      if (upstream.asks !== "relayed" || method === "ping") await answerServer(at, method, id);
      else {
        at.deadline.restart();
        yield notified(relayedRequest(received, at.record.server_id), received);
      }
    } else {
      if (upstream.asks === "parked" && method === PARKED) return received;
      if (method === "notifications/progress") at.deadline.restart();
      if (method === "notifications/tools/list_changed") lookAnew(deps, request, at.record);
      const text = side.notification(received, from, request.message);
      if (text !== null) yield notified(text, received);
    }
  }
  return null;
}

/** A request of a server that nobody can be asked: nothing was declared to it, so it gets a pong or a refusal. */
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
function isResponse({ value, bytes }: Received, id: string | null): boolean {
  // In a large one the id may come last.
  if (bytes !== undefined && !("id" in value)) return true;
  if ("method" in value || !("result" in value || "error" in value)) return false;
  if (value["id"] === undefined || value["id"] === null) return "error" in value;
  return id !== null && JSON.parse(id) === value["id"];
}
