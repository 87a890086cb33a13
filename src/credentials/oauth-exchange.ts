/**
 * One request to an authorization server, or to a resource about its authorization server, and what came of it, as a
 * value. Such answers are small and read whole; none of their text goes any further than the one who reads it.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import { readBounded, TooLarge } from "../platform/bounded-text.ts";
import type { Outgoing, Send } from "../platform/guarded-fetch.ts";
import { isObject } from "../platform/json-value.ts";

/** Bytes of one answer (BF-26). */
export const MAX_ANSWER = 256 * 1024;

export type Exchanged =
  | { readonly kind: "answer"; readonly status: number; readonly text: string }
  /** No connection, or one that broke before the first byte of an answer: the runtime does not tell which. */
  | { readonly kind: "lost" }
  /** The answer broke off, or is no text. */
  | { readonly kind: "cut" }
  | { readonly kind: "too_large" }
  | { readonly kind: "timeout" }
  /** The guarded fetch did not let it out, or did not follow a redirect. The reason is in our words. */
  | { readonly kind: "refused"; readonly reason: string };

/** Sends a request to the origin of its URL and nowhere else. Never throws. */
export function ask(send: Send, request: Outgoing): Promise<Exchanged> {
  return whole(() => send(request, URL.parse(request.url)?.origin ?? ""), request.signal);
}

/**
 * What came of a request that somebody else sends.
 *
 * @param signal The one that ends the request.
 */
export async function whole(request: () => Promise<Response>, signal: AbortSignal): Promise<Exchanged> {
  let response: Response;
  try {
    response = await request();
  } catch (thrown) {
    if (signal.aborted) return { kind: "timeout" };
    return thrown instanceof GatewayError ? { kind: "refused", reason: thrown.message } : { kind: "lost" };
  }
  try {
    return { kind: "answer", status: response.status, text: await readBounded(response, MAX_ANSWER) };
  } catch (thrown) {
    if (signal.aborted) return { kind: "timeout" };
    return { kind: thrown instanceof TooLarge ? "too_large" : "cut" };
  }
}

/** A text as a JSON object; null when it is none: many a server answers to any address with a page. */
export function jsonObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}
