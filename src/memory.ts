import type { JournalMemory } from "./calls/journal.ts";
import { type Snapshot, weightOf } from "./catalog/snapshot.ts";
import type { Lease } from "./credentials/leases.ts";
import type { Principal } from "./identity/principal.ts";
import type { ProviderMemory } from "./identity/remembered.ts";
import type { Clock } from "./platform/clock.ts";
import { ExpiringMap } from "./platform/expiring-map.ts";
import { TrustedMap } from "./platform/trusted.ts";
import type { OpenUpstream, SessionFacts } from "./sessions/session.ts";
import { createRunMemory, type RunMemory } from "./sessions/session-runs.ts";
import { createTelemetryMemory, type TelemetryMemory } from "./telemetry/telemetry.ts";

/** What one isolate remembers between requests: plain values only, each with a stated lifetime. */
export interface Memory {
  /** By org, trusted for `SNAPSHOT_TTL_MS`. */
  readonly snapshots: TrustedMap<Snapshot>;
  /** By hash of the credentials, while the generation of the org stands, five minutes at most. */
  readonly principals: ExpiringMap<string, Principal>;
  /** Metadata and keys of the identity provider: believed for ten minutes, for an hour while it does not answer. */
  readonly identityProvider: ProviderMemory;
  /** By server, owner and generation of credentials: until shortly before a token ends. */
  readonly leases: ExpiringMap<string, Lease>;
  /** By session id, trusted for `SNAPSHOT_TTL_MS`. */
  readonly sessions: TrustedMap<SessionFacts | null>;
  /** By session and server, five minutes; the server itself says when one is over. */
  readonly upstreamSessions: ExpiringMap<string, OpenUpstream>;
  /** By session, twenty milliseconds. */
  readonly journal: JournalMemory;
  /** Spans and counters of one second, where a collector is configured. */
  readonly telemetry: TelemetryMemory;
  /** Which sessions have no budget, for `SNAPSHOT_TTL_MS`; and the isolate's own place among others. */
  readonly runs: RunMemory;
  /** The keys whose use has been noted, to the end of its minute. */
  readonly keyUses: ExpiringMap<string, true>;
  /** Pages of `tools/list`, by everything they depend on. */
  readonly toolPages: ExpiringMap<string, string>;
}

/** What an isolate may keep of snapshots, in tools: about 40 MiB. */
const SNAPSHOT_TOOLS = 100_000;
/** What it may keep of compiled pages, in characters, and what the key and the entry of each count for. */
const PAGES_LENGTH = 32 * 1024 * 1024;
const PAGE_OVERHEAD = 1_000;

export function createMemory(clock: Clock): Memory {
  return {
    snapshots: new TrustedMap(clock, SNAPSHOT_TOOLS, weightOf),
    principals: new ExpiringMap(clock, 10_000),
    identityProvider: new ExpiringMap(clock, 10),
    leases: new ExpiringMap(clock, 10_000),
    sessions: new TrustedMap(clock, 10_000),
    upstreamSessions: new ExpiringMap(clock, 10_000),
    journal: new Map(),
    telemetry: createTelemetryMemory(),
    runs: createRunMemory(clock),
    keyUses: new ExpiringMap(clock, 10_000),
    toolPages: new ExpiringMap(clock, PAGES_LENGTH, ({ length }) => length + PAGE_OVERHEAD),
  };
}
