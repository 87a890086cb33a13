import * as z from "zod";
import { operation } from "../http/operation.ts";
import { ClientCreate, ClientList, ClientQuery, ClientUpdate, Done, PartlyDone } from "./bifrost.wire.ts";
import { PendingOAuth } from "./oauth.wire.ts";
import { bifrostSurface } from "./surface.ts";

const done = (message: string) => ({ status: "success" as const, message });

export const clientOperations = [
  operation(
    {
      surface: bifrostSurface,
      method: "GET",
      path: "/api/mcp/clients",
      needs: "platform_admin",
      summary: "List MCP clients",
      query: ClientQuery,
      status: 200,
      answer: ClientList,
    },
    async ({ services, principal, query }) => services.bifrostClients.list(principal, query),
  ),
  operation(
    {
      surface: bifrostSurface,
      id: "create_mcp_client",
      method: "POST",
      path: "/api/mcp/client",
      needs: "platform_admin",
      summary: "Connect to an MCP client and store it, or begin to authorize the gateway for it",
      body: ClientCreate,
      status: 200,
      answer: z.union([Done, PendingOAuth]),
      failures: ["conflict", "connect_failed", "upstream_failed"],
    },
    async ({ services, principal, body, self, waitUntil }) =>
      services.bifrostClients.create(principal, body, self, waitUntil),
  ),
  operation(
    {
      surface: bifrostSurface,
      id: "update_mcp_client",
      method: "PUT",
      path: "/api/mcp/client/:id",
      needs: "platform_admin",
      summary: "Change the given fields of an MCP client",
      body: ClientUpdate,
      status: 200,
      answer: z.union([Done, PartlyDone]),
      failures: ["read_only", "conflict"],
    },
    async ({ services, principal, param, body, self }) => {
      const credential_error = await services.bifrostClients.update(principal, param("id"), body, self);
      if (credential_error === null) return done("MCP client edited successfully");
      const message = "MCP client edited, but it does not connect with the new headers: the former ones stay";
      return { status: "partial_success" as const, message, credential_error };
    },
  ),
  operation(
    {
      surface: bifrostSurface,
      id: "delete_mcp_client",
      method: "DELETE",
      path: "/api/mcp/client/:id",
      needs: "platform_admin",
      summary: "Remove an MCP client, its tools and its key assignments",
      status: 200,
      answer: Done,
      failures: ["read_only"],
    },
    async ({ services, principal, param }) => {
      await services.bifrostClients.remove(principal, param("id"));
      return done("MCP client removed successfully");
    },
  ),
  operation(
    {
      surface: bifrostSurface,
      id: "reconnect_mcp_client",
      method: "POST",
      path: "/api/mcp/client/:id/reconnect",
      needs: "platform_admin",
      summary: "Connect to an MCP client anew",
      status: 200,
      answer: Done,
      failures: ["read_only", "invalid_request", "connect_failed"],
    },
    async ({ services, principal, param, self }) => {
      await services.bifrostClients.reconnect(principal, param("id"), self);
      return done("MCP client reconnected successfully");
    },
  ),
];
