/**
 * Linking an upstream account: from the ticket that somebody is shown, over the authorization server, to the token
 * (PS-54, RB-35, RB-36). The authorization code flow with PKCE; the gateway is the client.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import type { Clock } from "../platform/clock.ts";
import { hmacBase64Url, sha256Hex } from "../platform/hash.ts";
import { type NewId, randomToken } from "../platform/ids.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import { authorizationUrl, checkCallback } from "./authorization-request.ts";
import type { CredentialStub } from "./credential.stub.ts";
import { scopesOf } from "./credential.ts";
import type { Flow, FlowStore } from "./flows.store.ts";
import { isServerItself, isTrial, type Owner } from "./owner.ts";
import type { Sealer } from "./sealing.ts";
import type { TokenClient, TokenRow } from "./token.ts";
import type { TokenOutcome } from "./token-answer.ts";
import type { TokenStore } from "./tokens.store.ts";

export interface FlowsDeps {
  readonly store: FlowStore;
  readonly tokens: Pick<TokenStore, "get">;
  readonly serverOf: (serverId: string) => Promise<ServerRecord | null>;
  readonly clientOf: (record: ServerRecord) => Promise<TokenClient>;
  readonly exchangeCode: (
    client: TokenClient,
    code: { readonly code: string; readonly redirectUri: string; readonly verifier: string },
  ) => Promise<TokenOutcome>;
  readonly authorize: CredentialStub["authorize"];
  /** Registers the gateway anew, so that its client knows an origin. @param refused The present client id. */
  readonly registerAnew: (serverId: string, refused: string, self: string) => Promise<boolean>;
  readonly sealer: Pick<Sealer, "seal" | "open">;
  readonly allowInsecure: boolean;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** What somebody is given to link an account with. */
export interface Link {
  readonly flow_id: string;
  /** On our own origin; holds a ticket that is good once. */
  readonly url: string;
  /** What the authorization server will bring back. */
  readonly state: string;
  /** Milliseconds since the Unix epoch. */
  readonly expires_at: number;
}

/** What a flow is for. */
export interface LinkAsk {
  /** `SERVER_ITSELF`: for everybody who may use the server. */
  readonly owner: Owner;
  /** The id of the principal that must be at the browser; null: whoever holds the link. */
  readonly person: string | null;
  /** The gateway's own origin. */
  readonly self: string;
  /** Scopes to ask for besides those of the server. */
  readonly scopes: readonly string[];
}

/** A flow and the server that it is for. */
export interface OpenFlow {
  readonly flow: Flow;
  readonly record: ServerRecord;
}

export const FLOW_MS = 600_000;
export const CONNECT_CALLBACK = "/connect/callback";

export type Flows = ReturnType<typeof createFlows>;

export function createFlows(deps: FlowsDeps) {
  const { store, tokens, serverOf, clientOf, sealer, clock, newId } = deps;

  /** @throws GatewayError `invalid_state` */
  async function requireServer(flow: Flow | null): Promise<OpenFlow> {
    const record = flow === null ? null : await serverOf(flow.server_id);
    if (flow === null || record === null) throw isOver();
    const isUsers = record.auth_type === "per_user_oauth";
    if (
      record.status !== "active" ||
      (!isUsers && record.auth_type !== "oauth") ||
      isUsers === (flow.kind === "server")
    ) {
      throw new GatewayError("invalid_state", "The server was changed in the meantime. Start again.");
    }
    return { flow, record };
  }

  /**
   * The same once the client knows where this browser will come back to: the provider would refuse to send it there
   * . Whether that could be arranged, the provider says in any case.
   */
  async function knownAt(opened: OpenFlow, self: string): Promise<OpenFlow> {
    const { registration_mode, registered_origins, server_id, client_id } = opened.record;
    const isKnown = registered_origins.length === 0 || registered_origins.includes(self);
    if (registration_mode !== "dcr" || isKnown || !(await deps.registerAnew(server_id, client_id, self))) return opened;
    return requireServer(opened.flow);
  }

  /**
   * Begins a flow (RB-35).
   *
   * @throws GatewayError `conflict` for a server whose registration is not complete
   */
  async function start(record: ServerRecord, { owner, person, self, scopes }: LinkAsk): Promise<Link> {
    if (record.status !== "active") {
      throw new GatewayError("conflict", "The server's registration is not complete, so nobody can link an account.");
    }
    const ticket = randomToken(32);
    const state = stateOf(ticket);
    const now = clock();
    const flow: Flow = {
      flow_id: newId("flow"),
      ticket_hash: sha256Hex(ticket),
      state_hash: sha256Hex(state),
      kind: isServerItself(owner) ? "server" : isTrial(owner) ? "trial" : "user",
      server_id: record.server_id,
      ...owner,
      person,
      scopes,
      browser_hash: null,
      redirect_uri: null,
      verifier_sealed: null,
      issuer: null,
      expires_at: now + FLOW_MS,
    };
    await store.start(flow, now);
    return { flow_id: flow.flow_id, url: `${self}/connect/${ticket}`, state, expires_at: flow.expires_at };
  }

  return {
    start,

    /**
     * Begins a flow for more scopes than the owner has granted (P-62): those, and the granted ones.
     *
     * @returns Null when all of them have been granted already: another consent would change nothing.
     */
    async startWider(record: ServerRecord, ask: LinkAsk): Promise<Link | null> {
      const granted = (await tokens.get(ask.owner, record.server_id))?.scopes ?? [];
      if (ask.scopes.every((scope) => granted.includes(scope))) return null;
      return start(record, { ...ask, scopes: [...new Set([...granted, ...ask.scopes])] });
    },

    /** The flow of a ticket, which is not used up by looking. @throws GatewayError `invalid_state` */
    async ofTicket(ticket: string): Promise<OpenFlow> {
      return requireServer(await store.ofTicket(sha256Hex(ticket), clock()));
    },

    /**
     * Uses up a ticket.
     *
     * @param browser The secret of the browser that will come back.
     * @returns Where to send it: the authorization endpoint.
     * @throws GatewayError `invalid_state`
     */
    async depart(ticket: string, browser: string, self: string): Promise<string> {
      const opened = await requireServer(await store.ofTicket(sha256Hex(ticket), clock()));
      const { flow, record } = await knownAt(opened, self);
      const verifier = randomToken(32);
      const redirect_uri = `${self}${CONNECT_CALLBACK}`;
      const client = await clientOf(record);
      const request = {
        authorization_endpoint: record.authorization_endpoint,
        client_id: client.client_id,
        redirectUri: redirect_uri,
        state: stateOf(ticket),
        verifier,
        scopes: [...new Set([...scopesOf(record), ...flow.scopes])],
        resource: client.resource,
        extra_auth_params: record.extra_auth_params,
      };
      const location = await authorizationUrl(request, deps.allowInsecure);
      const departure = {
        browser_hash: sha256Hex(browser),
        redirect_uri,
        verifier_sealed: await sealer.seal(verifier, verifierOwner(flow.flow_id)),
        issuer: record.oauth_issuer_url,
      };
      if (!(await store.depart(sha256Hex(ticket), departure, clock()))) throw isOver();
      return location;
    },

    /** Takes the flow that a browser has come back with: once, within its time. @throws GatewayError `invalid_state` */
    async take(state: string, browser: string): Promise<OpenFlow> {
      return requireServer(await store.take(sha256Hex(state), sha256Hex(browser), clock()));
    },

    /**
     * Redeems the code of a callback and stores the token.
     *
     * @throws GatewayError `invalid_state` for what is not the answer to this flow; `link_failed` for a refusal of the
     *   person, or of the authorization server; in neither case is anything stored
     */
    async finish({ flow, record }: OpenFlow, callback: URL): Promise<TokenRow> {
      const { redirect_uri, verifier_sealed, issuer } = flow;
      if (redirect_uri === null || verifier_sealed === null || issuer !== record.oauth_issuer_url) {
        throw new GatewayError("invalid_state", "The server was changed in the meantime. Start again.");
      }
      const state = callback.searchParams.get("state") ?? "";
      const checked = checkCallback(callback.searchParams, { issuer, iss_required: record.iss_required, state });
      if (!checked.ok) {
        throw new GatewayError(checked.reason === "denied" ? "link_failed" : "invalid_state", checked.message);
      }
      const verifier = await sealer.open(verifier_sealed, verifierOwner(flow.flow_id));
      const client = await clientOf(record);
      const code = { code: checked.code, redirectUri: redirect_uri, verifier };
      const outcome = await deps.exchangeCode(client, code);
      if (!outcome.ok) throw new GatewayError("link_failed", outcome.message);
      const scopes = [...new Set([...scopesOf(record), ...flow.scopes])];
      const owner = { org_id: flow.org_id, user_id: flow.user_id };
      const row = await deps.authorize(record.server_id, owner, { answer: outcome.answer, client, scopes });
      if (row === null) throw isOver();
      return row;
    },
  };
}

/** Made from the ticket, so that neither is stored and either can be told from the other only one way. */
function stateOf(ticket: string): string {
  return hmacBase64Url(ticket, "state");
}

/** Whose sealed value the verifier of a flow is. */
export function verifierOwner(flowId: string): string {
  return `flow:${flowId}:verifier`;
}

export function isOver(): GatewayError {
  return new GatewayError("invalid_state", "Invalid or expired state");
}
