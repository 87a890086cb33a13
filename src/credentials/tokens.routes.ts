import * as z from "zod";
import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { PageQuery } from "../http/page.wire.ts";
import { McpTokenRecord, StartedLink, TokenQuery } from "./tokens.wire.ts";

const Deleted = z.strictObject({ deleted: z.literal(true) });

export const tokenOperations = [
  operation(
    {
      method: "POST",
      path: "/v1/servers/:server_id/oauth/start",
      needs: "user",
      summary: "Begin to link an account with a server; for oauth servers, by those who may edit them",
      status: 200,
      answer: StartedLink,
      failures: ["conflict", "invalid_request"],
    },
    async ({ services, principal, param, self }) => {
      const { url, state } = await services.tokens.start(principal, param("server_id"), self);
      return { authorization_url: url, state };
    },
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/token",
      needs: "user",
      summary: "Read what is known of one's own token; for oauth servers, of the shared one",
      status: 200,
      answer: McpTokenRecord,
      failures: ["invalid_request"],
    },
    async ({ services, principal, param }) => services.tokens.get(principal, param("server_id")),
  ),
  operation(
    {
      method: "DELETE",
      path: "/v1/servers/:server_id/token",
      needs: "user",
      summary: "Delete one's own token, here and at its authorization server; for oauth servers, the shared one",
      status: 200,
      answer: Deleted,
      failures: ["invalid_request"],
    },
    async ({ services, principal, param }) => {
      await services.tokens.removeOwn(principal, param("server_id"));
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/tokens",
      needs: "org_admin",
      summary: "List the org's tokens for a server",
      query: PageQuery,
      status: 200,
      answer: pageOf(McpTokenRecord),
    },
    async ({ services, principal, param, query }) => services.tokens.ofServer(principal, param("server_id"), query),
  ),
  operation(
    {
      id: "delete_user_token",
      method: "DELETE",
      path: "/v1/servers/:server_id/tokens/:user_id",
      needs: "org_admin",
      summary: "Delete a user's token for a server",
      status: 200,
      answer: Deleted,
    },
    async ({ services, principal, param }) => {
      await services.tokens.removeOf(principal, param("server_id"), param("user_id"));
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "GET",
      path: "/v1/tokens",
      needs: "user",
      summary: "List one's own tokens in the org; its admins may name a user, or * for all",
      query: TokenQuery,
      status: 200,
      answer: pageOf(McpTokenRecord),
    },
    async ({ services, principal, query }) => services.tokens.list(principal, query),
  ),
];
