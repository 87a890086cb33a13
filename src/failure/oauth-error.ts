import { FAILURES, type FailureCode, type GatewayError } from "./gateway-error.ts";

/** RFC 6749 section 5.2, by the HTTP status of the failure. */
const OAUTH_CODES: Readonly<Record<(typeof FAILURES)[FailureCode]["status"], string>> = {
  400: "invalid_request",
  401: "invalid_client",
  402: "access_denied",
  403: "access_denied",
  404: "invalid_request",
  405: "invalid_request",
  406: "invalid_request",
  409: "invalid_request",
  413: "invalid_request",
  415: "invalid_request",
  429: "temporarily_unavailable",
  431: "invalid_request",
  500: "server_error",
  502: "temporarily_unavailable",
  503: "temporarily_unavailable",
  504: "temporarily_unavailable",
  508: "invalid_request",
};

/** A failure on the wire of `/oauth/*` (B.3). */
export function oauthErrorOf(error: GatewayError): { error: string; error_description: string } {
  return { error: OAUTH_CODES[FAILURES[error.code].status], error_description: error.message };
}
