/**
 * The use cases of the Bifrost surface: what its routes promise, on the registry's one write path. Everything about a
 * server itself is decided there.
 */
import type { NamedServerKey } from "../access/virtual-key.ts";
import type { ApprovedTool } from "../catalog/definition.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Actor } from "../registry/reach.ts";
import type { Registry } from "../registry/registry.ts";
import type { ClientCreate, ClientQuery, ClientUpdate, ClientView, Done } from "./bifrost.wire.ts";
import { oauthOf, serverInput, serverPatch, sliceOf } from "./client-input.ts";
import { clientView } from "./client-view.ts";
import { known, told } from "./known.ts";
import type { PendingOAuth } from "./oauth.wire.ts";
import type { OAuthConfigs } from "./oauth-configs.ts";

export interface ClientsDeps {
  readonly registry: Pick<Registry, "find" | "get" | "register" | "revise" | "reconnect" | "remove">;
  readonly oauthConfigs: Pick<OAuthConfigs, "start" | "use">;
  /** The approved tools of servers, each list sorted by name. */
  readonly toolsOf: (serverIds: readonly string[]) => Promise<ReadonlyMap<string, readonly ApprovedTool[]>>;
  /** The keys of all orgs that are assigned to servers, each list sorted by name. */
  readonly keysOf: (serverIds: readonly string[]) => Promise<ReadonlyMap<string, readonly NamedServerKey[]>>;
}

const MISSING = "MCP client not found";

export function createClients({ registry, oauthConfigs, toolsOf, keysOf }: ClientsDeps) {
  return {
    /** BF-41: the envelope, whole or the part that was asked for. @throws GatewayError `invalid_request` */
    async list(actor: Actor, query: ClientQuery) {
      const { search, limit, offset } = sliceOf(query);
      const { servers, total } = await registry.find(actor, search, { limit, offset });
      const ids = servers.map(({ record }) => record.server_id);
      const [tools, keys] = await Promise.all([toolsOf(ids), keysOf(ids)]);
      const clients: ClientView[] = servers.map((server) => {
        const { server_id } = server.record;
        return clientView(server, tools.get(server_id) ?? [], keys.get(server_id) ?? []);
      });
      const count = clients.length;
      return { clients, count, total_count: total, limit: limit ?? count, offset };
    },

    /**
     * Connects to a server, then registers it (BF-22); or lets it wait for an account (BF-23).
     *
     * @param waitUntil Takes work that the answer does not depend on.
     * @throws GatewayError `connect_failed` when nothing could be connected to; nothing is stored then.
     */
    async create(
      actor: Actor,
      client: ClientCreate,
      self: string,
      waitUntil: (work: Promise<unknown>) => void,
    ): Promise<Done | PendingOAuth> {
      const input = serverInput(client);
      const { config, configId } = oauthOf(client);
      if (config !== undefined) return oauthConfigs.start(actor, input, config, self, waitUntil);
      if (configId !== undefined) await oauthConfigs.use(actor, input, configId, self);
      else {
        await told("Failed to connect MCP client", ["connect_failed"], () =>
          registry.register(actor, input, self, { isTried: true }),
        );
      }
      const isWaiting = input.connection_type === "stdio";
      const message = isWaiting ? "MCP client added; waiting for a bridge" : "MCP client connected successfully";
      return { status: "success", message };
    },

    /**
     * Changes what is given (BF-29).
     *
     * @returns Why the server cannot be connected to with the headers that were given, and not stored (BF-35); null
     *   when everything is stored.
     */
    async update(actor: Actor, clientId: string, client: ClientUpdate, self: string): Promise<string | null> {
      const revision = {
        patchOf: (before: Parameters<typeof serverPatch>[1]) => serverPatch(client, before),
        isConfigGiven: client.headers !== undefined,
        keys: client.vk_configs,
        isTried: true,
      };
      return (await known(MISSING, registry.revise(actor, clientId, revision, self))).credentialError;
    },

    /** BF-43. @throws GatewayError `not_found`, `invalid_request`, `connect_failed` */
    async reconnect(actor: Actor, clientId: string, self: string): Promise<void> {
      const { record } = await known(MISSING, registry.get(actor, clientId));
      if (!record.enabled) {
        const message = "cannot reconnect a disabled MCP client: enable the client first";
        throw new GatewayError("invalid_request", message);
      }
      if (record.auth_type === "per_user_oauth") {
        const message = "cannot reconnect a per_user_oauth MCP client: each user connects with a token of their own";
        throw new GatewayError("invalid_request", message);
      }
      const failures = ["upstream_failed", "upstream_timeout", "invalid_request", "conflict"] as const;
      await told("Failed to reconnect MCP client", failures, () =>
        known(MISSING, registry.reconnect(actor, clientId, self)),
      );
    },

    /** BF-42. @throws GatewayError `not_found` */
    async remove(actor: Actor, clientId: string): Promise<void> {
      await known(MISSING, registry.remove(actor, clientId));
    },
  };
}
