import { operation } from "../http/operation.ts";
import { McpLog, McpLogFilters, McpLogList, McpLogNames, McpLogQuery, McpLogStats } from "./mcp-logs.wire.ts";
import { bifrostSurface } from "./surface.ts";

const LIST = "/api/mcp-logs";
const shared = { surface: bifrostSurface, method: "GET", needs: "platform_admin", status: 200 } as const;

export const mcpLogOperations = [
  operation(
    { ...shared, path: LIST, summary: "List the tool calls of the org", query: McpLogQuery, answer: McpLogList },
    async ({ services, principal, query }) => services.mcpLogs.list(principal.org, query),
  ),
  operation(
    {
      ...shared,
      id: "get_mcp_logs_stats",
      path: `${LIST}/stats`,
      summary: "Statistics of the tool calls of the org",
      query: McpLogFilters,
      answer: McpLogStats,
    },
    async ({ services, principal, query }) => services.mcpLogs.stats(principal.org, query),
  ),
  operation(
    {
      ...shared,
      id: "get_mcp_logs_filterdata",
      path: `${LIST}/filterdata`,
      summary: "The tools and servers that have been called",
      answer: McpLogNames,
    },
    async ({ services, principal }) => services.mcpLogs.names(principal.org),
  ),
  operation(
    { ...shared, id: "get_mcp_log", path: `${LIST}/:id`, summary: "Read one tool call", answer: McpLog },
    async ({ services, principal, param }) => services.mcpLogs.get(principal.org, param("id")),
  ),
];
