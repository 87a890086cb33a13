/** The use cases of the server registry: the one write path of a server, whichever API it came through. */
import type { ServerKey } from "../access/virtual-key.ts";
import type { DiscoveryReport } from "../catalog/catalog.wire.ts";
import { clientSecretOwner } from "../credentials/set-up.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import { isSameHost } from "../platform/address.ts";
import type { Clock } from "../platform/clock.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import { type AllowlistEvent, allowlistEvent, allowlistOf } from "./allowlist.ts";
import { type InProcessServer, inProcessRecord, requireWritable } from "./inprocess.ts";
import { createOpener, type OpenServer } from "./open-server.ts";
import { type Actor, EVERY_ORG, orgsToGive, requireEditable, scopeOf } from "./reach.ts";
import type { RegistryStore } from "./registry.store.ts";
import type { ServerInput, ServerPatch, ServerQuery } from "./registry.wire.ts";
import { type DraftContext, draftChange, draftServer, originOf } from "./server-draft.ts";
import { filtersOf, sortOf } from "./server-query.ts";
import { alreadyThere, parseServerId, type ServerRecord } from "./server-record.ts";
import { type Manner, policyWrite, type ToolPatch, toolWrite, type Write } from "./server-write.ts";
import type { AllowedTools } from "./tool-policy.ts";

export interface RegistryDeps {
  readonly store: RegistryStore;
  readonly sealer: {
    seal(text: string, owner: string): Promise<string>;
    open(sealed: string, owner: string): Promise<string>;
  };
  /** Why a URL may not be fetched, or null. */
  readonly refusalOf: (url: string) => string | null;
  /** What follows a committed write: this isolate forgets its snapshots. */
  readonly onWritten: () => void;
  /** Connects to a server and stores what it offers. @throws GatewayError when that fails; the record says why. */
  readonly discover: (serverId: string, self?: string) => Promise<DiscoveryReport>;
  /**
   * Connects to a server as a record describes it and stores nothing.
   *
   * @param accessToken Shown to it, where an account has been linked before there is the server.
   * @returns Why that failed, or null.
   */
  readonly tryConnect: (record: ServerRecord, accessToken?: string) => Promise<string | null>;
  /** Nothing looks at a deleted server any more. */
  readonly forget: (serverId: string) => Promise<void>;
  /** Upstream tokens of a server have been deleted: their values are ended, here and upstream (PS-57). */
  readonly onTokensDeleted: (serverId: string) => Promise<void>;
  /** Approves all held changes of a server, which is trusted from now on (PS-22). */
  readonly approveHeld: (serverId: string, by: string) => Promise<void>;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** A change of a server that depends on the server as it is. */
export interface Revision {
  /** Makes the change; asked again when another write has come in between. */
  readonly patchOf: (before: OpenServer) => ServerPatch;
  /** Whether the change brings a `config`: one that does not open must not keep an admin from giving another. */
  readonly isConfigGiven: boolean;
  /** Given: replaces the assignments of all keys, of every org (BF-33). */
  readonly keys?: readonly ServerKey[] | undefined;
  /** Whether a changed `config` is tried first, and the former one kept when it does not connect (BF-35). */
  readonly isTried: boolean;
}

export interface Revised {
  readonly server: OpenServer;
  /** Why the server cannot be connected to with the `config` that was given and is not stored; null: all is stored. */
  readonly credentialError: string | null;
}

export type Registry = ReturnType<typeof createRegistry>;

export function createRegistry(deps: RegistryDeps) {
  const { store, sealer, clock, newId } = deps;
  const { sealConfig, openConfig, openServers, openServer } = createOpener({ store, sealer });

  /** What an actor is shown of a server. */
  async function shownServer(actor: Actor, serverId: string): Promise<OpenServer> {
    const [server] = await openServers([await requireServer(actor, serverId)], actor.isPlatformAdmin);
    if (server === undefined) throw new GatewayError("internal", "A server could not be read.");
    return server;
  }

  /** @throws GatewayError `not_found` for a server that the actor does not see */
  async function requireServer(actor: Actor, serverId: string): Promise<ServerRecord> {
    const record = await store.get(scopeOf(actor), serverId);
    if (record === null) throw new GatewayError("not_found", "There is no such server.");
    return record;
  }

  async function opens(actor: Actor, serverId: string): Promise<boolean> {
    return openConfig(await requireServer(actor, serverId)).then(
      () => true,
      () => false,
    );
  }

  /** A server that cannot be reached is registered all the same; its record says what is wrong. */
  async function connect(serverId: string, self?: string): Promise<void> {
    try {
      await deps.discover(serverId, self);
    } catch (thrown) {
      log("warn", "connect_failed", { server_id: serverId, causes: causesOf(thrown) });
    }
  }

  async function revise(actor: Actor, serverId: string, revision: Revision, self: string): Promise<Revised> {
    const { patchOf, isConfigGiven, keys, isTried } = revision;
    const writeOf = async (before: OpenServer, patch: ServerPatch) => {
      if (patch.org_ids !== undefined && !actor.isPlatformAdmin) {
        throw new GatewayError("forbidden", "Only an admin of the platform changes this.", { field: "org_ids" });
      }
      const orgIds = patch.org_ids === undefined ? undefined : await requireOrgs(patch.org_ids);
      const drafted = draftChange(before, patch, context(self));
      const { change, config, client_secret, policy, isRuntime, isReset, isOtherAccount, isOtherCredential } = drafted;
      const secret =
        client_secret === undefined || client_secret === null
          ? client_secret
          : await sealer.seal(client_secret, clientSecretOwner(serverId));
      const sealed = {
        ...(config === undefined ? {} : { config_sealed: await sealConfig(serverId, config) }),
        ...(secret === undefined ? {} : { client_secret_sealed: secret }),
      };
      const made: Write = {
        change: { ...change, ...sealed },
        policy,
        orgIds,
        keys,
        isRuntime,
        isReset,
        isOtherAccount,
      };
      return { made, isOtherCredential };
    };
    let credentialError: string | null = null;
    const draft = async (before: OpenServer): Promise<Write> => {
      credentialError = null;
      const patch = patchOf(before);
      const { made, isOtherCredential } = await writeOf(before, patch);
      const after = { ...before.record, ...made.change };
      // What any other auth_type keeps is sent to nobody, so there is nothing to try.
      const isDue = isTried && isOtherCredential && after.auth_type === "headers" && canConnect(after);
      credentialError = isDue ? await deps.tryConnect(after) : null;
      if (credentialError === null) return made;
      const { config: _, ...others } = patch;
      return (await writeOf(before, others)).made;
    };
    const isReplaced = isConfigGiven && !(await opens(actor, serverId));
    const server = await write(actor, serverId, draft, isReplaced, self);
    return { server, credentialError };
  }

  async function requireEdit(actor: Actor, serverId: string): Promise<ServerRecord> {
    const record = await requireServer(actor, serverId);
    requireWritable(record);
    requireEditable(actor, (await store.details([serverId])).get(serverId)?.org_ids ?? []);
    return record;
  }

  return {
    /**
     * The servers that an actor sees (RG-3 to RG-5).
     *
     * @param named The org that the request names: what an admin of the platform sees is narrowed to it.
     */
    async list(actor: Actor, query: ServerQuery, named: string | null): Promise<Page<OpenServer>> {
      const [filters, sort, page] = [filtersOf(query), sortOf(query), parsePage(query)];
      const { rows, total } = await store.list(named === null ? scopeOf(actor) : actor.org, filters, sort, page);
      return {
        rows: await openServers(rows, actor.isPlatformAdmin),
        total_rows: total,
        ...page,
        filters: { ...filters },
        sort,
      };
    },

    /** In order of creation; `search` is a part of the display name, ignoring case (BF-41). */
    async find(actor: Actor, search: string | null, slice: { readonly limit: number | null; readonly offset: number }) {
      const { rows, total } = await store.find(scopeOf(actor), search, slice);
      return { servers: await openServers(rows), total };
    },

    get: shownServer,

    /** The record of a server that the actor sees. @throws GatewayError `not_found` */
    visible: requireServer,

    /** The record of a server that the actor may change. @throws GatewayError `not_found`, `forbidden`, `read_only` */
    editable: requireEdit,

    /**
     * Stores a server, then connects to it. A connection that fails shows in `state` and `last_failure` (BF-22).
     *
     * @param isTried Whether the server is connected to before it is stored.
     * @param linked An account to try it with. The server is not connected to after: whoever has the account has to keep
     *   it for the server first.
     * @throws GatewayError `invalid_request` with the field, `conflict`, `encryption_key_missing`, and `connect_failed`
     *   for one that is tried in vain; nothing is stored.
     */
    async register(
      actor: Actor,
      input: ServerInput,
      self: string,
      { isTried, linked }: Manner = {},
    ): Promise<OpenServer> {
      const { server_id, drafted, orgIds } = await prepare(actor, input, self);
      const { draft, config, policy } = drafted;
      const client_secret = linked === undefined ? drafted.client_secret : linked.client_secret;
      const now = clock();
      const record: ServerRecord = {
        ...draft,
        ...(linked === undefined ? {} : { ...linked.settled, status: "active" }),
        server_id,
        config_sealed: await sealConfig(server_id, config),
        client_secret_sealed:
          client_secret === null ? null : await sealer.seal(client_secret, clientSecretOwner(server_id)),
        created: now,
        created_by: actor.id,
        modified: now,
        modified_by: actor.id,
      };
      const isDue = isTried === true && canConnect(record);
      const failure = isDue ? await deps.tryConnect(record, linked?.access_token) : null;
      if (failure !== null) throw new GatewayError("connect_failed", failure);
      await store.insert(record, orgIds, policy, allowlistEvent("create", record, { now, newId }));
      deps.onWritten();
      if (linked === undefined && canConnect(record)) await connect(server_id, self);
      return shownServer(actor, server_id);
    },

    /**
     * Everything that `register` looks at before it contacts anybody.
     *
     * @returns The id that the server would have.
     * @throws GatewayError as `register`
     */
    async check(actor: Actor, input: ServerInput, self: string): Promise<string> {
      const { server_id, drafted } = await prepare(actor, input, self);
      const taken = await store.taken(server_id, drafted.draft.name);
      if (taken !== null) throw alreadyThere(taken);
      return server_id;
    },

    /** Puts the record of a server that code brings in the registry, unless it is there. @throws GatewayError `conflict` */
    async provide(server: InProcessServer): Promise<void> {
      if ((await store.get(EVERY_ORG, server.name)) !== null) return;
      const record = inProcessRecord(server, clock());
      await store.insert(record, [], {}, allowlistEvent("create", record, { now: clock(), newId }));
      deps.onWritten();
    },

    /** Changes only what is given (RG-19, RG-20). Where the endpoint changed, the server is connected to anew. */
    async update(actor: Actor, serverId: string, patch: ServerPatch, self: string): Promise<OpenServer> {
      const revision = { patchOf: () => patch, isConfigGiven: patch.config !== undefined, isTried: false };
      return (await revise(actor, serverId, revision, self)).server;
    },

    /** The same for a change that depends on the server as it is, and may bring key assignments with it. */
    revise,

    /** Replaces the orgs that may see a server (RB-31). */
    async setOrgs(actor: Actor, serverId: string, org_ids: readonly string[]): Promise<OpenServer> {
      const orgIds = await requireOrgs(org_ids);
      return write(actor, serverId, async () => ({ change: {}, orgIds }));
    },

    /** Replaces the tool policy (RB-32). */
    async setAllowedTools(actor: Actor, serverId: string, allowed: AllowedTools): Promise<OpenServer> {
      return write(actor, serverId, async () => policyWrite(allowed));
    },

    /** Copies the policy of another server that the actor sees, whole (RB-33). */
    async copyAllowedTools(actor: Actor, serverId: string, sourceId: string): Promise<OpenServer> {
      await requireEdit(actor, serverId);
      const source = await shownServer(actor, sourceId);
      if (sourceId === serverId) return source;
      const allowed = source.record.tool_mode === "all" ? (["*"] as const) : source.allowed_tools;
      return write(actor, serverId, async () => policyWrite(allowed));
    },

    /** Changes the policy of one tool. @throws GatewayError `not_found` for a tool that is neither known nor named */
    async setTool(actor: Actor, serverId: string, tool: string, change: ToolPatch): Promise<void> {
      await write(actor, serverId, async (before) => toolWrite(before, tool, change));
    },

    /** What the Worker may reach, and the events of the writes that changed it, newest first (RG-15, RG-25). */
    async allowlist(query: PageQuery) {
      const page = parsePage(query);
      const { rows, total } = await store.events(page);
      const sort = { by: "created_at", direction: "desc" } as const;
      const events: Page<AllowlistEvent> = { rows, total_rows: total, ...page, filters: {}, sort };
      return { entries: allowlistOf(await store.enabled()), events };
    },

    /** @throws GatewayError `not_found`; `invalid_request` for a disabled server; `upstream_failed`, `upstream_timeout` */
    async reconnect(actor: Actor, serverId: string, self: string): Promise<OpenServer> {
      await requireEdit(actor, serverId);
      await deps.discover(serverId, self);
      return shownServer(actor, serverId);
    },

    /** Asks a server for its tools (PS-24). @throws GatewayError as `reconnect` */
    async discover(actor: Actor, serverId: string, self: string): Promise<DiscoveryReport> {
      await requireEdit(actor, serverId);
      return deps.discover(serverId, self);
    },

    /** @throws GatewayError `not_found`, `forbidden`, `read_only` */
    async remove(actor: Actor, serverId: string): Promise<void> {
      const record = await requireEdit(actor, serverId);
      const event = allowlistEvent("delete", record, { now: clock(), newId });
      if (!(await store.remove(serverId, event))) throw new GatewayError("not_found", "There is no such server.");
      deps.onWritten();
      await deps.onTokensDeleted(serverId);
      await deps.forget(serverId);
    },
  };

  /**
   * One write of a server, and what follows it: this isolate forgets, held changes of a trusted server are approved,
   * and where something it was found by has changed, the server is connected to anew (B.5).
   *
   * @param draft Makes the write from the server as it is; asked again when another write has come in between.
   */
  async function write(
    actor: Actor,
    serverId: string,
    draft: (before: OpenServer) => Promise<Write>,
    isConfigReplaced = false,
    self?: string,
  ): Promise<OpenServer> {
    let origin: string | undefined;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const before = await openServer(await requireServer(actor, serverId), isConfigReplaced);
      requireWritable(before.record);
      requireEditable(actor, before.org_ids);
      // What was meant for one origin, secrets above all, is not written to another (PS-52).
      origin ??= originOf(before.record.server_url);
      if (originOf(before.record.server_url) !== origin) break;
      const { change, policy, orgIds, keys, isRuntime = false, isReset = false, isOtherAccount } = await draft(before);
      const now = clock();
      const { modified } = before.record;
      // Only a change of what is reached, and with what, concerns the allowlist (RG-22).
      const event = allowlistEvent("update", { ...before.record, ...change }, { now, newId });
      const written = { ...change, modified: Math.max(now, modified + 1), modified_by: actor.id };
      const after = await store.update(serverId, modified, written, {
        ...(policy === undefined ? {} : { policy }),
        ...(orgIds === undefined ? {} : { orgIds }),
        ...(keys === undefined ? {} : { keys }),
        ...(isRuntime ? { event } : {}),
        ...(isOtherAccount === true ? { isOtherAccount } : {}),
      });
      if (after === "overtaken") continue;
      if (after === null) break;
      deps.onWritten();
      if (isOtherAccount === true || orgIds !== undefined) await deps.onTokensDeleted(serverId);
      if (change.definition_policy === "trust") await deps.approveHeld(serverId, actor.id);
      if (isReset && canConnect(after)) await connect(serverId, self);
      return shownServer(actor, serverId);
    }
    await requireServer(actor, serverId);
    throw new GatewayError("conflict", "Others are changing this server. Try again.");
  }

  async function prepare(actor: Actor, input: ServerInput, self: string) {
    const server_id = input.server_id === undefined ? newId("srv") : parseServerId(input.server_id);
    const drafted = draftServer(input, context(self));
    const orgIds = await requireOrgs(orgsToGive(actor, input.org_ids));
    return { server_id, drafted, orgIds };
  }

  /** @param self The gateway's own origin, which is no server of its own. */
  function context(self: string): DraftContext {
    const refusalOf = (url: string) => (isSameHost(url, self) ? "This is the gateway itself." : deps.refusalOf(url));
    return { refusalOf, now: clock() };
  }

  /** Sorted and without duplicates (RB-11). @throws GatewayError `invalid_request`, field `org_ids` */
  async function requireOrgs(orgIds: readonly string[]): Promise<string[]> {
    const wanted = [...new Set(orgIds)].toSorted();
    if (wanted.length === 0) return wanted;
    const existing = await store.existingOrgs(wanted);
    if (existing.length === wanted.length) return wanted;
    throw new GatewayError("invalid_request", "org_ids names an org that does not exist.", { field: "org_ids" });
  }
}

/** How often a write is drafted anew because another one came first. */
const MAX_ROUNDS = 5;

/** Whether there is anything to connect to: a stdio server waits for a bridge. */
function canConnect({ enabled, connection_type, status }: ServerRecord): boolean {
  return enabled && connection_type !== "stdio" && status !== "error";
}
