/** A client session, and what the gateway holds for it. Plain data. */
import type { UpstreamSession } from "../connector/ask.ts";
import type { JsonObject } from "../connector/exchange.ts";
import type { UpstreamClient } from "../connector/server-request.ts";
import type { UpstreamAsk } from "./upstream-sessions.ts";

/** What `initialize` settled. Only the principal and the door it was opened for may use it (P-25). */
export interface SessionFacts {
  readonly principal_id: string;
  readonly org_id: string;
  /** The path of the door. */
  readonly door: string;
  /** The negotiated revision with the client. */
  readonly revision: string;
  /** What the client has said of itself, and the log level that it has set. */
  readonly client: UpstreamClient;
}

/** A session with a server, and the endpoint and credential it was opened with. */
export interface OpenUpstream extends UpstreamSession {
  /** Changes when the server moves or its credential does: the session is then one with somebody else. */
  readonly target_key: string;
}

/** Where the sessions with legacy servers of a request are kept, and what becomes of what servers ask there. */
export interface UpstreamPlace {
  /** The `Session` object. */
  readonly name: string;
  /** What servers are told of the client; null: that it can be asked nothing. */
  readonly client: UpstreamClient | null;
  /**
   * Requests of servers: refused, put on the stream of the client's request, or answered by the client's next one, for
   * which the call waits in the object.
   */
  readonly asks: "refused" | "relayed" | "parked";
}

/** The place of requests of which servers learn nothing. */
export function plainPlace(name: string): UpstreamPlace {
  return { name, client: null, asks: "refused" };
}

/** The name of the object that serves a principal's requests without a session of their own. */
export function defaultSessionName(org: string, principalId: string): string {
  return `default:${org}:${principalId}`;
}

/** Carries to its `Session` object what a server is to be shown, as JSON. */
export const CREDENTIAL_HEADER = "Postern-Credential";

/** Where a call that may have to wait goes. */
export interface ParkedAt {
  readonly serverId: string;
  /** The server's session is a stream that the object holds. */
  readonly isLink: boolean;
  /** The only origin that the request may go to. */
  readonly origin: string;
  /** Those of the client. */
  readonly capabilities: JsonObject;
}

/** What somebody wants to hear. */
export interface NoticesAsk {
  /** Names this listening, to end it. */
  readonly id: string;
  /** Null: nothing of any server. */
  readonly serverId: string | null;
  /** With whose account a server is listened to. */
  readonly ask: Omit<UpstreamAsk, "lost"> | null;
  /** Resources whose changes matter. */
  readonly uris: readonly string[];
  /** Ends another stream that has been opened as the only one (P-30). */
  readonly isOnly: boolean;
}

/** What a `Session` object is asked by requests of its own: their answers are streams. */
export type SessionPath = "relay" | "park" | "resume" | "notices";

/** @param name The server, or the call that waits. */
export function sessionUrl(path: SessionPath, name: string): string {
  return `https://session/${path}/${encodeURIComponent(name)}`;
}

export function readSessionUrl(url: string): { readonly path: string; readonly name: string } {
  const [path = "", name = ""] = new URL(url).pathname.slice(1).split("/");
  return { path, name: decodeURIComponent(name) };
}

/** A session without a request for this long is over. */
export const SESSION_IDLE_MS = 24 * 3_600_000;
