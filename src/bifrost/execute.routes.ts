/** The door of agents without MCP: one tool call, decided and performed like any other (BF-53 to BF-62). */
import type { Context } from "hono";
import { filtersOf } from "../access/request-filters.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { authenticate } from "../gateway/request.ts";
import type { AppEnv } from "../http/app-env.ts";
import { readJson } from "../http/body.ts";
import { type Operation, validate } from "../http/operation.ts";
import { addressOf } from "../http/security.ts";
import { isUnknownKey } from "../identity/credential.ts";
import { resourceOf } from "../identity/resource.ts";
import { hopsFrom, refuseLoop } from "../platform/hop-marker.ts";
import { traceHeaders } from "../telemetry/trace-context.ts";
import { executeTool } from "./execute.ts";
import { ChatToolCall, ExecuteAnswer, ExecuteQuery, ExecuteRequest, ResponsesToolMessage } from "./execute.wire.ts";
import { type ExecuteCall, executeCall, formatOf } from "./execute-call.ts";
import { bifrostSurface } from "./surface.ts";

export const EXECUTE_PATH = "/v1/mcp/tool/execute";

/** Served by hand: agents are authenticated as at the MCP doors, and the format decides what the body is. */
export const executeOperation: Operation = {
  spec: {
    surface: bifrostSurface,
    method: "POST",
    path: EXECUTE_PATH,
    needs: "agent",
    summary: "Call one tool, without speaking MCP",
    query: ExecuteQuery,
    body: ExecuteRequest,
    status: 200,
    answer: ExecuteAnswer,
    failures: [
      "auth_required",
      "budget_exceeded",
      "bridge_missing",
      "upstream_failed",
      "upstream_timeout",
      "loop_detected",
    ],
  },

  async handle(c) {
    const { services } = c.var;
    const { headers, url } = c.req.raw;
    refuseLoop(headers, services.config.hop);
    // It leads to all servers, like `/mcp`, so that a token for that door is one for this.
    const resource = resourceOf(new URL(url).origin, null);
    const waitUntil = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
    const { principal, snapshot } = await services.rateLimits
      .guard(addressOf(headers), () => authenticate(services, headers, resource, waitUntil))
      .catch(tellKeys);
    c.set("principal", principal);
    await services.rateLimits.request(principal);
    const call = await readCall(c);
    const { signal } = c.req.raw;
    // None of MCP's headers means anything here.
    const known = traceHeaders(headers);
    for (const [name, value] of Object.entries(hopsFrom(headers))) known.set(name, value);
    const asked = { headers: known, filters: filtersOf(headers), signal, waitUntil };
    const about = { door: EXECUTE_PATH, self: new URL(url).origin, ...asked };
    const response = await executeTool({ services, principal, snapshot, ...about }, call, c.var.requestId);
    // Behind the answer, so that no call waits for it (PS-8).
    if (principal.key !== null) waitUntil(services.virtualKeys.noteUse(principal.org, principal.key.virtual_key_id));
    return response;
  },
};

/** BF-59: a virtual key that opens nothing is told so here, and here only. */
function tellKeys(thrown: unknown): never {
  if (isUnknownKey(thrown)) throw new GatewayError("forbidden", "Virtual key not found", { cause: thrown });
  throw thrown;
}

/** @throws GatewayError `invalid_request`, or for the body as `readJson` */
async function readCall(c: Context<AppEnv>): Promise<ExecuteCall> {
  const format = formatOf(c.req.query("format"));
  const body = await readJson(c.req.raw);
  if (format === "chat") {
    const { id, function: called } = validate(ChatToolCall, body, bifrostSurface);
    return executeCall(format, called?.name, { id, arguments: called?.arguments });
  }
  const { name, call_id, arguments: args } = validate(ResponsesToolMessage, body, bifrostSurface);
  return executeCall(format, name, { id: call_id, arguments: args });
}
