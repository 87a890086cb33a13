/** A tool call at a door: `tools/call` for clients of either era, and what every door does with a call. */
import type { Server, Snapshot, Tool } from "../catalog/snapshot.ts";
import { type CallTrace, untraced } from "../telemetry/call-trace.ts";
import { contextOf } from "../telemetry/trace-context.ts";
import { answerCall, messageResponse } from "./answer.ts";
import { GONE } from "./attempt.ts";
import { CLAIM, type ClientMessage } from "./client-message.ts";
import type { CallSide, ClientSide } from "./client-side.ts";
import type { ClientRequest } from "./perform.ts";
import { type DoorRequest, type Place, serverOfDoor } from "./request.ts";
import { callServer } from "./server-call.ts";
import { type CallEvent, callTool } from "./tool-call.ts";

/** A call that lasts longer can be cancelled by another request of its client (P-28). */
const WATCH_AFTER_MS = 500;

/** How long a call goes on for the log when a legacy client, whose leaving cancels nothing, has gone (P-29). */
const DRAIN_MS = 30_000;

/** `tools/call`. */
export function serveToolCall(
  request: DoorRequest,
  side: ClientSide,
  message: ClientMessage,
  place: Place,
): Promise<Response> {
  const { snapshot, slug, accepts } = request;
  const { name } = message.params;
  const args = message.params["arguments"];
  if (
    typeof name !== "string" ||
    (args !== undefined && (typeof args !== "object" || args === null || Array.isArray(args)))
  ) {
    const error = { code: -32602, message: "A tool call needs a name, and arguments that are an object." };
    const { text, status } = side.error(error, 200, message.id);
    return Promise.resolve(messageResponse(text, status, accepts));
  }
  const isAggregate = slug === null;
  const named = isAggregate ? snapshot.tools.get(name) : undefined;
  const server = isAggregate ? (named?.server ?? stdioServer(snapshot, name)) : serverOfDoor(request);
  const found = isAggregate ? named : server?.tools.get(name);
  const tool = found === undefined || side.offers?.(found) !== false ? found : undefined;
  return answerToolCall(request, side, { message, name, server, tool }, place);
}

/**
 * Performs a call, answers it and notes its row, whichever door it has come through.
 *
 * @param call What is called: the name as sent, and what it led to.
 */
export function answerToolCall(
  request: Omit<DoorRequest, "slug">,
  side: CallSide,
  call: {
    readonly message: ClientMessage;
    readonly name: string;
    readonly server: Server | undefined;
    readonly tool: Tool | undefined;
  },
  place: Place,
): Promise<Response> {
  const { services, filters, door, headers, waitUntil } = request;
  const era = !door.startsWith("/mcp") ? null : CLAIM in call.message.meta ? "modern" : "legacy";
  const trace = services.telemetry.trace({ ...call, headers, era, waitUntil });
  return answerRequest(request, side, call.message, { place, trace }, (from) =>
    callTool(services.toolCalls, { ...from, ...call, filters, door }),
  );
}

/** A request of a server's door that calls no tool, and that the door offers to its caller. */
export function serveServerRequest(
  request: DoorRequest,
  side: ClientSide,
  message: ClientMessage,
  place: Place,
  server: Server,
): Promise<Response> {
  const { headers, services } = request;
  const trace = untraced(contextOf({ meta: message.meta, headers }));
  return answerRequest(request, side, message, { place, trace }, (from) =>
    callServer(services.toolCalls, from, server),
  );
}

/** Answers with what comes of a request, and ends it when its client leaves or says that it waits no longer. */
function answerRequest(
  request: Omit<DoorRequest, "slug">,
  side: CallSide,
  message: ClientMessage,
  { place, trace }: { readonly place: Place; readonly trace: CallTrace },
  perform: (from: ClientRequest) => AsyncGenerator<CallEvent, void>,
): Promise<Response> {
  const { services, principal, snapshot, door, self, headers, accepts, signal, waitUntil } = request;
  const { name, id, upstream } = place;
  const left = new AbortController();
  const leave = () => {
    if (side.leavingCancels) left.abort();
    else setTimeout(() => left.abort(GONE), DRAIN_MS);
  };
  if (side.leavingCancels) signal.addEventListener("abort", leave);
  const events = perform({
    side,
    principal,
    self,
    message,
    credentials: snapshot.generation.credentials,
    sessionName: name,
    sessionId: id,
    upstream,
    headers,
    hasTasks: door !== "/mcp",
    isResumable: id !== null && door !== "/mcp",
    left: left.signal,
    waitUntil,
    trace,
  });
  const watched =
    id === null || message.id === null
      ? events
      : watch(events, JSON.stringify(JSON.parse(message.id)), () => left.abort());
  return answerCall(watched, {
    accepts,
    record(row) {
      if (row === null) return { stored: Promise.resolve(), isAwaited: false };
      const journal = { stored: services.journal.record(name, row), isAwaited: services.journal.mode === "sync" };
      trace.answered(row, journal);
      return journal;
    },
    waitUntil,
    onLeft: leave,
  });

  /** Most calls are over before anybody could take them back: only for those that take longer the session is asked. */
  async function* watch(from: typeof events, requestId: string, cancel: () => void): typeof events {
    let isOver = false;
    let isWatched = false;
    const timer = setTimeout(() => {
      isWatched = true;
      const cancelled = services.sessions.cancelled(name, requestId).then((isCancelled) => {
        if (isCancelled && !isOver) cancel();
      });
      waitUntil(cancelled.catch(() => undefined));
    }, WATCH_AFTER_MS);
    try {
      yield* from;
    } finally {
      isOver = true;
      clearTimeout(timer);
      if (isWatched) waitUntil(services.sessions.unwatch(name, requestId).catch(() => undefined));
    }
  }
}

/**
 * The stdio server that a name begins with: nobody has seen its tools, so that there is no name to look up (PS-62).
 * Server names have no underscore, so the first two always split.
 */
function stdioServer(snapshot: Snapshot, name: string): Server | undefined {
  const at = name.indexOf("__");
  const server = at === -1 ? undefined : snapshot.servers.get(name.slice(0, at).toLowerCase());
  return server?.record.connection_type === "stdio" ? server : undefined;
}
