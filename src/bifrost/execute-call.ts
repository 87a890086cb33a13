/** A call as the execute door takes it (BF-53 to BF-56): its format, its name and its arguments. Pure. */
import { cut } from "../calls/call.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { type ClientMessage, readShape } from "../gateway/client-message.ts";
import { MAX_DEPTH } from "../http/body.ts";
import { depthOf, duplicateKey } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";

export type Format = "chat" | "responses";

/** What is asked for, and what the answer repeats of it. */
export interface ExecuteCall {
  readonly format: Format;
  /** As sent. */
  readonly name: string;
  readonly id: string | undefined;
  /** As sent. */
  readonly arguments: string | undefined;
}

/** @throws GatewayError `invalid_request` */
export function formatOf(query: string | undefined): Format {
  const format = query?.toLowerCase() ?? "";
  if (format === "" || format === "chat") return "chat";
  if (format === "responses") return "responses";
  throw new GatewayError("invalid_request", "Invalid format value, must be 'chat' or 'responses'", { field: "format" });
}

/** @throws GatewayError `invalid_request` without a name */
export function executeCall(
  format: Format,
  name: string | undefined,
  rest: Pick<ExecuteCall, "id" | "arguments">,
): ExecuteCall {
  if (name) return { format, name, ...rest };
  const field = format === "chat" ? "function.name" : "name";
  throw new GatewayError("invalid_request", "Tool function name is required", { field });
}

/**
 * The call as a message of MCP, so that it goes the way of every call.
 *
 * @param id Of the message; nobody but the server sees it.
 * @throws GatewayError `invalid_request` for arguments that are no JSON object
 */
export function messageOf(call: ExecuteCall, id: string): ClientMessage {
  const args = argumentsText(call);
  const params = `{"name":${JSON.stringify(call.name)},"arguments":${args}}`;
  const shape = readShape(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"method":"tools/call","params":${params}}`);
  // Two levels around the arguments count as well.
  if (shape.kind !== "message") throw unfit(call, `: they nest more than ${MAX_DEPTH - 2} levels`);
  return shape.message;
}

/** The arguments go on as their text, so that no number changes on the way. */
function argumentsText(call: ExecuteCall): string {
  const text = call.arguments?.trim() ?? "";
  if (text === "") return "{}";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unfit(call, "");
  }
  if (!isObject(value)) throw unfit(call, ": they are no object");
  if (depthOf(text) > MAX_DEPTH - 2) throw unfit(call, `: they nest more than ${MAX_DEPTH - 2} levels`);
  if (duplicateKey(text) !== undefined) throw unfit(call, ": an object has the same member twice");
  return text;
}

function unfit({ format, name }: ExecuteCall, why: string): GatewayError {
  const field = format === "chat" ? "function.arguments" : "arguments";
  return new GatewayError("invalid_request", `failed to parse tool arguments for '${cut(name)}'${why}`, { field });
}
