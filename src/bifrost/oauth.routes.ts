/** OAuth on the Bifrost surface: how far a configuration is, and where a browser comes back to. */
import { type Context, Hono } from "hono";
import { FAILURES, failureHeaders, GatewayError } from "../failure/gateway-error.ts";
import type { AppEnv } from "../http/app-env.ts";
import { pageHeaders } from "../http/html-page.ts";
import { operation, refuseOtherMethods } from "../http/operation.ts";
import { checkHeaderSizes } from "../http/security.ts";
import { Done } from "./bifrost.wire.ts";
import { failurePage, SUCCESS_SCRIPT, successPage } from "./oauth.page.ts";
import { Completed, OAuthConfigStatus } from "./oauth.wire.ts";
import { OAUTH_CALLBACK } from "./oauth-configs.ts";
import { bifrostSurface } from "./surface.ts";

export const oauthOperations = [
  operation(
    {
      surface: bifrostSurface,
      id: "complete_mcp_client_oauth",
      method: "POST",
      path: "/api/mcp/client/:id/complete-oauth",
      needs: "platform_admin",
      summary: "Connect to an MCP client whose OAuth configuration is authorized, and store it",
      status: 200,
      answer: Completed,
      failures: ["invalid_request", "conflict", "connect_failed"],
    },
    async ({ services, principal, param, self }) => services.oauthConfigs.complete(principal, param("id"), self),
  ),
  operation(
    {
      surface: bifrostSurface,
      id: "get_oauth_config_status",
      method: "GET",
      path: "/api/oauth/config/:id/status",
      needs: "platform_admin",
      summary: "Read how far an OAuth configuration is",
      status: 200,
      answer: OAuthConfigStatus,
    },
    async ({ services, param }) => services.oauthConfigs.status(param("id")),
  ),
  operation(
    {
      surface: bifrostSurface,
      id: "revoke_oauth_config",
      method: "DELETE",
      path: "/api/oauth/config/:id",
      needs: "platform_admin",
      summary: "Revoke and delete the token of an OAuth configuration",
      status: 200,
      answer: Done,
      failures: ["conflict"],
    },
    async ({ services, principal, param }) => {
      await services.oauthConfigs.revoke(principal, param("id"));
      return { status: "success" as const, message: "OAuth token revoked successfully" };
    },
  ),
];

/** The one door of this surface that is for browsers: it answers with pages. */
export function createOAuthCallback(onFailure: (error: GatewayError, c: Context<AppEnv>) => void): Hono<AppEnv> {
  const door = new Hono<AppEnv>();
  door.get(OAUTH_CALLBACK, async (c) => {
    checkHeaderSizes(c.req.raw.headers);
    const redeemed = await c.var.services.oauthConfigs.comeBack(new URL(c.req.url).searchParams);
    if (redeemed.ok) return c.html(successPage(), 200, pageHeaders(undefined, SUCCESS_SCRIPT));
    return c.html(failurePage(redeemed.message, redeemed.denial), 400, pageHeaders());
  });
  refuseOtherMethods(door, OAUTH_CALLBACK, "GET");
  door.onError((thrown, c) => {
    const error = GatewayError.from(thrown);
    onFailure(error, c);
    for (const [name, value] of Object.entries(failureHeaders(error))) c.header(name, value);
    return c.html(failurePage(error.message), FAILURES[error.code].status, pageHeaders());
  });
  return door;
}
