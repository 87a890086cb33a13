/** Where a server is and what it is shown, for somebody. */
import type { Target } from "../connector/exchange.ts";
import { IN_PROCESS_URL } from "../registry/inprocess.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import { tokenHeaders } from "./credential-headers.ts";
import type { NoLease } from "./lease.ts";
import { type Asker, type LeaseDeps, type LeasedToken, leaseFor } from "./leases.ts";

export type Targeted = { readonly ok: true; readonly target: Target } | { readonly ok: false; readonly why: NoLease };

/** @param refused As of `leaseFor`. @throws GatewayError as `leaseFor` */
export type TargetOf = (record: ServerRecord, asker: Asker, refused?: LeasedToken) => Promise<Targeted>;

export function createTargets(deps: LeaseDeps): TargetOf {
  return async (record, asker, refused = null) => {
    const leased = await leaseFor(deps, record, asker, refused);
    if (!leased.ok) return leased;
    const { server_id, connection_type } = record;
    const server_url = connection_type === "inprocess" ? IN_PROCESS_URL : record.server_url;
    return { ok: true, target: { server_id, server_url, ...leased.lease } };
  };
}

/** A server that is shown a token which nobody keeps for it yet. */
export function targetWith({ server_id, server_url }: ServerRecord, accessToken: string): Targeted {
  return { ok: true, target: { server_id, server_url, headers: tokenHeaders(server_url, accessToken), token: null } };
}
