/** From an authorized configuration to a server with an account (BF-15, BF-48). */
import type { CredentialStub } from "../credentials/credential.stub.ts";
import { type Owner, SERVER_ITSELF, TRIAL } from "../credentials/owner.ts";
import type { TokenClient, TokenRow, TokenValue } from "../credentials/token.ts";
import type { Tokens } from "../credentials/tokens.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import { causesOf, log } from "../platform/log.ts";
import type { Actor } from "../registry/reach.ts";
import type { Registry } from "../registry/registry.ts";
import type { ServerInput } from "../registry/registry.wire.ts";
import { originOf } from "../registry/server-draft.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import { told } from "./known.ts";
import type { Completed } from "./oauth.wire.ts";
import type { SettledClient } from "./oauth-client.ts";
import { type ConfigSeals, isUnknown, progressOf } from "./oauth-config.ts";
import type { OAuthConfig, OAuthConfigStore } from "./oauth-configs.store.ts";

export interface CompletionDeps {
  readonly store: OAuthConfigStore;
  readonly seals: ConfigSeals;
  readonly registry: Pick<Registry, "register">;
  /** A server whoever may see it. */
  readonly serverOf: (serverId: string) => Promise<ServerRecord | null>;
  readonly tokens: Pick<Tokens, "endTrial">;
  /** The token of a server's own account. */
  readonly tokenOf: (serverId: string) => Promise<TokenRow | null>;
  readonly authorize: CredentialStub["authorize"];
  /** Ends a token at its authorization server, best effort. */
  readonly revoke: (client: TokenClient, value: TokenValue) => Promise<void>;
  /** Connects to a server with an account that has just been linked, and reads its tools. */
  readonly verifyLink: (serverId: string, owner: Owner, self: string) => Promise<unknown>;
  readonly countTools: (serverId: string) => Promise<number>;
  readonly clock: Clock;
}

export function createCompletion(deps: CompletionDeps) {
  const { store, seals, registry, clock } = deps;

  /**
   * Makes the server of an authorized configuration, which is used up by that.
   *
   * @param inputOf What the server is to be.
   * @throws GatewayError as `registry.register`; then nothing has changed
   */
  async function make(
    actor: Actor,
    config: OAuthConfig,
    inputOf: (client: SettledClient) => Promise<ServerInput>,
    self: string,
  ): Promise<void> {
    const { oauth_config_id, client_sealed, token_sealed } = config;
    if (client_sealed === null || token_sealed === null)
      throw new GatewayError("internal", "A configuration is empty.");
    const client = await seals.open(oauth_config_id, "client", client_sealed);
    const { answer } = await seals.open(oauth_config_id, "token", token_sealed);
    const linked = {
      settled: { ...client.oauth, oauth_config_id },
      client_secret: client.client_secret,
      access_token: answer.access_token,
    };
    const input = await inputOf(client);
    const { record } = await told("Failed to connect MCP client", ["connect_failed"], () =>
      registry.register(actor, input, self, { isTried: true, linked }),
    );
    await handOver(oauth_config_id, token_sealed, record, self);
  }

  /**
   * Gives the token that waits to the server that there is now, and reads its tools. A server of per-user accounts is
   * only tried with it (BF-48).
   */
  async function handOver(configId: string, sealed: string, record: ServerRecord, self: string): Promise<void> {
    const { server_id } = record;
    const token = await seals.open(configId, "token", sealed);
    // One gets it: whoever renews a token twice loses it.
    if (!(await store.takeToken(configId, sealed))) return;
    const isMade = record.oauth_config_id === configId && originOf(record.server_url) === originOf(token.server_url);
    const owner = record.auth_type === "oauth" ? SERVER_ITSELF : TRIAL;
    const giveUp = () => deps.revoke(token.client, { ...token.answer, client: token.client });
    if (!isMade || !record.auth_type.endsWith("oauth")) return giveUp();
    const { token_id, answer, obtained_at, client, scopes } = token;
    const age = Math.floor((clock() - obtained_at) / 1_000);
    const expires_in = answer.expires_in === null ? null : Math.max(1, answer.expires_in - age);
    const kept = { token_id, answer: { ...answer, expires_in }, client, scopes };
    try {
      // Of somebody who was interrupted the server may have it already, and have renewed it.
      const isThere = owner === SERVER_ITSELF && (await deps.tokenOf(server_id))?.token_id === token_id;
      if (!isThere && (await deps.authorize(server_id, owner, kept)) === null) return await giveUp();
    } catch (thrown) {
      await store.giveBack(configId, sealed);
      throw thrown;
    }
    try {
      await deps.verifyLink(server_id, owner, self);
    } catch (thrown) {
      // The server is there; the next look finds its tools.
      log("warn", "connect_failed", { server_id, causes: causesOf(thrown) });
    }
    await deps.tokens.endTrial(owner, server_id);
  }

  /** @returns The configuration, with its server. */
  async function makeWaiting(actor: Actor, config: OAuthConfig, self: string): Promise<OAuthConfig> {
    const { oauth_config_id, status, server_sealed } = config;
    if (status !== "authorized" || server_sealed === null) {
      throw new GatewayError("invalid_request", `OAuth not authorized yet. Current status: ${status}`);
    }
    let conflict: unknown;
    try {
      await make(actor, config, () => seals.open(oauth_config_id, "server", server_sealed), self);
    } catch (cause) {
      if (GatewayError.from(cause).code !== "conflict") throw cause;
      conflict = cause;
    }
    // Of two at once, the other has made the server, and does the rest.
    const made = await store.get(oauth_config_id);
    if (made?.server_id == null) throw conflict ?? isUnknown();
    return made;
  }

  return {
    /**
     * Connects to the server of an authorized configuration and stores it; done once, it has no effect again (BF-48).
     *
     * @param id Of the configuration, or of the server that is to come of it.
     * @throws GatewayError `not_found`, `invalid_request` before it is authorized, `conflict`, `connect_failed`
     */
    async complete(actor: Actor, id: string, self: string): Promise<Completed> {
      const config = await store.find(id);
      if (config === null || (config.server_id === null && progressOf(config, clock()) === "expired"))
        throw isUnknown();
      const made = config.server_id === null ? await makeWaiting(actor, config, self) : config;
      const record = await deps.serverOf(made.server_id ?? "");
      if (record === null) throw isUnknown();
      // Left over where somebody was interrupted.
      if (config.server_id !== null && config.token_sealed !== null) {
        await handOver(config.oauth_config_id, config.token_sealed, record, self);
      }
      const { server_id } = record;
      return {
        status: "success",
        message: "MCP client connected successfully with OAuth",
        ...(record.auth_type === "per_user_oauth" ? { tools_count: await deps.countTools(server_id) } : {}),
      };
    },

    /**
     * Connects to a server with the account of an authorized configuration, and stores it (BF-15).
     *
     * @throws GatewayError `invalid_request` with the field, `conflict`, `connect_failed`; nothing is stored then
     */
    async use(actor: Actor, input: ServerInput, configId: string, self: string): Promise<void> {
      const config = await store.get(configId);
      if (config === null || config.server_id !== null || progressOf(config, clock()) !== "authorized") {
        const message = "oauth_config_id does not name an authorized configuration that is unused.";
        throw new GatewayError("invalid_request", message, { field: "oauth_config_id" });
      }
      const inputOf = async ({ server_url }: SettledClient) => {
        // A token for one origin is not shown to another (PS-52).
        if (URL.parse((input.server_url ?? "").trim())?.origin !== originOf(server_url)) {
          const message = "oauth_config_id names a configuration for a server at another origin.";
          throw new GatewayError("invalid_request", message, { field: "oauth_config_id" });
        }
        return { ...input, server_id: input.server_id ?? config.mcp_client_id };
      };
      await make(actor, config, inputOf, self);
    },
  };
}
