/** A client session, and what the gateway holds for it. Plain data. */
import type { UpstreamSession } from "../connector/ask.ts";

/** What `initialize` settled. Only the principal and the door it was opened for may use it (P-25). */
export interface SessionFacts {
  readonly principal_id: string;
  readonly org_id: string;
  /** The path of the door. */
  readonly door: string;
  /** The negotiated revision with the client. */
  readonly revision: string;
  /** Whether the client shows links to a person (protocol.md 4.3). */
  readonly takes_links: boolean;
}

/** A session with a server, and the endpoint and credential it was opened with. */
export interface OpenUpstream extends UpstreamSession {
  /** Changes when the server moves or its credential does: the session is then one with somebody else. */
  readonly target_key: string;
}

/** The name of the object that serves a principal's requests without a session of their own. */
export function defaultSessionName(org: string, principalId: string): string {
  return `default:${org}:${principalId}`;
}

/** Carries to its `Session` object what a server is to be shown, as JSON. */
export const CREDENTIAL_HEADER = "Postern-Credential";

/** Where a message for a server is sent within its `Session` object. */
export function relayUrl(serverId: string): string {
  return `https://session/${encodeURIComponent(serverId)}`;
}

/** The server that such an address is for. */
export function relayedServer(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1));
}

/** A session without a request for this long is over. */
export const SESSION_IDLE_MS = 24 * 3_600_000;
