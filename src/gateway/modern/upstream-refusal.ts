/** Errors by which a modern server says that the gateway, not its client, has asked in the wrong way. Pure. */
import type { Received } from "../../connector/exchange.ts";
import type { Era } from "../../connector/revisions.ts";
import { isObject } from "../../platform/json-value.ts";

/** What the gateway was mistaken about. */
export type Mistaken = "headers" | "revision";

const CODES: Readonly<Record<number, Mistaken>> = { [-32020]: "headers", [-32022]: "revision" };

/** In words for a client, to whom the server's own would mean something else (P-39, P-40). */
export const MISTAKEN: Readonly<Record<Mistaken, string>> = {
  headers: "The server and the gateway do not agree about the headers of this call.",
  revision: "The server does not speak the revision of MCP any more that it was found to speak.",
};

/** Whether a response is such an error, sent before anything was executed; null for every other response. */
export function refusedByProtocol({ value }: Received, era: Era): Mistaken | null {
  const { error } = value;
  const code = era === "modern" && isObject(error) ? error["code"] : undefined;
  return (typeof code === "number" ? CODES[code] : undefined) ?? null;
}
