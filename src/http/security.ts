import { GatewayError } from "../failure/gateway-error.ts";

/** PS-74: what one header may hold. */
const MAX_HEADER_LENGTH = 8 * 1024;
const MAX_HEADERS_LENGTH = 64 * 1024;
const MAX_PARAM_HEADERS = 64;

/** @throws GatewayError `headers_too_large` (protocol.md 3.1.5) */
export function checkHeaderSizes(headers: Headers): void {
  let total = 0;
  let params = 0;
  for (const [name, value] of headers) {
    total += name.length + value.length;
    if (name.startsWith("mcp-param-")) params++;
    if (value.length > MAX_HEADER_LENGTH) {
      throw new GatewayError("headers_too_large", `A header has more than ${MAX_HEADER_LENGTH} bytes.`, {
        field: name,
      });
    }
  }
  if (total > MAX_HEADERS_LENGTH || params > MAX_PARAM_HEADERS) {
    throw new GatewayError("headers_too_large", "The request has too many headers.");
  }
}

/** What every answer carries: nothing here is for a cache, a frame or a guess at its type (PS-51). */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};

/** The address of the client, which only the platform can tell; null where it does not. */
export function addressOf(headers: Headers): string | null {
  return headers.get("CF-Connecting-IP");
}
