/** A request at an MCP door, past authentication. */
import type { Context } from "hono";
import type { Server, Snapshot } from "../catalog/snapshot.ts";
import type { AppEnv } from "../http/app-env.ts";
import type { KeyPrincipal } from "../identity/principal.ts";
import type { Services } from "../services.ts";
import type { Accepts } from "./answer.ts";

export interface DoorRequest {
  readonly services: Services;
  readonly principal: KeyPrincipal;
  readonly snapshot: Snapshot;
  /** `/mcp`, or the path of a server's door in lower case. */
  readonly door: string;
  /** The slug that the path names; null at `/mcp`. */
  readonly slug: string | null;
  readonly headers: Headers;
  readonly accepts: Accepts;
  /** Fires when the client goes away. */
  readonly signal: AbortSignal;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** The server of a server's door; undefined at `/mcp`, and where there is none of that name. */
export function serverOfDoor({ snapshot, slug }: DoorRequest): Server | undefined {
  return slug === null ? undefined : snapshot.servers.get(slug.toLowerCase());
}

/**
 * Who is asking, and what they may see. Both come from memory where they can; where one of them turns out to be older
 * than the other, it is read again, so that a revoked key is never served from a newer snapshot.
 *
 * @throws GatewayError `unauthorized`, `ambiguous_credentials`
 */
export async function authenticate(c: Context<AppEnv>): Promise<{ principal: KeyPrincipal; snapshot: Snapshot }> {
  const { identity, catalog } = c.var.services;
  const { headers } = c.req.raw;
  const waitUntil = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
  const principal = await identity.agent(headers);
  const snapshot = await catalog.snapshotOf(principal.org, waitUntil);
  if (principal.generation === snapshot.generation.org) return { principal, snapshot };
  if (principal.generation > snapshot.generation.org) {
    return { principal, snapshot: await catalog.snapshotAnew(principal.org, waitUntil) };
  }
  return { principal: await identity.agentAnew(headers), snapshot };
}
