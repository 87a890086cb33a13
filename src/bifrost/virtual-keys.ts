/**
 * The use cases of virtual keys on the Bifrost surface: its names for what they hold, over the same use cases as the
 * native API. Everything about a key itself is decided there.
 */
import { maskedValue } from "../access/virtual-key.ts";
import type { AssignedKey, VirtualKeys } from "../access/virtual-keys.ts";
import type { VirtualKeyPatch } from "../access/virtual-keys.wire.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { ClientQuery } from "./bifrost.wire.ts";
import { sliceOf } from "./client-input.ts";
import { known } from "./known.ts";
import type { KeyInput, KeyView } from "./virtual-keys.wire.ts";

export interface BifrostKeysDeps {
  readonly keys: Pick<VirtualKeys, "find" | "get" | "assignable" | "create" | "update" | "remove">;
}

const MISSING = "Virtual key not found";

export function createBifrostKeys({ keys }: BifrostKeysDeps) {
  /** @throws GatewayError `invalid_request` with the field */
  async function inputOf(orgId: string, input: KeyInput): Promise<VirtualKeyPatch> {
    for (const field of UNSUPPORTED) {
      if (input[field] !== undefined && input[field] !== null) throw refuse(field, `${field} is not supported`);
    }
    const { name, description, is_active, mcp_configs } = input;
    if (name?.trim() === "") throw nameless();
    return {
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      ...(is_active === undefined ? {} : { is_active }),
      ...(mcp_configs === undefined ? {} : { servers: await serversOf(orgId, mcp_configs) }),
    };
  }

  /** The servers that clients are named after: a display name or a slug, ignoring case, among those of the org. */
  async function serversOf(orgId: string, clients: NonNullable<KeyInput["mcp_configs"]>) {
    const servers = await keys.assignable(orgId);
    const named = servers.flatMap(({ server_id, name, display_name }) =>
      [...new Set([name.toLowerCase(), display_name.toLowerCase()])].map((called) => ({ called, server_id })),
    );
    const byName = Map.groupBy(named, ({ called }) => called);
    const assigned = clients.map(({ mcp_client_name, tools_to_execute }, at) => {
      const [server, ...others] = byName.get(mcp_client_name.trim().toLowerCase()) ?? [];
      const field = `mcp_configs.${at}.mcp_client_name`;
      if (server === undefined) throw refuse(field, "mcp_client_name does not name an MCP client");
      if (others.length > 0) throw refuse(field, "mcp_client_name names more than one MCP client");
      return { server_id: server.server_id, tools_to_execute };
    });
    if (new Set(assigned.map(({ server_id }) => server_id)).size < assigned.length) {
      throw refuse("mcp_configs", "mcp_configs must not repeat an MCP client");
    }
    return assigned;
  }

  return {
    /** BF-41's envelope, whole or the part that was asked for. @throws GatewayError `invalid_request` */
    async list(orgId: string, query: ClientQuery) {
      const { search, limit, offset } = sliceOf(query);
      const { keys: found, total } = await keys.find(orgId, search, { limit, offset });
      const count = found.length;
      return {
        virtual_keys: found.map((key) => viewOf(key)),
        count,
        total_count: total,
        limit: limit ?? count,
        offset,
      };
    },

    /** @throws GatewayError `not_found` */
    async get(orgId: string, keyId: string): Promise<KeyView> {
      return viewOf(await known(MISSING, keys.get(orgId, keyId)));
    },

    /**
     * @param by The principal's id.
     * @returns The key with its value, for the only time.
     * @throws GatewayError `invalid_request` with the field, `conflict`
     */
    async create(orgId: string, by: string, input: KeyInput): Promise<KeyView> {
      const { name, ...others } = await inputOf(orgId, input);
      if (name === undefined) throw nameless();
      const created = await keys.create(orgId, by, { name, ...others });
      return viewOf(created, created.value);
    },

    /** Changes only what is given; `mcp_configs` replaces all assignments. @throws GatewayError also `not_found` */
    async update(orgId: string, keyId: string, by: string, input: KeyInput): Promise<KeyView> {
      await known(MISSING, keys.get(orgId, keyId));
      const patch = await inputOf(orgId, input);
      return viewOf(await known(MISSING, keys.update(orgId, keyId, by, patch)));
    },

    /** @throws GatewayError `not_found` */
    async remove(orgId: string, keyId: string): Promise<void> {
      await known(MISSING, keys.remove(orgId, keyId));
    },
  };
}

const UNSUPPORTED = ["team_id", "customer_id", "budget", "rate_limit"] as const;

function viewOf({ key, servers }: AssignedKey, value = maskedValue(key.last4)): KeyView {
  return {
    id: key.virtual_key_id,
    name: key.name,
    description: key.description,
    value,
    is_active: key.is_active,
    provider_configs: [],
    mcp_configs: servers.map(({ assignment_id, display_name, tools_to_execute }) => ({
      id: assignment_id,
      mcp_client_name: display_name,
      tools_to_execute: [...tools_to_execute],
    })),
  };
}

function nameless(): GatewayError {
  return refuse("name", "Virtual key name is required");
}

function refuse(field: string, message: string): GatewayError {
  return new GatewayError("invalid_request", message, { field });
}
