/** The composition root: the only module that sees `Env` and every capability. */

import { d1MemberStore } from "./access/members.store.ts";
import { d1OrgStore } from "./access/orgs.store.ts";
import { createOrgs } from "./access/orgs.ts";
import { createRateLimits } from "./access/rate-limits.ts";
import { d1VirtualKeyStore } from "./access/virtual-keys.store.ts";
import { createVirtualKeys } from "./access/virtual-keys.ts";
import { createClients } from "./bifrost/clients.ts";
import { createMcpLogs } from "./bifrost/mcp-logs.ts";
import { d1OAuthConfigStore } from "./bifrost/oauth-configs.store.ts";
import { createOAuthConfigs } from "./bifrost/oauth-configs.ts";
import { createBifrostKeys } from "./bifrost/virtual-keys.ts";
import { loggedArguments } from "./calls/call.ts";
import { r2CallArchive } from "./calls/call-archive.store.ts";
import { d1CallStatsStore } from "./calls/call-stats.store.ts";
import { d1CallStore } from "./calls/calls.store.ts";
import { createCalls } from "./calls/calls.ts";
import { createJournal, GATHER_MS } from "./calls/journal.ts";
import { d1RetentionStore } from "./calls/retention.store.ts";
import { sweepCalls } from "./calls/retention.ts";
import { d1CatalogStore } from "./catalog/catalog.store.ts";
import { createCatalog } from "./catalog/catalog.ts";
import { d1ChangeStore } from "./catalog/changes.store.ts";
import { readConfig } from "./config.ts";
import { connectorStub } from "./connector/connector.stub.ts";
import { createConnector } from "./connector/connector.ts";
import { credentialStub } from "./credentials/credential.stub.ts";
import { createCredentials } from "./credentials/credentials.ts";
import { d1FlowStore } from "./credentials/flows.store.ts";
import { type Owner, SERVER_ITSELF } from "./credentials/owner.ts";
import { createSealer } from "./credentials/sealing.ts";
import { createTargets } from "./credentials/target.ts";
import { d1TokenStore } from "./credentials/tokens.store.ts";
import { kvVault } from "./credentials/vault.ts";
import { GatewayError } from "./failure/gateway-error.ts";
import { PARTS_OF_DOORS, type ProvenCall } from "./gateway/built-in.ts";
import { createToolCalls } from "./gateway/tool-calls.ts";
import { createHealth } from "./health.ts";
import { readAsk } from "./identity/ask.ts";
import { d1BrowserStore } from "./identity/browsers.store.ts";
import { createBrowsers } from "./identity/browsers.ts";
import { d1GrantStore } from "./identity/grants.store.ts";
import { createGrants } from "./identity/grants.ts";
import { createIdentity } from "./identity/identity.ts";
import { createIdentityProvider } from "./identity/provider.ts";
import { d1BlocklistStore } from "./instructions/blocklist.store.ts";
import { createBlocklists } from "./instructions/blocklists.ts";
import { buildServer } from "./instructions/build-server.ts";
import { createInstructionFiles } from "./instructions/instruction-files.ts";
import { d1InstructionStore } from "./instructions/instructions.store.ts";
import { createInstructions, type InstructionsDeps } from "./instructions/instructions.ts";
import { createMemory } from "./memory.ts";
import type { Clock } from "./platform/clock.ts";
import { type ColoCache, coloCache } from "./platform/colo-cache.ts";
import { guardedFetch, type Network, realNetwork, refusalOf, type Send } from "./platform/guarded-fetch.ts";
import { marked } from "./platform/hop-marker.ts";
import { createNewId, type NewId } from "./platform/ids.ts";
import type { InProcessServer } from "./registry/inprocess.ts";
import { d1OrgContextStore } from "./registry/org-contexts.store.ts";
import { createOrgContexts } from "./registry/org-contexts.ts";
import { EVERY_ORG } from "./registry/reach.ts";
import { d1RegistryStore } from "./registry/registry.store.ts";
import { createRegistry } from "./registry/registry.ts";
import type { ServerRecord } from "./registry/server-record.ts";
import { d1RunStore } from "./runs/runs.store.ts";
import { createRuns } from "./runs/runs.ts";
import { sessionStub } from "./sessions/session.stub.ts";
import { createSessionRuns } from "./sessions/session-runs.ts";
import { createSessions } from "./sessions/sessions.ts";
import { createUpstreamSessions } from "./sessions/upstream-sessions.ts";
import { createTelemetry } from "./telemetry/telemetry.ts";

/** What a test may replace. Production takes every default. */
export interface Platform {
  readonly clock: Clock;
  readonly network: Network;
  readonly newId: NewId;
  readonly cache: ColoCache;
  /** How long the row of a call waits for others, to go to its `Session` object with them. */
  readonly gatherMs: number;
  /** The servers that code brings besides the built-in one. */
  readonly inProcess: readonly InProcessServer[];
}

const realClock: Clock = () => Date.now();

export const realPlatform: Platform = {
  clock: realClock,
  network: realNetwork,
  newId: createNewId(realClock),
  cache: coloCache(),
  gatherMs: GATHER_MS,
  inProcess: [],
};

/** Bindings that a deployment may have: `wrangler.toml` does not name them, so that the generated types do not either. */
interface OptionalBindings {
  /** Where calls go when they have been in the log for long enough. */
  readonly CALL_ARCHIVE?: R2Bucket;
}

export type Services = ReturnType<typeof createServices>;

/** Wires the capabilities together, once for an isolate and once for each object: it constructs and never connects. */
export function createServices(env: Env, platform = realPlatform, memory = createMemory(platform.clock)) {
  const { clock, newId, network, cache, gatherMs } = platform;
  const config = readConfig(env);
  const registryStore = d1RegistryStore(env.DB);
  const catalogStore = d1CatalogStore(env.DB);
  const keyStore = d1VirtualKeyStore(env.DB);
  const orgStore = d1OrgStore(env.DB);
  const orgContextStore = d1OrgContextStore(env.DB);
  const memberStore = d1MemberStore(env.DB);
  const callStore = d1CallStore(env.DB);
  const runStore = d1RunStore(env.DB);
  const archiveBucket = (env as Env & OptionalBindings).CALL_ARCHIVE;
  const sealer = createSealer(config.encryptionKeys);
  const allowInsecure = config.isDevelopment;
  const send = guardedFetch({ network, allowInsecure });
  const refusal = (url: string) => refusalOf(url, { allowInsecure });
  const connectors = connectorStub(env.CONNECTOR);
  const stub = sessionStub(env.SESSION);

  /** A server whoever may see it: for what the gateway does by itself. */
  const serverOf = (serverId: string) => registryStore.get(EVERY_ORG, serverId);
  const sendMarked = marked(send, config.hop);
  const sendTo = ({ connection_type, server_id }: ServerRecord): Send => {
    if (connection_type !== "inprocess") return sendMarked;
    const server = platform.inProcess.find(({ name }) => name === server_id);
    return async ({ url, ...init }) => server?.fetch(new Request(url, init)) ?? new Response(null, { status: 404 });
  };
  const credentialObjects = credentialStub(env.CREDENTIAL);
  const targetOf = createTargets({ sealer, memory: memory.leases, stub: credentialObjects, clock });
  const tokenStore = d1TokenStore(env.DB);
  const credentials = createCredentials({
    tokens: tokenStore,
    flows: d1FlowStore(env.DB),
    vault: kvVault(env.TOKENS, sealer),
    stub: credentialObjects,
    registry: {
      get: serverOf,
      recordSighting: registryStore.recordSighting,
      visible: (actor, serverId) => registry.visible(actor, serverId),
      editable: (actor, serverId) => registry.editable(actor, serverId),
    },
    registerAnew: connectors.register,
    onDeleted: () => memory.leases.clear(),
    sealer,
    send,
    refusalOf: refusal,
    allowInsecure,
    clock,
    newId,
  });
  const onWritten = () => {
    memory.snapshots.clear();
    memory.principals.clear();
  };
  const discover = async (serverId: string, self?: string) => {
    const discovered = await connectors.discover(serverId, self);
    onWritten();
    if (discovered.ok) return discovered.report;
    throw new GatewayError(discovered.code, discovered.message);
  };
  const sessions = createSessions({
    stub,
    memory: memory.sessions,
    upstreamMemory: memory.upstreamSessions,
    ttlMs: config.snapshotTtlMs,
    clock,
  });
  const runs = createSessionRuns({ stub, memory: memory.runs, clock });
  const blocklists = d1BlocklistStore(env.DB);
  const instructionsDeps: InstructionsDeps = {
    store: d1InstructionStore(env.DB),
    blocklists,
    hasGroup: async (orgId, groupId) => (await orgStore.group(orgId, groupId)) !== null,
    onWritten,
    clock,
  };
  const textOf = async (orgId: string) => (await orgStore.get(orgId))?.instructions ?? "";
  const builtIn = buildServer<ProvenCall>({
    ...instructionsDeps,
    ...PARTS_OF_DOORS,
    runs: runs.stacks,
    readmeOf: async (orgId) => (await orgStore.get(orgId))?.readme ?? "",
    businessOf: textOf,
    newId,
  });
  const toolCalls = createToolCalls({
    sendTo,
    sessions,
    connectors,
    flows: credentials.flows,
    sealer,
    liveParamHeaders: (...of) => catalog.liveParamHeaders(...of),
    onWritten,
    targetOf,
    builtIn,
    runs,
    loggedArguments: (args) => loggedArguments(args, config.redactedFields),
    clock,
    newId,
  });

  const catalog = createCatalog({
    store: { ...catalogStore, ...d1ChangeStore(env.DB) },
    serverFor: (actor, serverId, to) =>
      to === "see" ? registry.visible(actor, serverId) : registry.editable(actor, serverId),
    onWritten,
    clock,
    memory: memory.snapshots,
    cache,
    ttlMs: config.snapshotTtlMs,
  });

  /** Null: none is configured. */
  const identityProvider =
    config.oidc === null
      ? null
      : createIdentityProvider({
          settings: config.oidc,
          send,
          memory: memory.identityProvider,
          clock,
          allowInsecure,
        });
  const grants = createGrants({ kv: env.OAUTH_KV, store: d1GrantStore(env.DB), onWritten, clock, newId });
  const identity = createIdentity({
    adminKey: config.adminKey,
    defaultOrg: config.defaultOrg,
    keys: keyStore,
    members: memberStore,
    provider: identityProvider,
    grants,
    memory: memory.principals,
    clock,
  });
  const browsers = createBrowsers({
    store: d1BrowserStore(env.DB),
    provider: identityProvider?.canSignIn === true ? identityProvider : null,
    ofKey: identity.ofKey,
    members: memberStore,
    defaultOrg: config.defaultOrg,
    clock,
  });

  const virtualKeys = createVirtualKeys({
    store: keyStore,
    onWritten,
    onTokensDeleted: () => credentials.tokens.disposeNow(null),
    uses: memory.keyUses,
    clock,
    newId,
  });
  const connector = createConnector({
    registry: { ...registryStore, get: serverOf },
    catalog: catalogStore,
    targetOf,
    setUp: credentials.setUp.run,
    follow: credentials.setUp.follow,
    sendTo,
    clock,
    newId,
  });

  const registry = createRegistry({
    store: registryStore,
    sealer,
    refusalOf: refusal,
    onWritten,
    discover,
    tryConnect: connector.tryConnect,
    forget: connectors.forget,
    onTokensDeleted: credentials.tokens.disposeNow,
    approveHeld: catalog.approveHeld,
    clock,
    newId,
  });

  const calls = createCalls({ store: callStore, stats: d1CallStatsStore(env.DB) });
  /** Connects to a server with an account that has just been linked, and reads its tools (CN-30). */
  async function verifyLink(serverId: string, owner: Owner, self: string) {
    const discovered = await connectors.discover(serverId, self, owner);
    onWritten();
    return discovered.ok
      ? { tools: discovered.report.known, trouble: null }
      : { tools: 0, trouble: discovered.message };
  }

  const oauthConfigs = createOAuthConfigs({
    store: d1OAuthConfigStore(env.DB),
    flows: credentials.configFlows,
    authorizationServers: credentials.authorizationServers,
    registry,
    serverOf,
    tokens: credentials.tokens,
    tokenOf: (serverId) => tokenStore.get(SERVER_ITSELF, serverId),
    authorize: credentialObjects.authorize,
    revoke: credentials.parts.requests.revoke,
    verifyLink,
    countTools: async (serverId) => (await catalog.approved([serverId])).get(serverId)?.length ?? 0,
    sealer,
    clock,
    newId,
  });

  return {
    config,
    clock,
    send,
    /** Brings what code brings into the registry and the catalog; once for an isolate, before its first answer. */
    async provide(): Promise<void> {
      for (const server of platform.inProcess) {
        await registry.provide(server);
        await connector.discover(server.name);
        onWritten();
      }
    },
    sessions,
    toolCalls,
    toolLists: { catalog, memory: memory.toolPages, cache, clock },
    introductions: {
      textOf,
      builtInTextOf: builtIn.instructions,
      contextsOf: orgContextStore.ofOrg,
      memory: memory.toolPages,
      clock,
    },
    flows: credentials.flows,
    tokens: credentials.tokens,
    /** What each `Credential` object works with. */
    credentialParts: credentials.parts,
    verifyLink,
    callStore,
    runStore,
    runs: createRuns({ store: runStore, clock }),
    health: createHealth(env, sealer),
    registry,
    bifrostKeys: createBifrostKeys({ keys: virtualKeys }),
    oauthConfigs,
    bifrostClients: createClients({ registry, oauthConfigs, toolsOf: catalog.approved, keysOf: virtualKeys.ofServers }),
    catalog,
    orgContexts: createOrgContexts({
      store: orgContextStore,
      hasOrg: async (orgId) => (await orgStore.get(orgId)) !== null,
      onWritten,
      clock,
    }),
    virtualKeys,
    identityProvider,
    rateLimits: createRateLimits({
      perPrincipal: env.PRINCIPAL_RATE,
      perOrg: env.ORG_RATE,
      perAddress: env.ADDRESS_RATE,
    }),
    orgs: createOrgs({
      orgs: orgStore,
      members: memberStore,
      defaultOrg: config.defaultOrg,
      onWritten,
      onTokensDeleted: () => credentials.tokens.disposeNow(null),
      clock,
    }),
    instructions: createInstructions(instructionsDeps),
    instructionFiles: createInstructionFiles(instructionsDeps),
    blocklists: createBlocklists({ blocklists, onWritten }),
    identity,
    grants,
    browsers,
    readAsk: (url: URL) => readAsk(url, env.OAUTH_KV),
    /** Whose tokens are accepted besides the gateway's own. */
    issuers: config.oidc === null ? [] : [config.oidc.issuer],
    calls,
    mcpLogs: createMcpLogs({ calls }),
    /** What the scheduled handler does to the call log. */
    sweepCalls: () =>
      sweepCalls({
        store: d1RetentionStore(env.DB),
        archive: archiveBucket === undefined ? null : r2CallArchive(archiveBucket),
        clock,
      }),
    journal: createJournal({ memory: memory.journal, send: stub.journal, mode: config.journalMode, gatherMs, clock }),
    telemetry: createTelemetry({ settings: config.telemetry, memory: memory.telemetry, send, clock }),
    connector,
    upstreamSessions: createUpstreamSessions({ serverOf, targetOf, sendTo, clock, ttlMs: config.snapshotTtlMs }),
  };
}
