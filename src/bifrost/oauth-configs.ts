/**
 * OAuth on the Bifrost surface: a server waits, sealed, until somebody has authorized the gateway, and is then stored
 * with what came of it (BF-15, BF-23, BF-46 to BF-48). Its flow is in `credentials/config-flows.ts`.
 */
import type { ConfigFlows, Redeemed } from "../credentials/config-flows.ts";
import { isOver } from "../credentials/flows.ts";
import type { Sealer } from "../credentials/sealing.ts";
import type { Tokens } from "../credentials/tokens.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { Principal } from "../identity/principal.ts";
import { isoTime } from "../platform/clock.ts";
import type { NewId } from "../platform/ids.ts";
import { causesOf, log } from "../platform/log.ts";
import type { Actor } from "../registry/reach.ts";
import type { Registry } from "../registry/registry.ts";
import type { ServerInput } from "../registry/registry.wire.ts";
import type { OAuthConfigInput, OAuthConfigStatus, PendingOAuth } from "./oauth.wire.ts";
import { type ClientDeps, givenClient, settleClient, tokenClientOf } from "./oauth-client.ts";
import { type CompletionDeps, createCompletion } from "./oauth-completion.ts";
import { createConfigSeals, isUnknown, progressOf, scopesOf, type WaitingToken } from "./oauth-config.ts";
import type { OAuthConfig } from "./oauth-configs.store.ts";

export interface OAuthConfigsDeps extends Omit<CompletionDeps, "seals"> {
  readonly flows: ConfigFlows;
  readonly authorizationServers: ClientDeps;
  readonly registry: Pick<Registry, "check" | "register">;
  readonly tokens: Pick<Tokens, "removeOwn" | "endTrial">;
  readonly sealer: Pick<Sealer, "seal" | "open">;
  readonly newId: NewId;
}

export const OAUTH_CALLBACK = "/api/oauth/callback";

/** D1 takes two megabytes in one row, sealed. */
const MAX_WAITING = 1_000_000;

export type OAuthConfigs = ReturnType<typeof createOAuthConfigs>;

export function createOAuthConfigs(deps: OAuthConfigsDeps) {
  const { store, flows, registry, sealer, clock, newId } = deps;
  const seals = createConfigSeals(sealer);
  const completion = createCompletion({ ...deps, seals });

  async function giveUp(token: WaitingToken): Promise<void> {
    await deps.revoke(token.client, { ...token.answer, client: token.client });
  }

  /** Ends the tokens of configurations that nobody has completed. */
  async function giveUpAll(configs: readonly OAuthConfig[]): Promise<void> {
    for (const { oauth_config_id, token_sealed } of configs) {
      try {
        if (token_sealed !== null) await giveUp(await seals.open(oauth_config_id, "token", token_sealed));
      } catch (thrown) {
        log("error", "token_not_revoked", { oauth_config_id, causes: causesOf(thrown) });
      }
    }
  }

  return {
    ...completion,

    /**
     * Lets a server wait for somebody to authorize the gateway.
     *
     * @param waitUntil Takes work that the answer does not depend on.
     * @throws GatewayError `invalid_request` with the field, `conflict`, `upstream_failed`; nothing is stored then
     */
    async start(
      actor: Actor,
      input: ServerInput,
      config: OAuthConfigInput,
      self: string,
      waitUntil: (work: Promise<unknown>) => void,
    ): Promise<PendingOAuth> {
      const given = givenClient(config);
      const { authorization_endpoint, token_endpoint, registration_endpoint } = given;
      const fields = { authorization_endpoint, token_endpoint, registration_endpoint, scopes: [...given.scopes] };
      const server_id = await registry.check(actor, { ...input, ...fields }, self);
      const id = newId("ocf");
      const waiting = { ...input, server_id };
      if (new TextEncoder().encode(JSON.stringify(waiting)).length > MAX_WAITING) {
        throw new GatewayError("invalid_request", "The MCP client has more than a million bytes.");
      }
      // First of all: without a key nothing is sent anywhere.
      const server_sealed = await seals.seal(id, "server", waiting);
      const client = await settleClient(deps.authorizationServers, given, (input.server_url ?? "").trim(), self);
      const { oauth, server_url } = client;
      const flow = await flows.start({
        config_id: id,
        server_id,
        authorization_endpoint: oauth.authorization_endpoint ?? "",
        client: tokenClientOf(client),
        scopes: scopesOf(client),
        redirectUri: `${self}${OAUTH_CALLBACK}`,
      });
      const now = clock();
      const forgotten = await store.insert(
        {
          oauth_config_id: id,
          mcp_client_id: server_id,
          server_id: null,
          status: "pending",
          server_sealed,
          client_sealed: await seals.seal(id, "client", client),
          token_sealed: null,
          created: now,
          expires_at: flow.expires_at,
        },
        now,
      );
      waitUntil(giveUpAll(forgotten));
      const complete_url = `/api/mcp/client/${id}/complete-oauth`;
      const status_url = `/api/oauth/config/${id}/status`;
      return {
        status: "pending_oauth",
        message: `OAuth authorization is required: ${new URL(server_url).host} is connected once somebody has agreed`,
        oauth_config_id: id,
        authorize_url: flow.url,
        expires_at: isoTime(flow.expires_at),
        mcp_client_id: server_id,
        complete_url,
        status_url,
        next_steps: [
          "Open authorize_url in a browser, and agree there.",
          `Ask GET ${status_url} until its status is authorized.`,
          `Send POST ${complete_url}: it connects to the MCP client and stores it.`,
        ],
      };
    },

    /**
     * What follows when a browser has come back from an authorization server (BF-46).
     *
     * @throws GatewayError `invalid_request` for a callback that is none, `invalid_state` for one that nobody waits for
     */
    async comeBack(callback: URLSearchParams): Promise<Redeemed> {
      const state = callback.get("state") ?? "";
      if (state === "" || !(callback.has("code") || callback.has("error"))) {
        throw new GatewayError("invalid_request", "The address has no state, or no code.");
      }
      const flow = await flows.take(state);
      const config = await store.get(flow.flow_id);
      if (config?.client_sealed == null || progressOf(config, clock()) !== "pending") throw isOver();
      const id = config.oauth_config_id;
      const settled = await seals.open(id, "client", config.client_sealed);
      const client = tokenClientOf(settled);
      const redeemed = await flows.redeem(flow, callback, { client, iss_required: settled.oauth.iss_required });
      if (!redeemed.ok) {
        await store.fail(id);
        return redeemed;
      }
      const token: WaitingToken = {
        ...{ token_id: newId("tok"), answer: redeemed.answer, obtained_at: clock(), client },
        ...{ scopes: scopesOf(settled), server_url: settled.server_url },
      };
      let isKept = false;
      try {
        isKept = await store.authorize(id, await seals.seal(id, "token", token), clock());
      } finally {
        if (!isKept) await giveUp(token);
      }
      if (!isKept) throw isOver();
      return redeemed;
    },

    /** BF-47. @throws GatewayError `not_found` */
    async status(configId: string): Promise<OAuthConfigStatus> {
      const config = await store.get(configId);
      if (config === null) throw isUnknown();
      const { oauth_config_id: id, created, expires_at } = config;
      const { status, token } = await standingOf(config);
      return {
        ...{ id, status, created_at: isoTime(created), expires_at: isoTime(expires_at) },
        ...(status === "authorized" ? token : {}),
      };
    },

    /** Gives up what a configuration has brought: the token, here and upstream (BF-47). @throws GatewayError `not_found` */
    async revoke(principal: Principal, configId: string): Promise<void> {
      const unused = await store.revoke(configId);
      const config = unused ?? (await store.get(configId));
      if (config === null) throw isUnknown();
      if (unused === null && config.server_id !== null) {
        const { token_sealed } = config;
        if (token_sealed !== null && !(await store.takeToken(configId, token_sealed))) throw isBusy();
        const record = await deps.serverOf(config.server_id);
        if (record?.auth_type === "oauth" && record.oauth_config_id === configId) {
          await unlessMissing(deps.tokens.removeOwn(principal, record.server_id));
        }
        await store.markRevoked(configId);
      }
      await giveUpAll([config]);
    },
  };

  /** How far a configuration is, and the token that there is of it. */
  async function standingOf(
    config: OAuthConfig,
  ): Promise<Pick<OAuthConfigStatus, "status"> & { readonly token: Partial<OAuthConfigStatus> }> {
    const { oauth_config_id, server_id, token_sealed } = config;
    if (token_sealed !== null) {
      const status = server_id === null ? progressOf(config, clock()) : "authorized";
      const { token_id, answer, obtained_at, scopes } = await seals.open(oauth_config_id, "token", token_sealed);
      const expires_at = answer.expires_in === null ? null : obtained_at + answer.expires_in * 1_000;
      return { status, token: shown(token_id, expires_at, answer.scopes ?? scopes) };
    }
    if (server_id === null) return { status: progressOf(config, clock()), token: {} };
    const record = await deps.serverOf(server_id);
    const isOf = record?.oauth_config_id === oauth_config_id;
    if (isOf && record.auth_type === "per_user_oauth") return { status: config.status, token: {} };
    const row = isOf && record.auth_type === "oauth" ? await deps.tokenOf(server_id) : null;
    if (row === null) return { status: "revoked", token: {} };
    const hasEnded = row.expires_at !== null && row.expires_at <= clock() && !row.has_refresh_token;
    const status = row.refresh_failed || hasEnded ? "expired" : "authorized";
    return { status, token: shown(row.token_id, row.expires_at, row.scopes) };
  }
}

function shown(token_id: string, expiresAt: number | null, scopes: readonly string[]): Partial<OAuthConfigStatus> {
  return {
    token_id,
    ...(expiresAt === null ? {} : { token_expires_at: isoTime(expiresAt) }),
    token_scopes: [...scopes],
  };
}

async function unlessMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    if (GatewayError.from(cause).code !== "not_found") throw cause;
  }
}

function isBusy(): GatewayError {
  return new GatewayError("conflict", "The configuration is being completed. Try again.");
}
