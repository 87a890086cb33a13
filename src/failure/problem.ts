import { FAILURES, type GatewayError } from "./gateway-error.ts";

/** The error body of `/v1` (RFC 9457, PS-70). */
export function problemResponse(
  error: GatewayError,
  requestId: string,
  headers: Record<string, string> = {},
): Response {
  const { status, title } = FAILURES[error.code];
  const problem = {
    type: "about:blank",
    title,
    status,
    detail: error.message,
    code: error.code,
    ...(error.field === undefined ? {} : { field: error.field }),
    ...(error.details === undefined ? {} : { details: error.details }),
    request_id: requestId,
  };
  return new Response(JSON.stringify(problem), {
    status,
    headers: { ...headers, "Content-Type": "application/problem+json" },
  });
}
