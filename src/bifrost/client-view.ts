/** A server in Bifrost's wire format: B.2, outward. Pure. */
import type { NamedServerKey } from "../access/virtual-key.ts";
import type { ApprovedTool } from "../catalog/definition.ts";
import type { OpenServer } from "../registry/open-server.ts";
import type { ClientView } from "./bifrost.wire.ts";
import { redact, shownUrl } from "./redaction.ts";

/** The include-only list of a policy: all is `["*"]`, and what nobody has configured is nothing (BF-18). */
export function toolsToExecute({ record, flags }: OpenServer): string[] {
  if (record.tool_mode === "all") return ["*"];
  if (record.tool_mode === "unset") return [];
  return flags
    .filter(({ allowed }) => allowed)
    .map(({ tool }) => tool)
    .toSorted();
}

/** BF-39, BF-40. @param tools Sorted by name. @param keys Sorted by name. */
export function clientView(
  server: OpenServer,
  tools: readonly ApprovedTool[],
  keys: readonly NamedServerKey[],
): ClientView {
  const { record, config } = server;
  const { server_url, stdio_config } = record;
  return {
    config: {
      client_id: record.server_id,
      name: record.display_name,
      is_code_mode_client: record.is_code_mode_client,
      is_ping_available: record.is_ping_available,
      connection_type: record.connection_type,
      ...(server_url === "" ? {} : { connection_string: shownUrl(server_url) }),
      ...(stdio_config === null
        ? {}
        : { stdio_config: { ...stdio_config, args: [...stdio_config.args], envs: [...stdio_config.envs] } }),
      auth_type: record.auth_type,
      ...(record.auth_type === "oauth" && record.oauth_config_id !== null
        ? { oauth_config_id: record.oauth_config_id }
        : {}),
      headers: Object.fromEntries(Object.entries(config.headers ?? {}).map(([name, value]) => [name, redact(value)])),
      tools_to_execute: toolsToExecute(server),
      tools_to_auto_execute: [...server.tools_to_auto_execute],
      tool_pricing: server.tool_pricing,
      allow_on_all_virtual_keys: record.allow_on_all_virtual_keys,
    },
    tools: tools.map(({ input_schema, ...tool }) => ({ ...tool, parameters: input_schema })),
    state: record.state,
    vk_configs: keys.map((key) => ({ ...key, tools_to_execute: [...key.tools_to_execute] })),
  };
}
