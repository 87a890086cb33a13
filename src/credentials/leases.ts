/** Leases: what a server is shown, opened once and then taken from the isolate's memory. */
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import { configOwner } from "../registry/registry.ts";
import type { ServerConfig, ServerRecord } from "../registry/server-record.ts";
import type { Sealer } from "./sealing.ts";
import { staticHeaders } from "./static-credential.ts";

/** The headers that carry a credential. Values are secret: they go into one request and nowhere else. */
export type Lease = Readonly<Record<string, string>>;

export interface LeaseDeps {
  readonly sealer: Pick<Sealer, "open">;
  /** By server and sealed text: neither a changed secret nor one that was moved to another row is taken for the old. */
  readonly memory: ExpiringMap<string, Lease>;
  readonly clock: Clock;
}

const KEEP_MS = 300_000;

/** @throws GatewayError when the sealed value does not open; nothing is sent then. */
export async function leaseFor({ sealer, memory, clock }: LeaseDeps, record: ServerRecord): Promise<Lease> {
  const { auth_type, config_sealed, server_id } = record;
  // With any other auth_type a stored config is kept and not sent (BF-16, RG-28).
  if (auth_type !== "headers" || config_sealed === null) return {};
  const key = `${server_id} ${config_sealed}`;
  const held = memory.get(key);
  if (held !== undefined) return held;
  const config = JSON.parse(await sealer.open(config_sealed, configOwner(server_id))) as ServerConfig;
  const lease = staticHeaders(config);
  memory.set(key, lease, clock() + KEEP_MS);
  return lease;
}
