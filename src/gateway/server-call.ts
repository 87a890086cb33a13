/** A request to one server that calls no tool: prompts, resources, completion, and what a session sets there. */
import type { Server } from "../catalog/snapshot.ts";
import { causesOf, log } from "../platform/log.ts";
import { type ClientRequest, failed, performRequest, type Subject, type UpstreamDeps } from "./perform.ts";
import type { CallEvent } from "./tool-call.ts";

/** Performs it; the caller has been admitted to the server. Never throws, and leaves no row: no tool is called. */
export async function* callServer(
  deps: UpstreamDeps,
  request: ClientRequest,
  server: Server,
): AsyncGenerator<CallEvent, void> {
  const { method } = request.message;
  // None of them is said to change anything: they may be sent again (PS-31).
  const subject: Subject = { server, name: null, repeatable: true, failed: `${method} failed.` };
  try {
    const response = yield* performRequest(deps, request, subject, { tries: 0, attempts: 0, upstreamStart: null });
    yield { kind: "response", response, row: null };
  } catch (thrown) {
    log("error", "request_failed", { server_id: server.record.server_id, method, causes: causesOf(thrown) });
    const response = failed(request, subject, { reason: "The gateway could not reach the server." });
    yield { kind: "response", response, row: null };
  }
}
