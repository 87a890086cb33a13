/** Connecting to one server and bringing the catalog up to date with what it offers. */
import type { DiscoveryReport } from "../catalog/catalog.wire.ts";
import { type Merge, mergeDiscovery, type Stored } from "../catalog/merge-discovery.ts";
import type { FailureCode } from "../failure/gateway-error.ts";
import { type Clock, isoTime } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { NewId } from "../platform/ids.ts";
import {
  DEFAULT_TIMEOUT_MS,
  type ServerRecord,
  type ServerSighting,
  WAITING_FOR_BRIDGE,
} from "../registry/server-record.ts";
import type { Target } from "./exchange.ts";
import { type ConnectFailure, closeSession, probe } from "./handshake.ts";
import { checkHealth } from "./health.ts";
import { listTools } from "./list-tools.ts";
import type { Era } from "./revisions.ts";
import { FAILURES_TO_DISCONNECT } from "./schedule.ts";

export interface ConnectorDeps {
  readonly registry: {
    get(serverId: string): Promise<ServerRecord | null>;
    recordSighting(serverId: string, serverUrl: string, sighting: ServerSighting): Promise<void>;
  };
  readonly catalog: {
    stored(serverId: string): Promise<Pick<Stored, "rows" | "changes">>;
    /** @returns False when the server has changed since `record` was read. */
    apply(record: ServerRecord, merge: Merge, seen: { era: Era; server_info: string | null }): Promise<boolean>;
  };
  readonly targetOf: (record: ServerRecord) => Promise<Target>;
  readonly send: Send;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** What a discovery came to; plain data, because it crosses an RPC. */
export type Discovered =
  | { readonly ok: true; readonly report: DiscoveryReport }
  | { readonly ok: false; readonly code: FailureCode; readonly message: string };

/** Why there is nothing to connect to; null when there is. */
function refusalOf({ enabled, connection_type, status }: ServerRecord): string | null {
  if (!enabled) return "The server is disabled.";
  if (connection_type === "stdio") return `The server is ${WAITING_FOR_BRIDGE}.`;
  return status === "active" ? null : "The server's registration is not complete.";
}

/** A server that an admin has pinned to the transport of 2024-11-05 is not tried with another one. */
const SSE_UNSPOKEN: ConnectFailure = {
  stage: "connect",
  message: "The gateway does not speak HTTP+SSE; give the server's Streamable HTTP endpoint.",
  isTimeout: false,
};

/** How often a discovery starts over because an admin changed the server under it. */
const MAX_ROUNDS = 3;

/** What a check of a server's health came to. */
export type Checked = "well" | "failed" | "gone";

export function createConnector({ registry, catalog, targetOf, send, clock, newId }: ConnectorDeps) {
  async function failed(record: ServerRecord, { stage, message, isTimeout }: ConnectFailure): Promise<Discovered> {
    const last_failure = { stage, message, at: clock() };
    await registry.recordSighting(record.server_id, record.server_url, { state: "error", last_failure });
    return { ok: false, code: isTimeout ? "upstream_timeout" : "upstream_failed", message };
  }

  return {
    /** Probes the server, reads its tools and stores both (PS-24). A failure leaves the catalog as it was. */
    async discover(serverId: string): Promise<Discovered> {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        const record = await registry.get(serverId);
        if (record === null) return { ok: false, code: "not_found", message: "There is no such server." };
        const refusal = refusalOf(record);
        if (refusal !== null) return { ok: false, code: "invalid_request", message: refusal };
        if (record.connection_type === "sse") return failed(record, SSE_UNSPOKEN);
        const target = await targetOf(record);
        const line = { send, target, timeoutMs: record.timeout_ms ?? DEFAULT_TIMEOUT_MS };
        const probed = await probe(line);
        if (!probed.ok) return failed(record, probed.failure);
        const { verdict } = probed;
        const listed = await listTools(line, verdict);
        if (verdict.session !== null) await closeSession(send, target, verdict.session);
        if (!listed.ok) return failed(record, listed.failure);

        const { era, server_info } = verdict;
        const merge = mergeDiscovery({ ...record, ...(await catalog.stored(serverId)) }, listed.tools, {
          now: clock(),
          newId,
        });
        if (!(await catalog.apply(record, merge, { era, server_info }))) continue;
        const { added, changed, vanished } = merge;
        const report = {
          known: listed.tools.length,
          added: [...added],
          changed: [...changed],
          vanished: [...vanished],
          skipped: [...listed.skipped],
          fetched_at: isoTime(clock()),
        };
        return { ok: true, report };
      }
      return { ok: false, code: "conflict", message: "The server was changed while its tools were read. Try again." };
    },

    /**
     * Checks on a server and notes in its record what has changed (BF-64). A failure never touches `status`.
     *
     * @param failures How many checks in a row have failed before this one.
     * @returns "gone" for a server that is deleted, disabled or not looked at yet.
     */
    async check(serverId: string, failures: number): Promise<Checked> {
      const record = await registry.get(serverId);
      if (record === null || !record.enabled || record.era === null) return "gone";
      const line = { send, target: await targetOf(record), timeoutMs: record.timeout_ms ?? DEFAULT_TIMEOUT_MS };
      const failure = await checkHealth(line, record.era, record.is_ping_available);
      if (failure === null) {
        if (record.state !== "connected" || record.last_failure !== null) {
          await registry.recordSighting(serverId, record.server_url, { state: "connected", last_failure: null });
        }
        return "well";
      }
      const { stage, message } = failure;
      const isLost = failures + 1 >= FAILURES_TO_DISCONNECT;
      const state = isLost ? "disconnected" : record.state;
      const last_failure = { stage, message, at: clock() };
      await registry.recordSighting(serverId, record.server_url, { state, last_failure });
      return "failed";
    },
  };
}
