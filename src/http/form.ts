import { GatewayError } from "../failure/gateway-error.ts";
import { readText } from "./body.ts";

/**
 * Reads a form that one of our own pages has sent.
 *
 * @throws GatewayError `forbidden` for what another site has sent; `unsupported_media_type`
 */
export async function readForm(request: Request): Promise<URLSearchParams> {
  const site = request.headers.get("Sec-Fetch-Site");
  if (site !== null && site !== "same-origin") throw new GatewayError("forbidden", "This form came from elsewhere.");
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(request.headers.get("Content-Type") ?? "")) {
    throw new GatewayError("unsupported_media_type", "The body must be a form.");
  }
  return new URLSearchParams(await readText(request));
}
