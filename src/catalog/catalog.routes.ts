import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { PageQuery } from "../http/page.wire.ts";
import { isoTime } from "../platform/clock.ts";
import {
  ChangeQuery,
  ChangeView,
  Decided,
  DiscoveryReport,
  GenerationView,
  ToolPatch,
  ToolView,
} from "./catalog.wire.ts";
import { diffDefinitions } from "./definition-diff.ts";
import { INSTRUCTIONS, type ToolChange } from "./tool-change.ts";

const STATES = { approve: "approved", refuse: "refused" } as const;
const SENTENCES = { approve: "Put in force", refuse: "Keep what is in force instead of" } as const;

export const catalogOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/generation",
      needs: "member",
      summary: "Read what changes with every write that agents of the org may be served differently for",
      status: 200,
      answer: GenerationView,
    },
    async ({ services, principal: { org } }) => ({ org_id: org, generation: await services.catalog.generation(org) }),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/tools",
      needs: "member",
      summary: "List the tools of a server with their policy",
      query: PageQuery,
      status: 200,
      answer: pageOf(ToolView),
    },
    ({ services, principal, param, query, waitUntil }) =>
      services.catalog.tools(principal, param("server_id"), query, waitUntil),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/tools/:name",
      needs: "member",
      summary: "Read a tool, by the server's own name of it",
      status: 200,
      answer: ToolView,
    },
    ({ services, principal, param, waitUntil }) =>
      services.catalog.tool(principal, param("server_id"), param("name"), waitUntil),
  ),
  operation(
    {
      method: "PATCH",
      path: "/v1/servers/:server_id/tools/:name",
      needs: "org_admin",
      summary: "Change the policy or the price of one tool",
      body: ToolPatch,
      status: 200,
      answer: ToolView,
      failures: ["read_only"],
    },
    async ({ services, principal, param, body, waitUntil }) => {
      await services.registry.setTool(principal, param("server_id"), param("name"), body);
      return services.catalog.tool(principal, param("server_id"), param("name"), waitUntil);
    },
  ),
  operation(
    {
      method: "POST",
      path: "/v1/servers/:server_id/discover",
      needs: "org_admin",
      summary: "Ask a server for its tools and bring the catalog up to date",
      status: 200,
      answer: DiscoveryReport,
      failures: ["read_only", "invalid_request", "conflict", "upstream_failed", "upstream_timeout"],
    },
    ({ services, principal, param, self }) => services.registry.discover(principal, param("server_id"), self),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/changes",
      needs: "org_admin",
      summary: "List changed definitions, with a diff by field",
      query: ChangeQuery,
      status: 200,
      answer: pageOf(ChangeView),
    },
    async ({ services, principal, param, query }) => {
      const page = await services.catalog.changes(principal, param("server_id"), query);
      return { ...page, rows: page.rows.map(viewOf) };
    },
  ),
  ...(["approve", "refuse"] as const).flatMap((verb) => [
    operation(
      {
        method: "POST",
        path: `/v1/servers/:server_id/changes/${verb}`,
        needs: "org_admin",
        summary: `${SENTENCES[verb]} every held change of a server`,
        status: 200,
        answer: Decided,
        failures: ["read_only"],
      },
      async ({ services, principal, param }) => {
        const decided = await services.catalog.decideAll(principal, param("server_id"), STATES[verb]);
        return { decided: decided.map(({ change_id }) => change_id) };
      },
    ),
    operation(
      {
        method: "POST",
        path: `/v1/servers/:server_id/changes/:change_id/${verb}`,
        needs: "org_admin",
        summary: `${SENTENCES[verb]} one held change`,
        status: 200,
        answer: ChangeView,
        failures: ["read_only", "conflict"],
      },
      async ({ services, principal, param }) => {
        const { catalog } = services;
        return viewOf(await catalog.decide(principal, param("server_id"), param("change_id"), STATES[verb]));
      },
    ),
  ]),
];

function viewOf({ approved, proposed, proposed_hash: _, tool, ...change }: ToolChange): ChangeView {
  return {
    ...change,
    tool: tool === INSTRUCTIONS ? null : tool,
    found_at: isoTime(change.found_at),
    decided_at: change.decided_at === null ? null : isoTime(change.decided_at),
    approved: JSON.parse(approved),
    proposed: JSON.parse(proposed),
    diff:
      tool === INSTRUCTIONS
        ? diffDefinitions(asField(approved), asField(proposed))
        : diffDefinitions(approved, proposed),
  };
}

function asField(instructions: string): string {
  return `{"instructions":${instructions}}`;
}
