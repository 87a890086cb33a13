/** The OAuth part of the Bifrost surface: its routes are there and say that what they do is not. */
import { type ApiSpec, operation } from "../http/operation.ts";
import { Done } from "./bifrost.wire.ts";
import { oauthMissing } from "./client-input.ts";
import { bifrostSurface } from "./surface.ts";

const routes: readonly Pick<ApiSpec, "id" | "method" | "path" | "needs" | "summary">[] = [
  {
    id: "complete_mcp_client_oauth",
    method: "POST",
    path: "/api/mcp/client/:id/complete-oauth",
    needs: "platform_admin",
    summary: "Store an MCP client whose OAuth flow is done (not implemented)",
  },
  {
    id: "finish_oauth_flow",
    method: "GET",
    path: "/api/oauth/callback",
    // A browser comes here from an authorization server, without a credential of ours.
    needs: "anyone",
    summary: "Where an authorization server sends the browser back to (not implemented)",
  },
  {
    id: "get_oauth_config_status",
    method: "GET",
    path: "/api/oauth/config/:id/status",
    needs: "platform_admin",
    summary: "Read how far an OAuth flow is (not implemented)",
  },
  {
    id: "revoke_oauth_config",
    method: "DELETE",
    path: "/api/oauth/config/:id",
    needs: "platform_admin",
    summary: "Revoke and delete the token of an OAuth configuration (not implemented)",
  },
];

export const oauthOperations = routes.map((route) =>
  operation(
    { ...route, surface: bifrostSurface, status: 200, answer: Done, failures: ["not_implemented"] },
    async () => {
      throw oauthMissing();
    },
  ),
);
