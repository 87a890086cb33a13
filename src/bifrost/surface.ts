/** How failures are told on the Bifrost surface: in its error body and with its own names of fields (BF-45, B.2). */
import { FAILURES, type GatewayError } from "../failure/gateway-error.ts";
import type { Surface } from "../http/surface.ts";
import { BifrostError } from "./bifrost.wire.ts";

/** Fields of the records by their names here, as far as they differ. */
const WIRE_NAMES: Readonly<Record<string, string>> = {
  server_id: "client_id",
  display_name: "name",
  server_url: "connection_string",
  config: "headers",
  allowed_tools: "tools_to_execute",
  keys: "vk_configs",
  servers: "mcp_configs",
  authorization_endpoint: "oauth_config.authorize_url",
  token_endpoint: "oauth_config.token_url",
  registration_endpoint: "oauth_config.registration_url",
  scopes: "oauth_config.scopes",
  from: "start_time",
};

export const bifrostSurface: Surface = {
  failure: BifrostError,
  failureMediaType: "application/json",
  codeAt: ["extra_fields", "code"],
  isLenient: true,
  misfit: (field, rule) => {
    const plain = rule.replace(/^Invalid input: /, "");
    return field === "" ? `Invalid request format: ${plain}.` : `Invalid ${field}: ${plain}.`;
  },
  refuse(error, requestId, headers) {
    const { status } = FAILURES[error.code];
    const body = failureText(error, requestId);
    return new Response(body, { status, headers: { ...headers, "Content-Type": "application/json" } });
  },
};

/** The error body, as JSON text. */
export function failureText(
  error: GatewayError,
  requestId: string,
  more: Readonly<Record<string, unknown>> = {},
): string {
  const field = error.field === undefined ? {} : { field: wireNameOf(error.field) };
  return JSON.stringify({
    is_bifrost_error: false,
    status_code: FAILURES[error.code].status,
    error: { message: messageOf(error) },
    extra_fields: { code: error.code, ...field, request_id: requestId, ...more },
  });
}

/** `config.headers.X-Key` is `headers.X-Key` here. */
function wireNameOf(field: string): string {
  return WIRE_NAMES[field] ?? field.replace(/^config\.headers/, "headers");
}

/** Sentences of ours name the field as the server record does. */
function messageOf({ code, field, message }: GatewayError): string {
  if (code === "invalid_json") return `Invalid request format: ${message}`;
  return field === undefined ? message : message.replace(field, () => wireNameOf(field));
}
