import * as z from "zod";
import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { isoTime } from "../platform/clock.ts";
import type { OpenServer } from "./registry.ts";
import { AllowlistQuery, AllowlistView, ServerInput, ServerPatch, ServerQuery, ServerView } from "./registry.wire.ts";
import { DEFAULT_TIMEOUT_MS } from "./server-record.ts";

export const registryOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/servers",
      needs: "platform_admin",
      summary: "List servers",
      query: ServerQuery,
      status: 200,
      answer: pageOf(ServerView),
    },
    async ({ services, query }) => {
      const page = await services.registry.list(query);
      return { ...page, rows: page.rows.map(viewOf) };
    },
  ),
  operation(
    {
      method: "POST",
      path: "/v1/servers",
      needs: "platform_admin",
      summary: "Register a server, connect to it and discover its tools",
      body: ServerInput,
      status: 201,
      answer: ServerView,
      failures: ["conflict"],
    },
    async ({ services, principal, body }) => viewOf(await services.registry.register(principal.id, body)),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id",
      needs: "platform_admin",
      summary: "Read a server",
      status: 200,
      answer: ServerView,
    },
    async ({ services, param }) => viewOf(await services.registry.get(param("server_id"))),
  ),
  operation(
    {
      method: "PATCH",
      path: "/v1/servers/:server_id",
      needs: "platform_admin",
      summary: "Change the given fields of a server",
      body: ServerPatch,
      status: 200,
      answer: ServerView,
      failures: ["conflict"],
    },
    async ({ services, principal, param, body }) =>
      viewOf(await services.registry.update(param("server_id"), principal.id, body)),
  ),
  operation(
    {
      method: "POST",
      path: "/v1/servers/:server_id/reconnect",
      needs: "platform_admin",
      summary: "Connect to a server anew",
      status: 200,
      answer: ServerView,
      failures: ["invalid_request", "upstream_failed", "upstream_timeout"],
    },
    async ({ services, param }) => viewOf(await services.registry.reconnect(param("server_id"))),
  ),
  operation(
    {
      method: "DELETE",
      path: "/v1/servers/:server_id",
      needs: "platform_admin",
      summary: "Delete a server, its tools, its changes and its key assignments",
      status: 200,
      answer: z.strictObject({ deleted: z.literal(true) }),
    },
    async ({ services, param }) => {
      await services.registry.remove(param("server_id"));
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "GET",
      path: "/v1/allowlist",
      needs: "platform_admin",
      summary: "What the Worker may reach, and the events of the writes that changed it",
      query: AllowlistQuery,
      status: 200,
      answer: AllowlistView,
    },
    async ({ services, query }) => {
      const { entries, events } = await services.registry.allowlist(query);
      const rows = events.rows.map((event) => ({ ...event, created_at: isoTime(event.created_at) }));
      return { entries, events: { ...events, rows } };
    },
  ),
];

function viewOf({ record, config, allowed_tools }: OpenServer): ServerView {
  const { last_failure } = record;
  return {
    server_id: record.server_id,
    name: record.name,
    display_name: record.display_name,
    connection_type: record.connection_type,
    server_url: record.server_url,
    enabled: record.enabled,
    timeout_ms: record.timeout_ms ?? DEFAULT_TIMEOUT_MS,
    auth_type: record.auth_type,
    config,
    allowed_tools,
    tool_mode: record.tool_mode,
    definition_policy: record.definition_policy,
    allow_on_all_virtual_keys: record.allow_on_all_virtual_keys,
    is_ping_available: record.is_ping_available,
    status: record.status,
    state: record.state,
    last_failure: last_failure === null ? null : { ...last_failure, at: isoTime(last_failure.at) },
    created: isoTime(record.created),
    created_by: record.created_by,
    modified: isoTime(record.modified),
    modified_by: record.modified_by,
  };
}
