/**
 * Flows of configurations that wait for their server: an admin of the platform begins one, and it goes straight to the
 * authorization server, without a ticket, a page or a cookie of ours (PS-55). The token is the caller's to keep.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import { sha256Hex } from "../platform/hash.ts";
import { randomToken } from "../platform/ids.ts";
import { authorizationUrl, type Callback, checkCallback, type Denial } from "./authorization-request.ts";
import type { Flow } from "./flows.store.ts";
import { FLOW_MS, type FlowsDeps, isOver, verifierOwner } from "./flows.ts";
import { SERVER_ITSELF } from "./owner.ts";
import type { TokenClient } from "./token.ts";
import type { TokenAnswer } from "./token-answer.ts";

export type ConfigFlowsDeps = Pick<FlowsDeps, "store" | "sealer" | "exchangeCode" | "allowInsecure" | "clock">;

/** What a flow is begun with. */
export interface ConfigFlowAsk {
  /** The id of the configuration, and of its flow. */
  readonly config_id: string;
  /** The id that the server will have. */
  readonly server_id: string;
  readonly authorization_endpoint: string;
  readonly client: TokenClient;
  readonly scopes: readonly string[];
  /** Fixed with the flow (BF-28). */
  readonly redirectUri: string;
}

/** What came of a callback. */
export type Redeemed =
  | { readonly ok: true; readonly answer: TokenAnswer }
  /** In words of ours; what the authorization server says itself stands beside them. */
  | { readonly ok: false; readonly message: string; readonly denial?: Denial };

export type ConfigFlows = ReturnType<typeof createConfigFlows>;

export function createConfigFlows({ store, sealer, exchangeCode, allowInsecure, clock }: ConfigFlowsDeps) {
  return {
    /**
     * Begins a flow.
     *
     * @returns Where to send the browser, and until when it may come back, in milliseconds since the Unix epoch.
     * @throws GatewayError `invalid_request` when there is no endpoint that a browser may be sent to
     */
    async start(ask: ConfigFlowAsk): Promise<{ readonly url: string; readonly expires_at: number }> {
      const { config_id, server_id, authorization_endpoint, client, scopes, redirectUri } = ask;
      const state = randomToken(32);
      const verifier = randomToken(32);
      const { client_id, resource } = client;
      const request = { authorization_endpoint, client_id, redirectUri, state, verifier, scopes, resource };
      const url = await authorizationUrl({ ...request, extra_auth_params: {} }, allowInsecure);
      const now = clock();
      const expires_at = now + FLOW_MS;
      const flow: Flow = {
        flow_id: config_id,
        ticket_hash: null,
        state_hash: sha256Hex(state),
        kind: "config",
        server_id,
        ...SERVER_ITSELF,
        person: null,
        scopes,
        browser_hash: null,
        redirect_uri: redirectUri,
        verifier_sealed: await sealer.seal(verifier, verifierOwner(config_id)),
        issuer: client.issuer,
        expires_at,
      };
      await store.start(flow, now);
      return { url, expires_at };
    },

    /** Takes the flow of a state that has come back: once, within its time. @throws GatewayError `invalid_state` */
    async take(state: string): Promise<Flow> {
      const flow = await store.take(sha256Hex(state), null, clock());
      if (flow === null) throw isOver();
      return flow;
    },

    /** Redeems the code of a callback (CN-28). @param iss_required Whether the callback must name its issuer. */
    async redeem(
      { flow_id, redirect_uri, verifier_sealed, issuer }: Flow,
      callback: URLSearchParams,
      { client, iss_required }: { readonly client: TokenClient; readonly iss_required: boolean },
    ): Promise<Redeemed> {
      if (redirect_uri === null || verifier_sealed === null || issuer === null) {
        throw new GatewayError("internal", "A flow has no request.");
      }
      const state = callback.get("state") ?? "";
      const checked: Callback = checkCallback(callback, { issuer, iss_required, state });
      if (!checked.ok) return checked;
      const verifier = await sealer.open(verifier_sealed, verifierOwner(flow_id));
      const code = { code: checked.code, redirectUri: redirect_uri, verifier };
      const outcome = await exchangeCode(client, code);
      return outcome.ok ? outcome : { ok: false, message: outcome.message };
    },
  };
}
