/** The use cases of virtual keys: the keys that agents present to the gateway. */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import type { Clock } from "../platform/clock.ts";
import type { NewId } from "../platform/ids.ts";
import { parseDisplayName } from "../registry/server-record.ts";
import { type KeyServer, keyHash, type NamedServerKey, newKeyValue, type VirtualKey } from "./virtual-key.ts";
import type { VirtualKeyStore } from "./virtual-keys.store.ts";
import type { VirtualKeyInput, VirtualKeyPatch } from "./virtual-keys.wire.ts";

export interface VirtualKeysDeps {
  readonly store: VirtualKeyStore;
  /** What follows a committed write: this isolate forgets what it verified. */
  readonly onWritten: () => void;
  readonly clock: Clock;
  readonly newId: NewId;
}

export interface AssignedKey {
  readonly key: VirtualKey;
  readonly servers: readonly KeyServer[];
}

export function createVirtualKeys({ store, onWritten, clock, newId }: VirtualKeysDeps) {
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
        last4: value.slice(-4),
        is_active: input.is_active ?? true,
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
        modified: clock(),
        modified_by: by,
      };
      if (!(await store.update(orgId, keyId, change, patch.servers))) throw notFound();
      onWritten();
      return get(orgId, keyId);
    },

    async remove(orgId: string, keyId: string): Promise<void> {
      if (!(await store.remove(orgId, keyId))) throw notFound();
      onWritten();
    },
  };
}

function notFound(): GatewayError {
  return new GatewayError("not_found", "There is no such virtual key.");
}
