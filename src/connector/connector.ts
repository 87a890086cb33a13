/** Connecting to one server and bringing the catalog up to date with what it offers. */
import type { DiscoveryReport } from "../catalog/catalog.wire.ts";
import { type Merge, mergeDiscovery, type Standing } from "../catalog/merge-discovery.ts";
import type { FailureCode } from "../failure/gateway-error.ts";
import { isSameHost } from "../platform/address.ts";
import { type Clock, isoTime } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { NewId } from "../platform/ids.ts";
import {
  type ConnectionType,
  DEFAULT_TIMEOUT_MS,
  type ServerRecord,
  type ServerSighting,
  type ServerState,
  WAITING_FOR_BRIDGE,
} from "../registry/server-record.ts";
import type { Target } from "./exchange.ts";
import { BREAKAGES, type ConnectFailure } from "./handshake.ts";
import { checkHealth } from "./health.ts";
import { listTools } from "./list-tools.ts";
import type { Era } from "./revisions.ts";
import { FAILURES_TO_DISCONNECT } from "./schedule.ts";
import { type Connected, type Connection, connect, openLine, type Transport } from "./transport.ts";

export interface ConnectorDeps {
  readonly registry: {
    get(serverId: string): Promise<ServerRecord | null>;
    recordSighting(serverId: string, serverUrl: string, sighting: ServerSighting): Promise<void>;
  };
  readonly catalog: {
    stored(serverId: string): Promise<Standing | null>;
    /** @returns False when the server has changed, or a change was decided, since they were read. */
    apply(start: ServerRecord & Standing, merge: Merge, seen: Sighting): Promise<boolean>;
  };
  readonly targetOf: (record: ServerRecord) => Promise<Target>;
  /** The way to a server. */
  readonly sendTo: (record: ServerRecord) => Send;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** What a discovery came to; plain data, because it crosses an RPC. */
export type Discovered =
  | { readonly ok: true; readonly report: DiscoveryReport }
  | { readonly ok: false; readonly code: FailureCode; readonly message: string };

/** What a successful discovery finds out besides the tools. */
export interface Sighting {
  readonly era: Era;
  readonly server_info: string | null;
  readonly connection_type: ConnectionType;
}

/** Why there is nothing to connect to; null when there is. */
function refusalOf({ enabled, connection_type, status }: ServerRecord): string | null {
  if (!enabled) return "The server is disabled.";
  if (connection_type === "stdio") return `The server is ${WAITING_FOR_BRIDGE}.`;
  return status === "active" ? null : "The server's registration is not complete.";
}

/** What a discovery knows of the transport now; how an in-process server is reached is never in question. */
function foundTransport({ connection_type }: ServerRecord, { transport }: Connection): ConnectionType {
  return connection_type === "inprocess" ? connection_type : transport;
}

/** In-process servers answer over HTTP, and stdio servers are not connected to (`refusalOf`). */
function transportOf({ connection_type }: ServerRecord): Transport {
  return connection_type === "sse" ? "sse" : "http";
}

function isOwn({ server_url }: ServerRecord, own: readonly string[]): boolean {
  return own.some((origin) => isSameHost(server_url, origin));
}

/** What a server is after a look that failed (PS-65). @param failures How many in a row had failed before it. */
function stateAfter(failures: number, { state }: ServerRecord): ServerState {
  return failures + 1 >= FAILURES_TO_DISCONNECT ? "disconnected" : state;
}

/** How often a discovery starts over because an admin changed the server under it. */
const MAX_ROUNDS = 3;

/** How a server is looked at. */
export interface Look {
  /** How many looks in a row have failed before this one; null where somebody has asked for it. */
  readonly failures?: number | null;
  /** The origins of the gateway itself: a server there is not contacted (PS-61). */
  readonly own?: readonly string[];
}

const IS_OWN: ConnectFailure = { stage: "connect", message: BREAKAGES.refused_here, isTimeout: false };

/** What a check of a server's health came to. */
export type Checked = "well" | "failed" | "unseen" | "gone";

export function createConnector({ registry, catalog, targetOf, sendTo, clock, newId }: ConnectorDeps) {
  async function failed(record: ServerRecord, failure: ConnectFailure, failures: number | null): Promise<Discovered> {
    const { stage, message, isTimeout } = failure;
    const last_failure = { stage, message, at: clock() };
    const isLook = failures !== null && stage !== "discover";
    const state = isLook ? stateAfter(failures, record) : "error";
    await registry.recordSighting(record.server_id, record.server_url, { state, last_failure });
    return { ok: false, code: isTimeout ? "upstream_timeout" : "upstream_failed", message };
  }

  async function connectTo(record: ServerRecord): Promise<Connected> {
    const target = await targetOf(record);
    const line = { send: sendTo(record), target, timeoutMs: record.timeout_ms ?? DEFAULT_TIMEOUT_MS };
    return connect(line, transportOf(record), !record.connection_detected);
  }

  /** @returns Why a server is not well; null when it is. */
  async function ask(record: ServerRecord, era: Era): Promise<ConnectFailure | null> {
    const target = await targetOf(record);
    const line = { send: sendTo(record), target, timeoutMs: record.timeout_ms ?? DEFAULT_TIMEOUT_MS };
    const opened = await openLine(line, transportOf(record));
    if (!opened.ok) return opened.failure;
    const failure = await checkHealth(opened.line, era, record.is_ping_available);
    opened.link?.close();
    return failure;
  }

  return {
    /**
     * Connects to a server as a record describes it, stored or not, and stores nothing (BF-22, BF-35).
     *
     * @returns Why that failed, in words of ours; null when it did not.
     */
    async tryConnect(record: ServerRecord): Promise<string | null> {
      const connected = await connectTo(record);
      if (!connected.ok) return connected.failure.message;
      await connected.connection.close();
      return null;
    },

    /**
     * Probes the server, reads its tools and stores both (PS-24). A failure leaves the catalog as it was.
     * Where nobody has asked for it, a server that cannot be reached counts as it does for `check` (PS-65).
     */
    async discover(serverId: string, { failures = null, own = [] }: Look = {}): Promise<Discovered> {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        const record = await registry.get(serverId);
        if (record === null) return { ok: false, code: "not_found", message: "There is no such server." };
        const refusal = refusalOf(record);
        if (refusal !== null) return { ok: false, code: "invalid_request", message: refusal };
        if (isOwn(record, own)) return failed(record, IS_OWN, failures);
        const connected = await connectTo(record);
        if (!connected.ok) return failed(record, connected.failure, failures);
        const { verdict } = connected.connection;
        const listed = await listTools(connected.connection.line, verdict);
        await connected.connection.close();
        if (!listed.ok) return failed(record, listed.failure, failures);

        const { era, server_info, instructions } = verdict;
        const standing = await catalog.stored(serverId);
        if (standing === null) continue;
        const start = { ...record, ...standing };
        const { tools } = listed;
        const merge = mergeDiscovery(start, { tools, instructions }, { now: clock(), newId });
        const seen = { era, server_info, connection_type: foundTransport(record, connected.connection) };
        if (!(await catalog.apply(start, merge, seen))) continue;
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
     * @returns "gone" for a server that there is nothing to ask of, "unseen" for one that has never been discovered.
     */
    async check(serverId: string, { failures, own }: Required<Look>): Promise<Checked> {
      const record = await registry.get(serverId);
      if (record === null || refusalOf(record) !== null) return "gone";
      if (record.era === null) return "unseen";
      const failure = isOwn(record, own) ? IS_OWN : await ask(record, record.era);
      if (failure === null) {
        if (record.state !== "connected" || record.last_failure !== null) {
          await registry.recordSighting(serverId, record.server_url, { state: "connected", last_failure: null });
        }
        return "well";
      }
      const { stage, message } = failure;
      const last_failure = { stage, message, at: clock() };
      await registry.recordSighting(serverId, record.server_url, {
        state: stateAfter(failures ?? 0, record),
        last_failure,
      });
      return "failed";
    },
  };
}
