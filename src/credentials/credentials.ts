/** Upstream credentials put together: what the other capabilities use of them. */
import { isSameHost } from "../platform/address.ts";
import type { Clock } from "../platform/clock.ts";
import type { Send } from "../platform/guarded-fetch.ts";
import type { NewId } from "../platform/ids.ts";
import type { ServerRecord, ServerSighting } from "../registry/server-record.ts";
import { clientOf } from "./client.ts";
import { createConfigFlows } from "./config-flows.ts";
import type { CredentialStub } from "./credential.stub.ts";
import type { CredentialDeps } from "./credential.ts";
import { findAuthorizationServer } from "./discovery.ts";
import type { FlowStore } from "./flows.store.ts";
import { createFlows, type FlowsDeps } from "./flows.ts";
import { registerClient } from "./registration.ts";
import type { Sealer } from "./sealing.ts";
import { createSetUp, type SetUpDeps } from "./set-up.ts";
import type { TokenClient, TokenValue } from "./token.ts";
import * as tokenEndpoint from "./token-endpoint.ts";
import type { TokenStore } from "./tokens.store.ts";
import { createTokens, type TokensDeps } from "./tokens.ts";
import type { Vault } from "./vault.ts";

export interface CredentialsDeps {
  readonly tokens: TokenStore;
  readonly flows: FlowStore;
  readonly vault: Vault;
  readonly stub: CredentialStub;
  readonly registry: Pick<TokensDeps, "visible" | "editable"> & {
    get(serverId: string): Promise<ServerRecord | null>;
    recordSighting(serverId: string, serverUrl: string, sighting: ServerSighting): Promise<void>;
  };
  /** See `CredentialDeps.register`. */
  readonly registerAnew: CredentialDeps["register"] & FlowsDeps["registerAnew"];
  /** Tokens are deleted: this isolate forgets its leases. */
  readonly onDeleted: () => void;
  readonly sealer: Sealer;
  readonly send: Send;
  /** Why a URL may not be fetched, or null. */
  readonly refusalOf: (url: string) => string | null;
  readonly allowInsecure: boolean;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** How long the search for an authorization server, and a registration there, is waited for. */
const SET_UP_MS = 15_000;

export function createCredentials(deps: CredentialsDeps) {
  const { stub, registry, sealer, send, refusalOf, allowInsecure, clock, newId } = deps;
  const oauth = { send, clock };
  const openClient = (record: ServerRecord) => clientOf(sealer, record);
  const exchangeCode: FlowsDeps["exchangeCode"] = (client, code) => tokenEndpoint.exchangeCode(oauth, client, code);
  const flows = createFlows({
    store: deps.flows,
    tokens: deps.tokens,
    serverOf: registry.get,
    clientOf: openClient,
    exchangeCode,
    authorize: stub.authorize,
    registerAnew: deps.registerAnew,
    sealer,
    allowInsecure,
    clock,
    newId,
  });
  const authorizationServers: Pick<SetUpDeps, "find" | "register"> = {
    find: (server, self) => {
      const refusal = (url: string) => (isSameHost(url, self) ? "This is the gateway itself." : refusalOf(url));
      return findAuthorizationServer({ send, timeoutMs: SET_UP_MS, refusalOf: refusal }, server);
    },
    register: (server, client) => registerClient({ send, timeoutMs: SET_UP_MS }, { server, ...client }),
  };
  const parts: Omit<CredentialDeps, "serverId" | "owner" | "hot"> = {
    tokens: deps.tokens,
    vault: deps.vault,
    serverOf: registry.get,
    clientOf: openClient,
    requests: {
      refresh: (client, refresh_token) => tokenEndpoint.refresh(oauth, client, { refresh_token }),
      clientCredentials: (client, scopes) => tokenEndpoint.clientCredentials(oauth, client, { scopes }),
      exchange: (client, subject_token, scopes) =>
        tokenEndpoint.exchangeToken(oauth, client, { subject_token, subject: "jwt", scopes }),
      revoke: (client, value) => revokeBoth(oauth, client, value),
    },
    register: deps.registerAnew,
    async noteFailure({ server_id, server_url, state }, message) {
      const last_failure = { stage: "auth", message, at: clock() } as const;
      await registry.recordSighting(server_id, server_url, { state, last_failure });
    },
    clock,
    newId,
  };
  return {
    flows,
    tokens: createTokens({
      store: deps.tokens,
      dispose: stub.dispose,
      startFlow: flows.start,
      visible: registry.visible,
      editable: registry.editable,
      onDeleted: deps.onDeleted,
      clock,
    }),
    setUp: createSetUp({ ...authorizationServers, sealer }),
    authorizationServers,
    configFlows: createConfigFlows({ store: deps.flows, sealer, exchangeCode, allowInsecure, clock }),
    parts,
  };
}

/** The refresh token first: at most servers the access token ends with it. */
async function revokeBoth(
  oauth: tokenEndpoint.TokenDeps,
  { revocation_endpoint, ...client }: TokenClient,
  { refresh_token, access_token }: TokenValue,
): Promise<void> {
  if (revocation_endpoint === null) return;
  const at = { ...client, revocation_endpoint };
  if (refresh_token !== null) {
    await tokenEndpoint.revoke(oauth, at, { token: refresh_token, hint: "refresh_token" });
  }
  await tokenEndpoint.revoke(oauth, at, { token: access_token, hint: "access_token" });
}
