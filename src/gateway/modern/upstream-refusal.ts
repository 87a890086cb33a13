/** Errors by which a modern server says that the gateway, not its client, has asked in the wrong way. Pure. */
import type { Received } from "../../connector/exchange.ts";
import { isObject } from "../../platform/json-value.ts";

/** What the gateway was mistaken about. */
export type Mistaken = "headers" | "revision" | "capabilities";

/** In words for a client, to whom the server's own would mean something else (P-39, P-40). */
export const MISTAKEN: Readonly<Record<Mistaken, string>> = {
  headers: "The server and the gateway do not agree about the headers of this call.",
  revision: "The server does not speak the revision of MCP any more that it was found to speak.",
  capabilities: "The server needs a capability of its client that the gateway does not pass on.",
};

/**
 * Whether the response of a modern server is such an error, sent before anything was executed; null for every other.
 *
 * @param isDeclared Whether the server was told of the client's capabilities as the client declares them: then what it
 *   lacks is the client's to add (P-40).
 */
export function refusedByProtocol(response: Received, isDeclared: boolean): Mistaken | null {
  switch (codeOf(response)) {
    case -32020:
      return "headers";
    case -32021:
      return isDeclared ? null : "capabilities";
    case -32022:
      return "revision";
    default:
      return null;
  }
}

/** Whether a modern request was answered as a server of earlier revisions does that does not know it (protocol.md 3.5.1). */
export function isLegacyAnswer(response: Received, status: number): boolean {
  return (status === 400 || status === 404) && [-32000, -32601].includes(codeOf(response) ?? 0);
}

function codeOf({ value: { error } }: Received): number | null {
  const code = isObject(error) ? error["code"] : undefined;
  return typeof code === "number" ? code : null;
}
