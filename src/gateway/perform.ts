/**
 * One request of a client to one server: the credential and the session that it needs, at most one more try, and what
 * the server asks back on the way (design.md section 7, protocol.md 3.5).
 */
import type { ParamHeader } from "../catalog/param-headers.ts";
import type { Server, Tool } from "../catalog/snapshot.ts";
import type { UpstreamSession } from "../connector/ask.ts";
import type { Target } from "../connector/exchange.ts";
import { BREAKAGES } from "../connector/handshake.ts";
import type { UpstreamClient } from "../connector/server-request.ts";
import type { Link } from "../credentials/flows.ts";
import type { NoLease } from "../credentials/lease.ts";
import { type Asker, type LeasedToken, NO_LEASE } from "../credentials/leases.ts";
import { type Owner, SERVER_ITSELF } from "../credentials/owner.ts";
import type { TargetOf } from "../credentials/target.ts";
import { jwtAmong } from "../identity/credential.ts";
import type { Principal } from "../identity/principal.ts";
import { isSameHost } from "../platform/address.ts";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import { DEFAULT_TIMEOUT_MS, type ServerRecord } from "../registry/server-record.ts";
import type { UpstreamPlace } from "../sessions/session.ts";
import type { UpstreamOpened } from "../sessions/upstream-sessions.ts";
import type { CallTrace } from "../telemetry/call-trace.ts";
import { type Answer, type Attempt, attemptRequest, MAX_TRIES, type NoAnswer, type Progress } from "./attempt.ts";
import type { ClientMessage } from "./client-message.ts";
import type { CallSide, ShapedResponse, StreamPlace } from "./client-side.ts";
import { inputOf } from "./input-asked.ts";
import { askClient } from "./legacy/ask-client.ts";
import { relayInput, relayParked } from "./modern/relay-input.ts";
import type { RequestStates } from "./modern/request-state.ts";
import type { TaskHandles } from "./task-handles.ts";

export interface UpstreamDeps {
  /** The way to a server, for the requests of one place. */
  readonly sendTo: (record: ServerRecord, place: UpstreamPlace) => Send;
  /** The way to a call that waits in a `Session` object for what its client answers. */
  readonly resume: (name: string, park: string) => Send;
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
    as: {
      readonly owner: Owner;
      readonly tokenId: string | null;
      readonly subjectToken: string | null;
      readonly client: UpstreamClient | null;
    },
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
  readonly learnParamHeaders: (record: ServerRecord, owner: Owner, tool: string) => Promise<readonly ParamHeader[]>;
  /** What a client of a session answers to questions, as texts in their order; null for one that is not answered. */
  readonly answers: (sessionName: string, ids: readonly string[], waitMs: number) => Promise<(string | null)[]>;
  readonly states: RequestStates;
  readonly tasks: TaskHandles;
  readonly clock: Clock;
}

/** A request of a client, past authentication. */
export interface ClientRequest {
  readonly side: CallSide;
  readonly principal: Principal;
  /** The gateway's own origin: a server there is not contacted (PS-61). */
  readonly self: string;
  readonly message: ClientMessage;
  /** The generation of credentials of the caller's snapshot. */
  readonly credentials: number;
  /** The `Session` object that the request belongs to. */
  readonly sessionName: string;
  /** The client's own session id; null for requests without one, which share upstream sessions. */
  readonly sessionId: string | null;
  readonly upstream: UpstreamPlace;
  readonly headers: Headers;
  /** Whether the door carries tasks: what begins at `/mcp` would end there. */
  readonly hasTasks: boolean;
  /** The client may come back for what a stream of this request still brings, as its server offers it. */
  readonly isResumable: boolean;
  /** Ends the upstream request: its client has left, or a legacy one has been gone for too long. */
  readonly left: AbortSignal;
  /** Keeps work alive behind the answer. */
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly trace: CallTrace;
}

/** What a request is about. */
export interface Subject {
  readonly server: Server;
  /** The server's own name for it, where the client's message has another. */
  readonly name: string | null;
  /** May be sent again although the server may have acted on it (PS-31). */
  readonly repeatable: boolean;
  /** The tool that is called, where one is. */
  readonly tool?: Tool;
  /** Begins the sentence that says that it failed. */
  readonly failed: string;
}

/** What comes of a request before its response. */
export type RequestEvent =
  /** The server has begun to stream. */
  | { readonly kind: "streaming" }
  /** The text is empty where all that is said is the place in the stream. */
  | { readonly kind: "notification"; readonly text: string; readonly place?: StreamPlace }
  /** The next bytes of a response that is too large to be held. The signal says that nobody waits for it any more. */
  | { readonly kind: "part"; readonly bytes: Uint8Array; readonly signal: AbortSignal };

/** A call that waits in a `Session` object, and what its client says to it. */
export interface Resume {
  /** The `Session` object. */
  readonly name: string;
  readonly park: string;
  /** The id of the request at its server, JSON text. */
  readonly id: string;
  /** JSON text of the result that answers the server; null: the client has not answered. */
  readonly answer: string | null;
}

/** How often a server may ask for more before a request is given up. */
const MAX_ROUNDS = 10;

/** Performs a request to its end. May throw: what does is no answer of the server. */
export async function* performRequest(
  deps: UpstreamDeps,
  request: ClientRequest,
  subject: Subject,
  progress: Progress,
): AsyncGenerator<RequestEvent, ShapedResponse> {
  const { side } = request;
  if (isSameHost(subject.server.record.server_url, request.self)) {
    return failed(request, subject, { reason: BREAKAGES.refused_here });
  }
  const opened = await deps.states.open(request, subject);
  if (opened === "invalid") {
    const error = "requestState is not one that was given for this request.";
    return { ...side.misfit(error, request.message), ok: false, outcome: "refused", error: "requestState is invalid" };
  }
  const owner = { principal: request.principal, serverId: subject.server.record.server_id };
  const message = deps.tasks.open(opened.message, owner);
  if (message === null) {
    const error = "There is no such task.";
    return { ...side.misfit(error, request.message), ok: false, outcome: "refused", error: "the task is unknown" };
  }
  let round = { ...request, message };
  let resume = opened.resume;
  for (let rounds = 0; rounds < MAX_ROUNDS; rounds++) {
    const ended = yield* exchangeOnce(deps, round, subject, progress, resume, rounds > 0);
    if (ended.kind === "ended") return ended.response;
    if (ended.kind === "parked") return relayParked(deps.states, request, subject, ended);
    const { from } = ended;
    const received = deps.tasks.close(ended.received, request.message.method, owner);
    const input = inputOf(received);
    if (input === null || side.inputRequired === "unsupported") {
      const shaped = side.response(received, from, request.message);
      return request.isResumable ? { ...shaped, place: received } : shaped;
    }
    if (side.inputRequired === "relayed")
      return relayInput(deps.states, request, subject, { ...ended, received }, input);
    const asked = yield* askClient(deps, request, input);
    if ("response" in asked) return asked.response;
    round = { ...request, message: asked };
    resume = null;
    progress.tries = 0;
  }
  return failed(request, subject, { reason: "The server asked too often." });
}

type Ended =
  | Answer
  | Extract<Attempt, { kind: "parked" }>
  | { readonly kind: "ended"; readonly response: ShapedResponse };

/** Sends a request until it has an answer, or there is nothing left to try. */
async function* exchangeOnce(
  deps: UpstreamDeps,
  request: ClientRequest,
  subject: Subject,
  progress: Progress,
  resume: Resume | null,
  isRepeat: boolean,
): AsyncGenerator<RequestEvent, Ended> {
  const { record } = subject.server;
  const end = (response: ShapedResponse): Ended => ({ kind: "ended", response });
  const asker = askerOf(request);
  const lease = async (refused?: LeasedToken) => {
    const endLease = request.trace.begin("lease");
    const found = await deps.targetOf(record, asker, refused);
    endLease(found.ok ? undefined : found.why);
    return found;
  };
  let targeted = await lease();
  if (!targeted.ok) return end(await withoutCredential(deps, request, subject, targeted.why, []));
  let lost: UpstreamSession | null = null;
  for (;;) {
    progress.tries++;
    const { target } = targeted;
    const endUpstream = request.trace.begin("upstream");
    const session = await sessionFor(deps, request, subject, target, lost);
    const attempt =
      "failure" in session
        ? session.failure
        : yield* attemptRequest(
            deps,
            request,
            subject,
            { target, session: session.session, resume, isRepeat },
            progress,
          );
    endUpstream(attempt.kind === "failed" ? codeOf(attempt) : undefined);
    if (attempt.kind !== "failed") return attempt;
    const { retry } = attempt;
    const isAgain =
      retry === "always" ||
      retry === "new session" ||
      retry === "new headers" ||
      retry === "new token" ||
      (retry === "repeatable" && subject.repeatable);
    const isOver = progress.tries >= MAX_TRIES || !isAgain || request.left.aborted;
    if (isOver && attempt.scopes !== undefined) {
      return end(await withoutCredential(deps, request, subject, "refused", attempt.scopes));
    }
    if (isOver) return end(failed(request, subject, attempt));
    lost = retry === "new session" && "session" in session ? session.session : null;
    if (retry === "new headers" && subject.tool !== undefined) {
      const owner = { org_id: request.principal.org, user_id: request.principal.id };
      progress.live = await deps.learnParamHeaders(record, owner, subject.tool.name);
    }
    if (retry !== "new token") continue;
    targeted = await lease(target.token);
    if (!targeted.ok) return end(await withoutCredential(deps, request, subject, targeted.why, []));
  }
}

/** For whom the server is contacted: whoever has come to the door, whatever a request says of itself (BF-60). */
export function askerOf({
  principal,
  credentials,
  headers,
}: Pick<ClientRequest, "principal" | "credentials" | "headers">): Asker {
  const owner = { org_id: principal.org, user_id: principal.id };
  return { owner, credentials, subjectToken: principal.kind === "user" ? jwtAmong(headers) : null };
}

/** The answer to a request that lacks a credential that the server takes (PS-59). */
async function withoutCredential(
  deps: UpstreamDeps,
  request: ClientRequest,
  subject: Subject,
  why: NoLease,
  scopes: readonly string[],
): Promise<ShapedResponse> {
  const { record } = subject.server;
  if (why === "later") return failed(request, subject, { reason: NO_LEASE.later });
  // Before anybody is sent to an authorization server whose tokens are good no longer.
  if (why === "refused" && scopes.length === 0) await deps.follow(record.server_id);
  if (record.auth_type !== "per_user_oauth") {
    return failed(request, subject, { reason: `${record.display_name} is not connected; ask an admin.` });
  }
  if (record.grant_type === "token_exchange") {
    return failed(request, subject, { reason: `${record.display_name} takes only users of the identity provider.` });
  }
  const { org_id, user_id } = { org_id: request.principal.org, user_id: request.principal.id };
  const link = await deps.startLink(record, { org_id, user_id }, { self: request.self, scopes });
  if (link === null) return failed(request, subject, { reason: "The linked account may not do this." });
  const reason = "An account has to be linked with the server first.";
  return {
    ...request.side.linkNeeded({ ...link, server: record }, request.message),
    ok: false,
    outcome: "link_needed",
    error: reason,
  };
}

/** The session to speak in: null where the server keeps none. */
async function sessionFor(
  deps: UpstreamDeps,
  request: ClientRequest,
  { server }: Subject,
  { token }: Target,
  lost: UpstreamSession | null,
): Promise<{ session: UpstreamSession | null } | { failure: Extract<Attempt, { kind: "failed" }> }> {
  if (server.record.era === null) {
    return { failure: { kind: "failed", reason: "The server is not connected yet.", retry: "never" } };
  }
  if (server.record.era === "modern") return { session: null };
  const { owner, subjectToken } = askerOf(request);
  const { name, client } = request.upstream;
  const as = { owner: owner ?? SERVER_ITSELF, tokenId: token?.token_id ?? null, subjectToken, client };
  const opened = await orLeft(deps.upstreamSession(name, server, as, lost), request.left);
  if (opened === "left") return { failure: { kind: "failed", reason: BREAKAGES.left, retry: "never" } };
  if (opened.ok) return { session: opened.session };
  const { message: reason, isTimeout, status } = opened.failure;
  if (token !== null && status === 401) return { failure: { kind: "failed", reason, retry: "new token", scopes: [] } };
  const waited = isTimeout ? { timeoutMs: server.record.timeout_ms ?? DEFAULT_TIMEOUT_MS } : {};
  return { failure: { kind: "failed", reason, retry: "never", ...waited } };
}

/** What comes of something that cannot be ended, for as long as somebody waits for it. */
async function orLeft<T>(work: Promise<T>, left: AbortSignal): Promise<T | "left"> {
  const gone = Promise.withResolvers<"left">();
  const leave = () => gone.resolve("left");
  left.addEventListener("abort", leave);
  if (left.aborted) leave();
  try {
    return await Promise.race([work, gone.promise]);
  } finally {
    left.removeEventListener("abort", leave);
  }
}

function codeOf({ timeoutMs }: Pick<NoAnswer, "timeoutMs">) {
  return timeoutMs === undefined ? "upstream_failed" : "upstream_timeout";
}

/** The answer to a request that brought none of its server. */
export function failed(
  { side, message, left }: Pick<ClientRequest, "side" | "message" | "left">,
  subject: Pick<Subject, "failed">,
  { reason, isCut, ...waited }: NoAnswer,
): ShapedResponse {
  const timeoutMs = waited.timeoutMs ?? null;
  const code = codeOf(waited);
  const text = `${subject.failed} ${reason}`;
  return {
    ...side.failure({ code, reason, text, timeoutMs }, message),
    ok: false,
    outcome: left.aborted ? "abandoned" : code,
    error: reason,
    ...(isCut === true ? { sent: "cut" } : {}),
  };
}
