/** Leases: what a server is shown for somebody, taken from the isolate's memory while it is good. */
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import { configOwner } from "../registry/open-server.ts";
import type { ServerConfig, ServerRecord } from "../registry/server-record.ts";
import type { CredentialStub } from "./credential.stub.ts";
import { staticHeaders, tokenHeaders } from "./credential-headers.ts";
import type { LeaseAsk, LentToken, NoLease } from "./lease.ts";
import { type Owner, SERVER_ITSELF } from "./owner.ts";
import type { Sealer } from "./sealing.ts";

/** For whom a server is contacted. */
export interface Asker {
  /** Null: for nobody, so that a server of per-user accounts has none to show. */
  readonly owner: Owner | null;
  /** The generation of credentials that the caller's snapshot has; null: nothing is taken from memory. */
  readonly credentials: number | null;
  /** The token of the identity provider that the caller came with (RFC 8693). Secret. */
  readonly subjectToken: string | null;
}

/** The gateway's own doing: looking at a server, reading its tools. */
export const THE_GATEWAY: Asker = { owner: null, credentials: null, subjectToken: null };

/** Which upstream token a lease is of; null for static credentials and none. */
export type LeasedToken = Pick<LentToken, "token_id" | "version"> | null;

/** The headers that carry a credential. Values are secret: they go into one request and nowhere else. */
export interface Lease {
  readonly headers: Readonly<Record<string, string>>;
  readonly token: LeasedToken;
}

export type Leased = { readonly ok: true; readonly lease: Lease } | { readonly ok: false; readonly why: NoLease };

export interface LeaseDeps {
  readonly sealer: Pick<Sealer, "open">;
  /**
   * By server, its last change, and what the lease depends on besides: the owner and the generation of credentials. So
   * neither a changed secret nor a deleted token is taken for the one before.
   */
  readonly memory: ExpiringMap<string, Lease>;
  readonly stub: Pick<CredentialStub, "lease">;
  readonly clock: Clock;
}

const KEEP_MS = 300_000;
/** A token that is good until it is refused. */
const KEEP_TOKEN_MS = 3_600_000;

/**
 * What a server is shown for somebody.
 *
 * @param refused The token that it has just refused: another one is asked for.
 * @throws GatewayError when a sealed value does not open, or its object cannot be reached; nothing is sent then.
 */
export async function leaseFor(
  deps: LeaseDeps,
  record: ServerRecord,
  asker: Asker,
  refused: LeasedToken = null,
): Promise<Leased> {
  switch (record.auth_type) {
    case "none":
      return { ok: true, lease: { headers: {}, token: null } };
    case "headers":
      return { ok: true, lease: await staticLease(deps, record) };
    case "oauth":
      return tokenLease(deps, record, SERVER_ITSELF, asker, refused);
    case "per_user_oauth":
      return asker.owner === null ? { ok: false, why: "none" } : tokenLease(deps, record, asker.owner, asker, refused);
  }
}

async function staticLease({ sealer, memory, clock }: LeaseDeps, record: ServerRecord): Promise<Lease> {
  const { config_sealed, server_id, server_url } = record;
  if (config_sealed === null) return { headers: {}, token: null };
  const key = `${server_id} ${server_url} ${config_sealed}`;
  const held = memory.get(key);
  if (held !== undefined) return held;
  const config = JSON.parse(await sealer.open(config_sealed, configOwner(server_id))) as ServerConfig;
  const lease = { headers: staticHeaders(server_url, config), token: null };
  memory.set(key, lease, clock() + KEEP_MS);
  return lease;
}

async function tokenLease(
  { memory, stub, clock }: LeaseDeps,
  { server_id, server_url, modified }: ServerRecord,
  owner: Owner,
  { credentials, subjectToken }: Asker,
  refused: LeasedToken,
): Promise<Leased> {
  const key = JSON.stringify([server_id, modified, owner.org_id, owner.user_id, credentials]);
  const held = credentials === null ? undefined : memory.get(key);
  const isRefused = held?.token?.token_id === refused?.token_id && held?.token?.version === refused?.version;
  if (held !== undefined && (refused === null || !isRefused)) return { ok: true, lease: held };
  const ask: LeaseAsk = { refused, subjectToken };
  const answer = await stub.lease(server_id, owner, ask);
  if (!answer.ok) {
    memory.delete(key);
    return answer;
  }
  const { token_id, version, access_token, good_until } = answer.token;
  const lease: Lease = { headers: tokenHeaders(server_url, access_token), token: { token_id, version } };
  if (credentials !== null) memory.set(key, lease, good_until ?? clock() + KEEP_TOKEN_MS);
  return { ok: true, lease };
}

/** Why a server has no credential to be shown, for admins and agents alike. */
export const NO_LEASE: Readonly<Record<NoLease, string>> = {
  none: "No account is linked with this server yet.",
  refresh_failed: "The account linked with this server has to be linked again.",
  unreadable: "The stored credential does not open with the present keys. It has to be linked again.",
  refused: "The server refuses the account that is linked with it.",
  later: "The gateway cannot renew the credential now.",
};
