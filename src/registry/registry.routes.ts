import * as z from "zod";
import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { PageQuery } from "../http/page.wire.ts";
import { isoTime } from "../platform/clock.ts";
import type { OpenServer } from "./open-server.ts";
import { type Actor, mayEdit } from "./reach.ts";
import {
  AllowedTools,
  AllowlistEntryView,
  AllowlistEventView,
  CopySource,
  OrgIds,
  ServerInput,
  ServerPatch,
  ServerQuery,
  ServerView,
} from "./registry.wire.ts";
import { DEFAULT_TIMEOUT_MS } from "./server-record.ts";

export const registryOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/servers",
      needs: "member",
      summary: "List servers",
      query: ServerQuery,
      status: 200,
      answer: pageOf(ServerView),
    },
    async ({ services, principal, query, namedOrg }) => {
      const page = await services.registry.list(principal, query, namedOrg);
      return { ...page, rows: page.rows.map((server) => viewOf(principal, server)) };
    },
  ),
  operation(
    {
      method: "POST",
      path: "/v1/servers",
      needs: "org_admin",
      summary: "Register a server, connect to it and discover its tools",
      body: ServerInput,
      status: 201,
      answer: ServerView,
      failures: ["conflict"],
    },
    async ({ services, principal, body, self }) =>
      viewOf(principal, await services.registry.register(principal, body, self)),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id",
      needs: "member",
      summary: "Read a server",
      status: 200,
      answer: ServerView,
    },
    async ({ services, principal, param }) =>
      viewOf(principal, await services.registry.get(principal, param("server_id"))),
  ),
  operation(
    {
      method: "PATCH",
      path: "/v1/servers/:server_id",
      needs: "org_admin",
      summary: "Change the given fields of a server",
      body: ServerPatch,
      status: 200,
      answer: ServerView,
      failures: ["read_only", "conflict"],
    },
    async ({ services, principal, param, body, self }) =>
      viewOf(principal, await services.registry.update(principal, param("server_id"), body, self)),
  ),
  operation(
    {
      method: "POST",
      path: "/v1/servers/:server_id/reconnect",
      needs: "org_admin",
      summary: "Connect to a server anew",
      status: 200,
      answer: ServerView,
      failures: ["read_only", "invalid_request", "conflict", "upstream_failed", "upstream_timeout"],
    },
    async ({ services, principal, param, self }) =>
      viewOf(principal, await services.registry.reconnect(principal, param("server_id"), self)),
  ),
  operation(
    {
      method: "DELETE",
      path: "/v1/servers/:server_id",
      needs: "org_admin",
      summary: "Delete a server, its tools, its changes and its key assignments",
      status: 200,
      answer: z.strictObject({ deleted: z.literal(true) }),
      failures: ["read_only"],
    },
    async ({ services, principal, param }) => {
      await services.registry.remove(principal, param("server_id"));
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "PUT",
      path: "/v1/servers/:server_id/org-ids",
      needs: "platform_admin",
      summary: "Replace the orgs that may see a server; none means all",
      body: OrgIds,
      status: 200,
      answer: ServerView,
      failures: ["read_only"],
    },
    async ({ services, principal, param, body }) =>
      viewOf(principal, await services.registry.setOrgs(principal, param("server_id"), body.org_ids)),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/allowed-tools",
      needs: "org_admin",
      summary: "Read the tool policy of a server",
      status: 200,
      answer: AllowedTools,
    },
    async ({ services, principal, param }) => {
      const { allowed_tools } = await services.registry.get(principal, param("server_id"));
      return { allowed_tools };
    },
  ),
  operation(
    {
      method: "PUT",
      path: "/v1/servers/:server_id/allowed-tools",
      needs: "org_admin",
      summary: "Replace the tool policy of a server",
      body: AllowedTools,
      status: 200,
      answer: ServerView,
      failures: ["read_only"],
    },
    async ({ services, principal, param, body }) =>
      viewOf(principal, await services.registry.setAllowedTools(principal, param("server_id"), body.allowed_tools)),
  ),
  operation(
    {
      method: "POST",
      path: "/v1/servers/:server_id/allowed-tools/copy",
      needs: "org_admin",
      summary: "Copy the tool policy of another server",
      body: CopySource,
      status: 200,
      answer: ServerView,
      failures: ["read_only"],
    },
    async ({ services, principal, param, body }) =>
      viewOf(principal, await services.registry.copyAllowedTools(principal, param("server_id"), body.source_server_id)),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/allowlist",
      needs: "platform_admin",
      summary: "What the Worker may reach, and the events of the writes that changed it",
      query: PageQuery,
      status: 200,
      answer: z.strictObject({ entries: z.array(AllowlistEntryView), events: pageOf(AllowlistEventView) }),
    },
    async ({ services, query }) => {
      const { entries, events } = await services.registry.allowlist(query);
      const rows = events.rows.map((event) => ({ ...event, created_at: isoTime(event.created_at) }));
      return { entries, events: { ...events, rows } };
    },
  ),
];

/** What an actor is shown of a server: members see what it takes to use it, and editors all but its `config` (PS-51). */
function viewOf(actor: Actor, server: OpenServer): ServerView {
  const {
    config_sealed: _c,
    client_secret_sealed: _s,
    auto_all: _a,
    era: _e,
    server_info: _i,
    capabilities: _ca,
    connection_detected: _d,
    oauth_found: _of,
    scopes_found: _sf,
    oauth_resource: _r,
    registered_origins: _ro,
    iss_required: _ir,
    oauth_config_id: _oc,
    instructions,
    approved_instructions,
    ...shown
  } = server.record;
  const { last_failure, timeout_ms, server_url, stdio_config, created_by, modified_by, ...common } = shown;
  const { authorization_endpoint, token_endpoint, registration_endpoint, revocation_endpoint, ...rest } = common;
  const { extra_auth_params, token_endpoint_auth_method, ...open } = rest;
  const isEditor = mayEdit(actor, server.org_ids);
  const failure = last_failure === null ? null : { ...last_failure, at: isoTime(last_failure.at) };
  const editorsOnly = {
    stdio_config:
      stdio_config === null ? null : { ...stdio_config, args: [...stdio_config.args], envs: [...stdio_config.envs] },
    authorization_endpoint,
    token_endpoint,
    registration_endpoint,
    revocation_endpoint,
    extra_auth_params,
    token_endpoint_auth_method,
    created_by,
    modified_by,
  };
  return {
    ...open,
    ...(isEditor ? editorsOnly : {}),
    ...(actor.isPlatformAdmin ? { config: server.config } : {}),
    server_url: server_url === "" ? null : isEditor ? server_url : withoutQuery(server_url),
    timeout_ms: timeout_ms ?? DEFAULT_TIMEOUT_MS,
    instructions: instructions === null ? null : approved_instructions,
    scopes: [...open.scopes],
    org_ids: [...server.org_ids],
    allowed_tools: server.allowed_tools,
    tools_to_auto_execute: [...server.tools_to_auto_execute],
    tool_pricing: server.tool_pricing,
    last_failure: failure === null || isEditor ? failure : { stage: failure.stage, at: failure.at },
    created: isoTime(open.created),
    modified: isoTime(open.modified),
  };
}

/** A token that stands in a URL is for those who may change it (CN-2). */
function withoutQuery(url: string): string {
  const shown = new URL(url);
  shown.search = "";
  return shown.href;
}
