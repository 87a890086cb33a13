/** The use cases of the server registry: the one write path of a server, whichever API it came through. */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import { canonicalJson } from "../platform/canonical-json.ts";
import type { Clock } from "../platform/clock.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import { type AllowlistEvent, allowlistEvent, allowlistOf } from "./allowlist.ts";
import type { RegistryStore, ServerChange, ServerFilters, ServerSort } from "./registry.store.ts";
import type { ServerInput, ServerPatch, ServerQuery } from "./registry.wire.ts";
import {
  defaultAuthType,
  parseConfig,
  parseDisplayName,
  parseEnabled,
  parseServerId,
  parseServerName,
  parseServerUrl,
  parseTimeout,
  type ServerConfig,
  type ServerRecord,
  toolModeOf,
} from "./server-record.ts";

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
  readonly discover: (serverId: string) => Promise<unknown>;
  /** Nothing looks at a deleted server any more. */
  readonly forget: (serverId: string) => Promise<void>;
  /** Approves all held changes of a server, which is trusted from now on (PS-22). */
  readonly approveHeld: (serverId: string, by: string) => Promise<void>;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** A server as an editor sees it: with its policy and its open `config`. */
export interface OpenServer {
  readonly record: ServerRecord;
  readonly config: ServerConfig;
  /** Flags by tool; null while no tool is known and the policy is not a map. */
  readonly allowed_tools: Readonly<Record<string, boolean>> | null;
}

/** Whose sealed value a server's `config` is. */
export function configOwner(serverId: string): string {
  return `server:${serverId}:config`;
}

export type Registry = ReturnType<typeof createRegistry>;

export function createRegistry(deps: RegistryDeps) {
  const { store, sealer, clock, newId } = deps;

  async function sealConfig(serverId: string, config: ServerConfig): Promise<string | null> {
    if (Object.keys(config).length === 0) return null;
    return sealer.seal(JSON.stringify(config), configOwner(serverId));
  }

  async function openConfig(record: ServerRecord): Promise<ServerConfig> {
    if (record.config_sealed === null) return {};
    return parseConfig(JSON.parse(await sealer.open(record.config_sealed, configOwner(record.server_id))));
  }

  async function openServers(records: readonly ServerRecord[]): Promise<OpenServer[]> {
    const flags = await store.toolFlags(records.map(({ server_id }) => server_id));
    const open = async (record: ServerRecord) => ({
      record,
      config: await openConfig(record),
      allowed_tools: allowedToolsOf(record, flags.get(record.server_id)),
    });
    return Promise.all(records.map(open));
  }

  async function openServer(record: ServerRecord): Promise<OpenServer> {
    const [server] = await openServers([record]);
    if (server === undefined) throw new GatewayError("internal", "A server could not be read.");
    return server;
  }

  async function requireServer(serverId: string): Promise<ServerRecord> {
    const record = await store.get(serverId);
    if (record === null) throw new GatewayError("not_found", "There is no such server.");
    return record;
  }

  /** A server that cannot be reached is registered all the same; its record says what is wrong. */
  async function connect(serverId: string): Promise<void> {
    try {
      await deps.discover(serverId);
    } catch (thrown) {
      log("warn", "connect_failed", { server_id: serverId, causes: causesOf(thrown) });
    }
  }

  return {
    /** RG-3 to RG-5. */
    async list(query: ServerQuery): Promise<Page<OpenServer>> {
      const [filters, sort, page] = [filtersOf(query), sortOf(query), parsePage(query)];
      const { rows, total } = await store.list(filters, sort, page);
      return { rows: await openServers(rows), total_rows: total, ...page, filters: { ...filters }, sort };
    },

    async get(serverId: string): Promise<OpenServer> {
      return openServer(await requireServer(serverId));
    },

    /**
     * Stores a server, then connects to it. A connection that fails shows in `state` and `last_failure` (BF-22).
     *
     * @param by The principal's id.
     * @throws GatewayError `invalid_request` with the field, `conflict`, `encryption_key_missing`; nothing is stored.
     */
    async register(by: string, input: ServerInput): Promise<OpenServer> {
      const server_id = input.server_id === undefined ? newId("srv") : parseServerId(input.server_id);
      const name = parseServerName(input.name);
      const config = parseConfig(input.config ?? null);
      const allowed = input.allowed_tools ?? null;
      const now = clock();
      const record: ServerRecord = {
        server_id,
        name,
        display_name: input.display_name === undefined ? name : parseDisplayName(input.display_name, "display_name"),
        connection_type: "http",
        server_url: parseServerUrl(input.server_url, deps.refusalOf),
        enabled: parseEnabled(input.enabled ?? true),
        timeout_ms: parseTimeout(input.timeout_ms),
        auth_type: input.auth_type ?? defaultAuthType(config),
        config_sealed: await sealConfig(server_id, config),
        tool_mode: toolModeOf(allowed),
        definition_policy: input.definition_policy ?? "pin",
        allow_on_all_virtual_keys: input.allow_on_all_virtual_keys ?? false,
        is_ping_available: input.is_ping_available ?? true,
        status: "active",
        state: "disconnected",
        last_failure: null,
        era: null,
        server_info: null,
        created: now,
        created_by: by,
        modified: now,
        modified_by: by,
      };
      await store.insert(record, allowed, allowlistEvent("create", record, { now, newId }));
      deps.onWritten();
      if (record.enabled) await connect(server_id);
      return openServer(await requireServer(server_id));
    },

    /** Changes only what is given (RG-19, RG-20). Where the endpoint changed, the server is connected to anew. */
    async update(serverId: string, by: string, patch: ServerPatch): Promise<OpenServer> {
      const before = await requireServer(serverId);
      const { change, isRuntime } = await changeOf(before, patch);
      const now = clock();
      const written = { ...change, modified: Math.max(now, before.modified), modified_by: by };
      // Only a change of what is reached, and with what, concerns the allowlist (RG-22).
      const event = isRuntime ? allowlistEvent("update", { ...before, ...change }, { now, newId }) : null;
      const after = await store.update(serverId, written, patch.allowed_tools, event);
      if (after === null) throw new GatewayError("not_found", "There is no such server.");
      deps.onWritten();
      if (patch.definition_policy === "trust") await deps.approveHeld(serverId, by);
      if (after.enabled && (isRuntime || after.auth_type !== before.auth_type)) await connect(serverId);
      return openServer(await requireServer(serverId));
    },

    /** What the Worker may reach, and the events of the writes that changed it, newest first (RG-15, RG-25). */
    async allowlist(query: { page?: string | undefined; page_size?: string | undefined }) {
      const page = parsePage(query);
      const { rows, total } = await store.events(page);
      const sort = { by: "created_at", direction: "desc" } as const;
      const events: Page<AllowlistEvent> = { rows, total_rows: total, ...page, filters: {}, sort };
      return { entries: allowlistOf(await store.enabled()), events };
    },

    /** @throws GatewayError `not_found`; `invalid_request` for a disabled server; `upstream_failed`, `upstream_timeout` */
    async reconnect(serverId: string): Promise<OpenServer> {
      await deps.discover(serverId);
      return openServer(await requireServer(serverId));
    },

    /** @throws GatewayError `not_found` */
    async remove(serverId: string): Promise<void> {
      const record = await requireServer(serverId);
      const event = allowlistEvent("delete", record, { now: clock(), newId });
      if (!(await store.remove(serverId, event))) throw new GatewayError("not_found", "There is no such server.");
      deps.onWritten();
      await deps.forget(serverId);
    },
  };

  /** What a patch changes, and whether what is reached, or with what, is among it (B.5). */
  async function changeOf(
    before: ServerRecord,
    patch: ServerPatch,
  ): Promise<{ readonly change: ServerChange; readonly isRuntime: boolean }> {
    const server_url = patch.server_url === undefined ? undefined : parseServerUrl(patch.server_url, deps.refusalOf);
    const moved = server_url !== undefined && new URL(server_url).origin !== new URL(before.server_url).origin;
    const config = patch.config === undefined ? undefined : parseConfig(patch.config);
    const enabled = patch.enabled === undefined ? undefined : parseEnabled(patch.enabled);
    const isOtherUrl = server_url !== undefined && server_url !== before.server_url;
    // Compared open: the same secret, sealed again, is no change.
    const isOtherConfig = config !== undefined && canonicalJson(config) !== canonicalJson(await openConfig(before));
    const isSwitched = enabled !== undefined && enabled !== before.enabled;
    const change: ServerChange = {
      ...(patch.name === undefined ? {} : { name: parseServerName(patch.name) }),
      ...(patch.display_name === undefined
        ? {}
        : { display_name: parseDisplayName(patch.display_name, "display_name") }),
      // What was found at the former endpoint says nothing about another one.
      ...(isOtherUrl ? { server_url, era: null, server_info: null, state: "disconnected", last_failure: null } : {}),
      ...(isSwitched ? { enabled, state: "disconnected" } : {}),
      ...("timeout_ms" in patch ? { timeout_ms: parseTimeout(patch.timeout_ms) } : {}),
      ...(patch.auth_type === undefined ? {} : { auth_type: patch.auth_type }),
      ...(patch.definition_policy === undefined ? {} : { definition_policy: patch.definition_policy }),
      ...(patch.is_ping_available === undefined ? {} : { is_ping_available: patch.is_ping_available }),
      ...(patch.allow_on_all_virtual_keys === undefined
        ? {}
        : { allow_on_all_virtual_keys: patch.allow_on_all_virtual_keys }),
      ...(config === undefined ? {} : { config_sealed: await sealConfig(before.server_id, config) }),
      // A secret given for one origin is never sent to another (PS-52).
      ...(moved && config === undefined ? { config_sealed: null } : {}),
    };
    return { change, isRuntime: isOtherUrl || isSwitched || isOtherConfig };
  }
}

/** RB-12: null while nothing is configured; for the all-policy, the map of known tools. */
function allowedToolsOf(
  { tool_mode }: ServerRecord,
  flags: Readonly<Record<string, boolean>> | undefined,
): Readonly<Record<string, boolean>> | null {
  switch (tool_mode) {
    case "unset":
      return null;
    case "list":
      return flags ?? {};
    case "all":
      return flags === undefined ? null : Object.fromEntries(Object.keys(flags).map((tool) => [tool, true]));
  }
}

/** RG-4: blank and unreadable filters are dropped. */
function filtersOf({ id, name, transport, enabled }: ServerQuery): ServerFilters {
  const text = (value: string | undefined) => (value === undefined || value.trim() === "" ? undefined : value.trim());
  const [idText, nameText, transportText] = [text(id), text(name), text(transport)];
  const flag = text(enabled) === undefined ? undefined : readable(() => parseEnabled(enabled));
  return {
    ...(idText === undefined ? {} : { id: idText }),
    ...(nameText === undefined ? {} : { name: nameText }),
    ...(transportText === undefined ? {} : { transport: transportText }),
    ...(flag === undefined ? {} : { enabled: flag }),
  };
}

function readable<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

const SORT_FIELDS = ["id", "name", "transport", "enabled", "timeout_ms"] as const;

function sortOf({ sort, direction }: ServerQuery): ServerSort {
  return {
    by: SORT_FIELDS.find((field) => field === sort) ?? "id",
    direction: direction === "desc" ? "desc" : "asc",
  };
}
