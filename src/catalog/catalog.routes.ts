import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { DiscoveryReport, ToolQuery, ToolView } from "./catalog.wire.ts";

export const catalogOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/servers/:server_id/tools",
      needs: "platform_admin",
      summary: "List the tools of a server with their policy",
      query: ToolQuery,
      status: 200,
      answer: pageOf(ToolView),
    },
    ({ services, principal, param, query, waitUntil }) =>
      services.catalog.tools(principal.org, param("server_id"), query, waitUntil),
  ),
  operation(
    {
      method: "POST",
      path: "/v1/servers/:server_id/discover",
      needs: "platform_admin",
      summary: "Ask a server for its tools and bring the catalog up to date",
      status: 200,
      answer: DiscoveryReport,
    },
    ({ services, param }) => services.discover(param("server_id")),
  ),
];
