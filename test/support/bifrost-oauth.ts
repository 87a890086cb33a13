/** A server of the Bifrost surface that waits for an account, in front of the authorization server that gives it. */
import { expect } from "vitest";
import type { AuthorizationServer } from "./authorization-server.ts";
import { bifrostOf, HTTP } from "./bifrost.ts";
import { callbackOf, type ProtectedWorld, protectedWorld } from "./protected.ts";

/** What BF-23 answers. */
export interface Pending {
  readonly status: string;
  readonly message: string;
  readonly oauth_config_id: string;
  readonly authorize_url: string;
  readonly expires_at: string;
  readonly mcp_client_id: string;
  readonly complete_url: string;
  readonly status_url: string;
  readonly next_steps: readonly string[];
}

export interface OAuthWorld extends ProtectedWorld {
  readonly bifrost: ReturnType<typeof bifrostOf>;
  /** A create that must begin a flow. */
  readonly begin: (fields?: Record<string, unknown>) => Promise<Pending>;
  /** Agrees to it, and comes back. */
  readonly agree: (pending: Pending, as?: AuthorizationServer) => Promise<Response>;
  /** Both, which must succeed. */
  readonly authorized: (fields?: Record<string, unknown>) => Promise<Pending>;
  readonly complete: (id: string) => Promise<Response>;
  /** The answer of BF-47. */
  readonly statusOf: (id: string) => Promise<Record<string, unknown>>;
}

/** A create that begins a flow, everything about its account left out. */
export const OAUTH = { ...HTTP, client_id: "docs", auth_type: "oauth", oauth_config: {}, tools_to_execute: ["*"] };

export function oauthWorld(...options: Parameters<typeof protectedWorld>): OAuthWorld {
  const world = protectedWorld(...options);
  const bifrost = bifrostOf(world.gateway);
  const begin = async (fields = {}) => {
    const response = await bifrost.create({ ...OAUTH, ...fields });
    const body = await response.json<Pending>();
    expect({ status: response.status, body }).toMatchObject({ status: 200, body: { status: "pending_oauth" } });
    return body;
  };
  const agree = async ({ authorize_url }: Pending, as = world.as) =>
    world.gateway.fetch(callbackOf(as.visit(authorize_url)));
  return {
    ...world,
    bifrost,
    begin,
    agree,
    async authorized(fields = {}) {
      const pending = await begin(fields);
      const back = await agree(pending);
      expect({ status: back.status, text: back.status === 200 ? "" : await back.text() }).toMatchObject({
        status: 200,
      });
      return pending;
    },
    complete: (id) => bifrost.send("POST", `/api/mcp/client/${id}/complete-oauth`),
    async statusOf(id) {
      const response = await bifrost.send("GET", `/api/oauth/config/${id}/status`);
      expect(response.status).toBe(200);
      return response.json();
    },
  };
}

export const CONNECTED = { status: "success", message: "MCP client connected successfully with OAuth" };
