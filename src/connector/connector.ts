/** Connecting to one server and bringing the catalog up to date with what it offers. */
import type { DiscoveryReport } from "../catalog/catalog.wire.ts";
import { type Merge, mergeDiscovery, type Standing } from "../catalog/merge-discovery.ts";
import type { NoLease } from "../credentials/lease.ts";
import { NO_LEASE, THE_GATEWAY } from "../credentials/leases.ts";
import type { Owner } from "../credentials/owner.ts";
import { isToBeRegistered, type Registration, type SetUp } from "../credentials/set-up.ts";
import { type TargetOf, targetWith } from "../credentials/target.ts";
import type { FailureCode } from "../failure/gateway-error.ts";
import { isSameHost } from "../platform/address.ts";
import { type Clock, isoTime } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { NewId } from "../platform/ids.ts";
import { type AllowlistEvent, allowlistEvent } from "../registry/allowlist.ts";
import {
  type ConnectionType,
  DEFAULT_TIMEOUT_MS,
  type ServerRecord,
  type ServerSighting,
  type ServerState,
  WAITING_FOR_BRIDGE,
} from "../registry/server-record.ts";
import { BREAKAGES, type ConnectFailure } from "./handshake.ts";
import { checkHealth } from "./health.ts";
import { listTools } from "./list-tools.ts";
import type { Era } from "./revisions.ts";
import { FAILURES_TO_DISCONNECT } from "./schedule.ts";
import { type Connection, connect, openLine, type Transport } from "./transport.ts";

export interface ConnectorDeps {
  readonly registry: {
    get(serverId: string): Promise<ServerRecord | null>;
    recordSighting(serverId: string, serverUrl: string, sighting: ServerSighting): Promise<void>;
    /** @returns False when an admin has changed the server since. */
    recordRegistration(start: ServerRecord, change: Registration, event: AllowlistEvent | null): Promise<boolean>;
  };
  readonly catalog: {
    stored(serverId: string): Promise<Standing | null>;
    /** @returns False when the server has changed, or a change was decided, since they were read. */
    apply(start: ServerRecord & Standing, merge: Merge, seen: Sighting): Promise<boolean>;
  };
  readonly targetOf: TargetOf;
  /** Registers the gateway with a server's authorization server. */
  readonly setUp: (record: ServerRecord, self: string, others?: readonly string[]) => Promise<SetUp>;
  /** The same with another one than before; null where there is none. */
  readonly follow: (record: ServerRecord, self: string) => Promise<SetUp | null>;
  /** The way to a server. */
  readonly sendTo: (record: ServerRecord) => Send;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** What a discovery came to; plain data, because it crosses an RPC. */
export type Discovered =
  | { readonly ok: true; readonly report: DiscoveryReport }
  | {
      readonly ok: false;
      readonly code: FailureCode;
      readonly message: string;
      /** Nobody has linked an account with it: there is nothing to look at until somebody does. */
      readonly isWaiting?: true;
    };

/** What a successful discovery finds out besides the tools. */
export interface Sighting {
  readonly era: Era;
  readonly server_info: string | null;
  readonly capabilities: string | null;
  readonly connection_type: ConnectionType;
}

/** Why there is nothing to connect to; null when there is. */
function refusalOf({ enabled, connection_type, status }: ServerRecord, isRegistering = false): string | null {
  if (!enabled) return "The server is disabled.";
  if (connection_type === "stdio") return `The server is ${WAITING_FOR_BRIDGE}.`;
  return status === "active" || isRegistering ? null : "The server's registration is not complete.";
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
  /** Whose account is used; without one, what the server has of its own. */
  readonly owner?: Owner | null;
}

const IS_OWN: ConnectFailure = { stage: "connect", message: BREAKAGES.refused_here, isTimeout: false };

const MOVED = "The server has changed to another authorization server.";

/** What a check of a server's health came to. */
export type Checked = "well" | "failed" | "unseen" | "gone";

/** What came of an attempt to connect; `why` where it was not made for want of a credential. */
type Attempted =
  | { readonly ok: true; readonly connection: Connection }
  | { readonly ok: false; readonly failure: ConnectFailure; readonly why?: NoLease };

const noCredential = (why: NoLease): Extract<Attempted, { ok: false }> => ({
  ok: false,
  failure: { stage: "auth", message: NO_LEASE[why], isTimeout: false },
  why,
});

export function createConnector({ registry, catalog, targetOf, setUp, follow, sendTo, clock, newId }: ConnectorDeps) {
  async function failed(record: ServerRecord, failure: ConnectFailure, failures: number | null): Promise<Discovered> {
    const { stage, message, isTimeout } = failure;
    const last_failure = { stage, message, at: clock() };
    const isLook = failures !== null && stage !== "discover";
    const state = isLook ? stateAfter(failures, record) : "error";
    await registry.recordSighting(record.server_id, record.server_url, { state, last_failure });
    return { ok: false, code: isTimeout ? "upstream_timeout" : "upstream_failed", message };
  }

  async function connectTo(record: ServerRecord, owner: Owner | null, accessToken?: string): Promise<Attempted> {
    const targeted =
      accessToken === undefined ? await targetOf(record, { ...THE_GATEWAY, owner }) : targetWith(record, accessToken);
    if (!targeted.ok) return noCredential(targeted.why);
    const { target } = targeted;
    const line = { send: sendTo(record), target, timeoutMs: record.timeout_ms ?? DEFAULT_TIMEOUT_MS };
    return connect(line, transportOf(record), !record.connection_detected);
  }

  /** A server that nobody has linked an account with: that is no failure of it (PS-64). */
  async function waits(record: ServerRecord): Promise<Discovered> {
    const { server_id, server_url, auth_type } = record;
    if (auth_type === "oauth") {
      await registry.recordSighting(server_id, server_url, { state: "disconnected", last_failure: null });
    }
    const message = `${NO_LEASE.none} Begin with POST /v1/servers/${server_id}/oauth/start.`;
    return { ok: false, code: "conflict", message, isWaiting: true };
  }

  /** @returns Why there is no registration now; null when there is one, or an admin has changed the server. */
  async function registerAt(record: ServerRecord, own: readonly string[]): Promise<Discovered | null> {
    const self = own.at(-1);
    if (self === undefined)
      return { ok: false, code: "conflict", message: "The gateway's own address is not known yet." };
    const isPending = record.status === "pending_setup";
    if (!isPending && !(await registry.recordRegistration(record, { status: "pending_setup" }, null))) return null;
    const done = await setUp(record, self);
    const event = allowlistEvent("update", record, { now: clock(), newId });
    if (done.ok) {
      await registry.recordRegistration(record, done.change, event);
      return null;
    }
    const { message } = done;
    await registry.recordRegistration(record, { status: "error", status_reason: message, state: "disconnected" }, null);
    return { ok: false, code: "upstream_failed", message };
  }

  /** See `follow` of the connector. @returns What came of it, for admins; null where nothing has changed. */
  async function followTo(record: ServerRecord, own: readonly string[]): Promise<string | null> {
    const self = own.at(-1);
    const { auth_type, registration_mode, status } = record;
    if (self === undefined || !auth_type.endsWith("oauth") || registration_mode === "manual" || status !== "active") {
      return null;
    }
    const done = await follow(record, self);
    if (done === null) return null;
    if (!done.ok) return `${MOVED} ${done.message}`;
    const event = allowlistEvent("update", record, { now: clock(), newId });
    const isRecorded = await registry.recordRegistration(record, done.change, event);
    return isRecorded ? `${MOVED} The account has to be linked again.` : null;
  }

  /** What came of a look that has failed; who refuses an account may have another authorization server by now. */
  async function failedLook(
    record: ServerRecord,
    failure: ConnectFailure,
    { failures, own }: Required<Omit<Look, "owner">>,
  ): Promise<Discovered> {
    const moved = failure.status === 401 ? await followTo(record, own) : null;
    return failed(record, moved === null ? failure : { ...failure, message: moved }, failures);
  }

  /** @returns Why a server is not well; null when it is. */
  async function ask(record: ServerRecord, era: Era): Promise<ConnectFailure | null | "waiting"> {
    const targeted = await targetOf(record, THE_GATEWAY);
    if (!targeted.ok) return targeted.why === "none" ? "waiting" : noCredential(targeted.why).failure;
    const { target } = targeted;
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
     * @param accessToken Shown to it in the place of what is stored.
     * @returns Why that failed, in words of ours; null when it did not.
     */
    async tryConnect(record: ServerRecord, accessToken?: string): Promise<string | null> {
      const connected = await connectTo(record, null, accessToken);
      if (!connected.ok) return connected.failure.message;
      await connected.connection.close();
      return null;
    },

    /**
     * Probes the server, reads its tools and stores both (PS-24). A failure leaves the catalog as it was.
     * Where nobody has asked for it, a server that cannot be reached counts as it does for `check` (PS-65).
     */
    async discover(serverId: string, { failures = null, own = [], owner = null }: Look = {}): Promise<Discovered> {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        const record = await registry.get(serverId);
        if (record === null) return { ok: false, code: "not_found", message: "There is no such server." };
        const isDue = isToBeRegistered(record) && (failures === null || record.status === "pending_setup");
        const refusal = refusalOf(record, isDue);
        if (refusal !== null) return { ok: false, code: "invalid_request", message: refusal };
        if (isOwn(record, own)) return failed(record, IS_OWN, failures);
        if (isDue) {
          const unregistered = await registerAt(record, own);
          if (unregistered !== null) return unregistered;
          continue;
        }
        const connected = await connectTo(record, owner);
        if (!connected.ok && connected.why === "none") return waits(record);
        if (!connected.ok) return failedLook(record, connected.failure, { failures, own });
        const { verdict } = connected.connection;
        const listed = await listTools(connected.connection.line, verdict);
        await connected.connection.close();
        if (!listed.ok) return failedLook(record, listed.failure, { failures, own });

        const { era, server_info, capabilities, instructions } = verdict;
        const standing = await catalog.stored(serverId);
        if (standing === null) continue;
        const start = { ...record, ...standing };
        const { tools } = listed;
        const merge = mergeDiscovery(start, { tools, instructions }, { now: clock(), newId });
        const connection_type = foundTransport(record, connected.connection);
        const seen = { era, server_info, capabilities, connection_type };
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
    async check(serverId: string, { failures, own }: Required<Omit<Look, "owner">>): Promise<Checked> {
      const record = await registry.get(serverId);
      if (record === null || refusalOf(record) !== null) return "gone";
      if (record.era === null) return "unseen";
      const failure = isOwn(record, own) ? IS_OWN : await ask(record, record.era);
      // There is nobody to ask as; whoever links an account looks at it then.
      if (failure === "waiting") return "gone";
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

    /**
     * Registers the gateway with the authorization server that a server has changed to, where it has (protocol.md 6.3
     * step 3). Accounts of the former one have to be linked again.
     *
     * @returns Whether it has.
     */
    async follow(serverId: string, own: readonly string[]): Promise<boolean> {
      const record = await registry.get(serverId);
      return record !== null && (await followTo(record, own)) !== null;
    },

    /**
     * Registers the gateway anew where its client has been forgotten (PS-56), or does not know where browsers come back
     * to.
     *
     * @param refused The client id that was refused.
     * @param own The origins that browsers may come back to.
     * @returns Whether there is another one now.
     */
    async register(serverId: string, refused: string, own: readonly string[]): Promise<boolean> {
      const record = await registry.get(serverId);
      if (record === null || record.registration_mode !== "dcr" || record.status !== "active") return false;
      if (record.client_id !== refused) return true;
      const self = own.at(-1);
      const done = self === undefined ? null : await setUp(record, self, own);
      if (done?.ok !== true) return false;
      return registry.recordRegistration(
        record,
        done.change,
        allowlistEvent("update", record, { now: clock(), newId }),
      );
    },
  };
}
