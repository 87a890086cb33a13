/** The marker by which a gateway knows its own requests when they come back to it (protocol.md 5.5, P-65). Pure. */
import { GatewayError } from "../failure/gateway-error.ts";
import type { Send } from "./guarded-fetch.ts";
import { hmacBase64Url } from "./hash.ts";
import type { Secret } from "./secret.ts";

/** The gateways that a request has gone through, in order, with commas between them. */
export const HOP_HEADER = "Postern-Hop";

/** More hops than any chain of gateways has; what is beyond says nothing any more. */
const MAX_HOPS = 32;
/** Half of a SHA-256: nobody meets the same by chance. */
const MARKER_LENGTH = 22;
const MARKER = new RegExp(`^[A-Za-z0-9_-]{${MARKER_LENGTH}}$`);

/**
 * The marker of a deployment; null for one without keys. It tells nothing of them: they are random, 32 bytes or more
 * (PS-50), which no short secret need be.
 */
export function hopMarker(keyRing: Secret): string | null {
  const secret = keyRing.reveal();
  return secret === "" ? null : hmacBase64Url(secret, "postern hop marker v1").slice(0, MARKER_LENGTH);
}

/** The same way out, with the marker on each request behind those that it has brought along. */
export function marked(send: Send, own: string | null): Send {
  if (own === null) return send;
  return (request, origin) => {
    const { [HOP_HEADER]: earlier, ...headers } = request.headers;
    const hops = earlier === undefined ? own : `${earlier}, ${own}`;
    return send({ ...request, headers: { ...headers, [HOP_HEADER]: hops } }, origin);
  };
}

/** The same way out for what a client's request causes: its markers go along. */
export function carrying(send: Send, headers: Headers): Send {
  const hops = hopsFrom(headers);
  return (request, origin) => send({ ...request, headers: { ...request.headers, ...hops } }, origin);
}

/** What a request takes along of the one that has caused it. */
export function hopsFrom(headers: Headers): Record<string, string> {
  const hops = hopsIn(headers);
  return hops.length === 0 ? {} : { [HOP_HEADER]: hops.join(", ") };
}

/** @throws GatewayError `loop_detected` for a request that has gone through this gateway already */
export function refuseLoop(headers: Headers, own: string | null): void {
  if (own === null || !hopsIn(headers).includes(own)) return;
  const message = "This request has been through this gateway already: one of its servers leads back to it.";
  throw new GatewayError("loop_detected", message);
}

function hopsIn(headers: Headers): string[] {
  const hops = (headers.get(HOP_HEADER) ?? "").split(",").map((hop) => hop.trim());
  return hops.filter((hop) => MARKER.test(hop)).slice(0, MAX_HOPS);
}
