/** A server with what belongs to it, its secrets open. */
import { GatewayError } from "../failure/gateway-error.ts";
import type { RegistryStore } from "./registry.store.ts";
import { parseConfig, type ServerConfig, type ServerRecord } from "./server-record.ts";
import { allowedToolsOf, autoToolsOf, pricesOf, type ToolFlags } from "./tool-policy.ts";

/** A server with its policy and its orgs; its `config` is open for admins of the platform, and else `{}` (PS-51). */
export interface OpenServer {
  readonly record: ServerRecord;
  readonly config: ServerConfig;
  readonly org_ids: readonly string[];
  readonly allowed_tools: Readonly<Record<string, boolean>> | null;
  readonly tools_to_auto_execute: readonly string[];
  readonly tool_pricing: Readonly<Record<string, number>>;
  readonly flags: readonly ToolFlags[];
}

/** Whose sealed value a server's `config` is. */
export function configOwner(serverId: string): string {
  return `server:${serverId}:config`;
}

export function createOpener({
  store,
  sealer,
}: {
  readonly store: Pick<RegistryStore, "details">;
  readonly sealer: {
    seal(text: string, owner: string): Promise<string>;
    open(sealed: string, owner: string): Promise<string>;
  };
}) {
  async function sealConfig(serverId: string, config: ServerConfig): Promise<string | null> {
    if (Object.keys(config).length === 0) return null;
    return sealer.seal(JSON.stringify(config), configOwner(serverId));
  }

  async function openConfig(record: ServerRecord): Promise<ServerConfig> {
    if (record.config_sealed === null) return {};
    return parseConfig(JSON.parse(await sealer.open(record.config_sealed, configOwner(record.server_id))));
  }

  async function openServers(records: readonly ServerRecord[], isOpen = true): Promise<OpenServer[]> {
    const details = await store.details(records.map(({ server_id }) => server_id));
    const open = async (record: ServerRecord): Promise<OpenServer> => {
      const { flags, org_ids } = details.get(record.server_id) ?? { flags: [], org_ids: [] };
      return {
        record,
        config: isOpen ? await openConfig(record) : {},
        org_ids,
        allowed_tools: allowedToolsOf(record.tool_mode, flags),
        tools_to_auto_execute: autoToolsOf(record.auto_all, flags),
        tool_pricing: pricesOf(flags),
        flags,
      };
    };
    return Promise.all(records.map(open));
  }

  /** @param isConfigReplaced A `config` that does not open must not keep an admin from giving another. */
  async function openServer(record: ServerRecord, isConfigReplaced = false): Promise<OpenServer> {
    const [server] = await openServers([isConfigReplaced ? { ...record, config_sealed: null } : record]);
    if (server === undefined) throw new GatewayError("internal", "A server could not be read.");
    return server;
  }

  return { sealConfig, openConfig, openServers, openServer };
}
