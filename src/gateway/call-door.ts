/** A tool call at a door: `tools/call` for clients of either era, and what every door does with a call. */
import type { Server, Snapshot, Tool } from "../catalog/snapshot.ts";
import { answerCall, messageResponse } from "./answer.ts";
import type { ClientMessage } from "./client-message.ts";
import type { CallSide, ClientSide } from "./client-side.ts";
import { type DoorRequest, serverOfDoor } from "./request.ts";
import { callTool } from "./tool-call.ts";

/** How long a call goes on for the log when a legacy client, whose leaving cancels nothing, has gone (P-29). */
const DRAIN_MS = 30_000;

/**
 * @param sessionName The `Session` object that the call belongs to.
 * @param sessionId The client's own session; null without one.
 */
export function serveToolCall(
  request: DoorRequest,
  side: ClientSide,
  message: ClientMessage,
  session: { readonly name: string; readonly id: string | null },
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
  return answerToolCall(request, side, { message, name, server, tool }, session);
}

/**
 * Performs a call, answers it and notes its row, whichever door it has come through.
 *
 * @param call What is called: the name as sent, and what it led to.
 */
export function answerToolCall(
  {
    services,
    principal,
    filters,
    snapshot,
    door,
    self,
    headers,
    accepts,
    signal,
    waitUntil,
  }: Omit<DoorRequest, "slug">,
  side: CallSide,
  call: {
    readonly message: ClientMessage;
    readonly name: string;
    readonly server: Server | undefined;
    readonly tool: Tool | undefined;
  },
  session: { readonly name: string; readonly id: string | null },
): Promise<Response> {
  const left = new AbortController();
  const leave = () => {
    if (side.leavingCancels) left.abort();
    else setTimeout(() => left.abort(), DRAIN_MS);
  };
  if (side.leavingCancels) signal.addEventListener("abort", leave);
  const events = callTool(services.toolCalls, {
    side,
    principal,
    filters,
    door,
    self,
    ...call,
    credentials: snapshot.generation.credentials,
    sessionName: session.name,
    sessionId: session.id,
    headers,
    left: left.signal,
    waitUntil,
  });
  return answerCall(events, {
    accepts,
    record: (row) => ({
      stored: services.journal.record(session.name, row),
      isAwaited: services.journal.mode === "sync",
    }),
    waitUntil,
    onLeft: leave,
  });
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
