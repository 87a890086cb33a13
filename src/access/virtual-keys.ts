/** The use cases of virtual keys: the keys that agents present to the gateway. */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import type { Clock } from "../platform/clock.ts";
import type { ExpiringMap } from "../platform/expiring-map.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import { parseDisplayName } from "../registry/server-record.ts";
import { type AssignedServer, keyHash, type NamedServerKey, newKeyValue, type VirtualKey } from "./virtual-key.ts";
import type { NamedServer, VirtualKeyStore } from "./virtual-keys.store.ts";
import type { KeyRotation, VirtualKeyInput, VirtualKeyPatch } from "./virtual-keys.wire.ts";

export interface VirtualKeysDeps {
  readonly store: VirtualKeyStore;
  /** What follows a committed write: this isolate forgets what it verified. */
  readonly onWritten: () => void;
  /** Upstream tokens have been deleted: their values are ended, here and upstream (PS-57). */
  readonly onTokensDeleted: () => Promise<void>;
  /** The keys whose use has been noted, until the minute is over. */
  readonly uses: ExpiringMap<string, true>;
  readonly clock: Clock;
  readonly newId: NewId;
}

export interface AssignedKey {
  readonly key: VirtualKey;
  readonly servers: readonly AssignedServer[];
}

const MINUTE_MS = 60_000;

export type VirtualKeys = ReturnType<typeof createVirtualKeys>;

export function createVirtualKeys({ store, onWritten, onTokensDeleted, uses, clock, newId }: VirtualKeysDeps) {
  async function withServers(orgId: string, keys: readonly VirtualKey[]): Promise<AssignedKey[]> {
    const ids = keys.map(({ virtual_key_id }) => virtual_key_id);
    const assigned = await store.assignments(orgId, ids);
    return keys.map((key) => ({ key, servers: assigned.get(key.virtual_key_id) ?? [] }));
  }

  async function get(orgId: string, keyId: string): Promise<AssignedKey> {
    const key = await store.get(orgId, keyId);
    const [assigned] = key === null ? [] : await withServers(orgId, [key]);
    if (assigned === undefined) throw notFound();
    return assigned;
  }

  return {
    get,

    /** Which keys, of any org, are assigned to these servers: for platform admins (BF-7). */
    ofServers(serverIds: readonly string[]): Promise<Map<string, NamedServerKey[]>> {
      return store.ofServers(serverIds);
    },

    async list(orgId: string, query: PageQuery) {
      const page = parsePage(query);
      const { rows, total } = await store.list(orgId, page);
      const result: Page<AssignedKey> = {
        rows: await withServers(orgId, rows),
        total_rows: total,
        ...page,
        filters: {},
        sort: { by: "name", direction: "asc" },
      };
      return result;
    },

    /** Keys in the order of their creation. @param search @param slice As of the store. */
    async find(orgId: string, search: string | null, slice: { limit: number | null; offset: number }) {
      const { rows, total } = await store.find(orgId, search, slice);
      return { keys: await withServers(orgId, rows), total };
    },

    /** The servers that keys of an org may be assigned to. */
    assignable(orgId: string): Promise<NamedServer[]> {
      return store.visibleServers(orgId);
    },

    /**
     * @param by The principal's id.
     * @returns The key, and its value for the only time (PS-8).
     * @throws GatewayError `invalid_request` with the field, `conflict`
     */
    async create(orgId: string, by: string, input: VirtualKeyInput): Promise<AssignedKey & { value: string }> {
      const value = newKeyValue();
      const now = clock();
      const key: VirtualKey = {
        virtual_key_id: newId("key"),
        org_id: orgId,
        name: parseDisplayName(input.name, "name"),
        description: input.description ?? "",
        value_hash: keyHash(value),
        last4: value.slice(-LAST),
        previous_hash: null,
        previous_until: null,
        is_active: input.is_active ?? true,
        expires_at: instantOf(input.expires_at ?? null),
        last_used_at: null,
        group_id: input.group_id ?? null,
        created: now,
        created_by: by,
        modified: now,
        modified_by: by,
      };
      await store.insert(orgId, key, input.servers ?? []);
      onWritten();
      return { ...(await get(orgId, key.virtual_key_id)), value };
    },

    /** Changes only what is given; `servers` replaces all assignments. */
    async update(orgId: string, keyId: string, by: string, patch: VirtualKeyPatch): Promise<AssignedKey> {
      const change = {
        ...(patch.name === undefined ? {} : { name: parseDisplayName(patch.name, "name") }),
        ...(patch.description === undefined ? {} : { description: patch.description }),
        ...(patch.is_active === undefined ? {} : { is_active: patch.is_active }),
        ...(patch.expires_at === undefined ? {} : { expires_at: instantOf(patch.expires_at) }),
        ...(patch.group_id === undefined ? {} : { group_id: patch.group_id }),
        modified: clock(),
        modified_by: by,
      };
      if (!(await store.update(orgId, keyId, change, patch.servers))) throw notFound();
      onWritten();
      return get(orgId, keyId);
    },

    /** @returns The key, and its new value for the only time (PS-8). @throws GatewayError `not_found` */
    async rotate(
      orgId: string,
      keyId: string,
      by: string,
      { overlap_seconds = 0 }: KeyRotation,
    ): Promise<AssignedKey & { value: string }> {
      const value = newKeyValue();
      const now = clock();
      const change = { value_hash: keyHash(value), last4: value.slice(-LAST), modified: now, modified_by: by };
      const previousUntil = overlap_seconds === 0 ? null : now + overlap_seconds * 1_000;
      if (!(await store.rotate(orgId, keyId, change, previousUntil))) throw notFound();
      onWritten();
      return { ...(await get(orgId, keyId)), value };
    },

    /**
     * Notes that a key has been used, to the minute and once in it. For behind an answer: it never fails, and what it
     * could not write is noted with the next minute's use.
     */
    async noteUse(orgId: string, keyId: string): Promise<void> {
      if (uses.get(keyId) !== undefined) return;
      const minute = Math.floor(clock() / MINUTE_MS) * MINUTE_MS;
      uses.set(keyId, true, minute + MINUTE_MS);
      try {
        await store.touch(orgId, keyId, minute);
      } catch (thrown) {
        log("warn", "key_use_not_noted", { virtual_key_id: keyId, causes: causesOf(thrown) });
      }
    },

    async remove(orgId: string, keyId: string): Promise<void> {
      if (!(await store.remove(orgId, keyId))) throw notFound();
      onWritten();
      await onTokensDeleted();
    },
  };
}

/** How much of a value is kept for people to know it by. */
const LAST = 4;

function instantOf(time: string | null): number | null {
  return time === null ? null : Date.parse(time);
}

function notFound(): GatewayError {
  return new GatewayError("not_found", "There is no such virtual key.");
}
