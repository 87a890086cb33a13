/** How a call of the execute door goes out and comes back: what `gateway/` has for clients that speak MCP (BF-59). */
import type { Refusal } from "../access/admission.ts";
import { cut } from "../calls/call.ts";
import { FAILURES, type FailureCode, GatewayError } from "../failure/gateway-error.ts";
import { type CallFailure, type CallSide, linkText } from "../gateway/client-side.ts";
import { toLegacyServer, toModernServer } from "../gateway/forwarding.ts";
import { outcomeOf } from "../gateway/rpc-text.ts";
import type { KeyGrant } from "../identity/principal.ts";
import { isObject } from "../platform/json-value.ts";
import { answerOf } from "./execute-answer.ts";
import type { ExecuteCall } from "./execute-call.ts";
import { failureText } from "./surface.ts";

/** @param key The one that the principal comes with. */
export function executeSide(call: ExecuteCall, key: KeyGrant | null, requestId: string): CallSide {
  const name = cut(call.name);
  const refuse = (code: FailureCode, message: string) => ({
    text: failureText(new GatewayError(code, message), requestId),
    status: FAILURES[code].status,
  });
  const broken = (reason: string) => refuse("upstream_failed", `MCP tool call failed: ${reason}`);

  return {
    leavingCancels: true,

    inputRequired: "unsupported",

    request: (forwarding, era) => (era === "modern" ? toModernServer(forwarding, false) : toLegacyServer(forwarding)),

    response(received) {
      const { result } = received.value;
      const outcome = outcomeOf(received);
      // Its words are the server's, and are passed on by no error of ours (PS-33).
      if (!isObject(result)) return { ...broken("The server answered with an error."), ...outcome, ok: false };
      const { resultType = "complete" } = result;
      if (resultType !== "complete") {
        const reason = "The server asks for something that this door cannot pass on.";
        return { ...broken(reason), ok: false, outcome: "unsupported", error: reason };
      }
      return { text: JSON.stringify(answerOf(call, received.text, result)), status: 200, ...outcome };
    },

    // An answer is one message: there is nowhere to put what comes before it.
    notification: () => null,

    failure({ code, reason, timeoutMs }: CallFailure) {
      if (code === "bridge_missing" || code === "budget_exceeded") return refuse(code, reason);
      return timeoutMs === null
        ? broken(reason)
        : refuse(code, `MCP tool call timed out after ${timeoutMs} ms: ${name}`);
    },

    linkNeeded(link) {
      const { server, url, flow_id } = link;
      const message = linkText(link);
      const mcp_auth_required = {
        mcp_client_id: server.server_id,
        mcp_client_name: server.display_name,
        authorize_url: url,
        session_id: flow_id,
        message,
      };
      const text = failureText(new GatewayError("auth_required", message), requestId, { mcp_auth_required });
      return { text, status: FAILURES.auth_required.status };
    },

    refusal(reason: Refusal) {
      if (reason === "key_denied" && key !== null) {
        return refuse("forbidden", `MCP tool '${name}' is not allowed for virtual key '${key.name}'`);
      }
      return refuse("invalid_request", `tool '${name}' is not available or not permitted`);
    },

    misfit: (text) => refuse("invalid_request", text),
  };
}
