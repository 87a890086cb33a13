/** The execute door as an agent without MCP uses it. */
import { agentOf } from "./agent.ts";
import { expectBifrost } from "./bifrost.ts";
import { startGateway, type TestGateway } from "./gateway.ts";
import { type Script, scriptedServer } from "./upstream.ts";

export const DOOR = "/v1/mcp/tool/execute";
const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';
const LOOKUP = '{"name":"lookup","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}';
export const ERAS = ["modern", "legacy"] as const;

/** A gateway with one server, and an agent that may use all of it. */
export async function startDocs(
  call?: Script["call"],
  era: Script["era"] = "modern",
  server: Record<string, unknown> = {},
) {
  const upstream = scriptedServer({ era, tools: [SEARCH, LOOKUP], ...(call === undefined ? {} : { call }) });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs", display_name: "Docs of Ann", ...server });
  return { upstream, gateway, agent, ...callsOf(gateway, { "x-bf-vk": agent.key.value }) };
}

/** Calls with these headers, each failure held against Bifrost's body. */
export function callsOf(gateway: TestGateway, headers: Record<string, string>) {
  const post = async (body: unknown, query = "", more: Record<string, string> = {}) => {
    const response = await gateway.fetch(`${DOOR}${query}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers, ...more },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    if (response.status >= 400) await expectBifrost("POST", DOOR, response);
    return response;
  };
  const chat = (name: string, args?: string, more?: Record<string, string>) =>
    post(
      { id: "call_1", type: "function", function: { name, ...(args === undefined ? {} : { arguments: args }) } },
      "",
      more,
    );
  const responses = (name: string, args?: string) =>
    post({ name, call_id: "call_1", ...(args === undefined ? {} : { arguments: args }) }, "?format=responses");
  return { post, chat, responses };
}
