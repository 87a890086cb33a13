/** A request at an MCP door, past authentication. */
import type { RequestFilters } from "../access/request-filters.ts";
import type { VirtualKeys } from "../access/virtual-keys.ts";
import type { Journal } from "../calls/journal.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { Server, Snapshot } from "../catalog/snapshot.ts";
import type { Config } from "../config.ts";
import type { Identity } from "../identity/identity.ts";
import type { Principal } from "../identity/principal.ts";
import { defaultSessionName, plainPlace, type UpstreamPlace } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { Accepts } from "./answer.ts";
import type { IntroductionDeps } from "./introduce.ts";
import type { ToolCallDeps } from "./tool-call.ts";
import type { ToolListDeps } from "./tool-list.ts";

/** What the doors work with. */
export interface DoorServices {
  readonly config: Config;
  readonly identity: Identity;
  readonly virtualKeys: Pick<VirtualKeys, "noteUse">;
  readonly catalog: Catalog;
  readonly sessions: Sessions;
  readonly toolCalls: ToolCallDeps;
  readonly toolLists: ToolListDeps;
  readonly introductions: IntroductionDeps;
  readonly journal: Journal;
}

export interface DoorRequest {
  readonly services: DoorServices;
  readonly principal: Principal;
  readonly filters: RequestFilters;
  readonly snapshot: Snapshot;
  /** `/mcp`, or the path of a server's door in lower case. */
  readonly door: string;
  /** The slug that the path names; null at `/mcp`. */
  readonly slug: string | null;
  /** The gateway's own origin, as the client has reached it. */
  readonly self: string;
  readonly headers: Headers;
  readonly accepts: Accepts;
  /** Fires when the client goes away. */
  readonly signal: AbortSignal;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Where what belongs to a request is kept. */
export interface Place {
  /** The `Session` object of its runs and rows. */
  readonly name: string;
  /** The client's own session; null without one. */
  readonly id: string | null;
  readonly upstream: UpstreamPlace;
}

/** The place of a client without a session: its principal's, where servers can ask it nothing. */
export function placeWithoutSession({ org, id }: Principal): Place {
  const name = defaultSessionName(org, id);
  return { name, id: null, upstream: plainPlace(name) };
}

/** The server of a server's door; undefined at `/mcp`, and where there is none of that name. */
export function serverOfDoor({ snapshot, slug }: DoorRequest): Server | undefined {
  return slug === null ? undefined : snapshot.servers.get(slug.toLowerCase());
}

/**
 * Who is asking, and what they may see. Both come from memory where they can; where one of them turns out to be older
 * than the other, it is read again, so that a revoked key is never served from a newer snapshot.
 *
 * @param resource The door that the request came to.
 * @throws GatewayError as `Identity.agent`
 */
export async function authenticate(
  { identity, catalog }: Pick<DoorServices, "identity" | "catalog">,
  headers: Headers,
  resource: string,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<{ principal: Principal; snapshot: Snapshot }> {
  const principal = await identity.agent(headers, resource);
  const readAnew = () => identity.agentAnew(headers, resource);
  const snapshot = await catalog.snapshotOf(principal.org, waitUntil);
  if (principal.generation === snapshot.generation.org) return { principal, snapshot };
  if (principal.generation < snapshot.generation.org) return { principal: await readAnew(), snapshot };
  const anew = await catalog.snapshotAnew(principal.org, waitUntil);
  // A generation that has gone back is that of an org that has been deleted, or of another one of its id.
  const isOfOrg = principal.generation === anew.generation.org;
  return { principal: isOfOrg ? principal : await readAnew(), snapshot: anew };
}
