/** One tool call of an agent without MCP, from its name to its answer: on the way of every call. */
import { GatewayError } from "../failure/gateway-error.ts";
import { answerToolCall } from "../gateway/call-door.ts";
import { type DoorRequest, placeWithoutSession } from "../gateway/request.ts";
import { type ExecuteCall, messageOf } from "./execute-call.ts";
import { toolNamed } from "./execute-name.ts";
import { executeSide } from "./execute-side.ts";

/**
 * @param requestId Goes into the body of an error.
 * @throws GatewayError `invalid_request` for arguments that are none, and for a name that means several tools
 */
export function executeTool(
  asking: Omit<DoorRequest, "slug" | "accepts">,
  call: ExecuteCall,
  requestId: string,
): Promise<Response> {
  const { principal, snapshot, filters } = asking;
  const message = messageOf(call, crypto.randomUUID());
  const named = toolNamed(snapshot, principal, filters, call.name);
  if (named === "ambiguous") throw new GatewayError("invalid_request", "tool name is ambiguous");
  const request = { ...asking, accepts: { json: true, sse: false } };
  const side = executeSide(call, principal.key, requestId);
  return answerToolCall(request, side, { message, name: call.name, ...named }, placeWithoutSession(principal));
}
