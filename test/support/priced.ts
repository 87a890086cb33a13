/** A gateway with a server of which one tool has a price, and an agent that may use it and the built-in tools. */
import { type Agent, agentOf, BUILT_IN } from "./agent.ts";
import { accepted } from "./api.ts";
import { startGateway, type TestGateway } from "./gateway.ts";
import { moveAll, rowsOf } from "./rows.ts";
import { type CallTool, legacyCaller, modernCaller, type Send } from "./tool-callers.ts";
import { type Script, scriptedServer } from "./upstream.ts";

export const PRICE = 0.1;

export async function startPriced(script: Partial<Script> = {}) {
  const tools = ['{"name":"paid","inputSchema":{"type":"object"}}', '{"name":"free","inputSchema":{"type":"object"}}'];
  const upstream = scriptedServer({ era: "modern", tools, ...script });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs" }, BUILT_IN);
  const setPrice = async (usd: number) =>
    accepted(await gateway.admin("PATCH", `/v1/servers/${agent.server_id}/tools/paid`, { price_usd: usd }));
  await setPrice(PRICE);
  const principal = `key:${agent.key.virtual_key_id}`;
  const sendVia =
    (of: TestGateway): Send =>
    (path, body, headers) => {
      const all = { Authorization: `Bearer ${agent.key.value}`, "Content-Type": "application/json", ...headers };
      return of.fetch(path, { method: "POST", headers: all, body });
    };
  const send = sendVia(gateway);
  return {
    ...{ upstream, gateway, agent, setPrice, principal, send },
    /** The name of the object that serves calls without a session. */
    stack: `default:default:${principal}`,
    call: modernCaller(send),
    /** Another isolate of the same gateway. */
    elsewhere: () => sendVia(startGateway(upstream.network)),
    /** A legacy session: how it calls, and its id. */
    async session(of: Agent = agent): Promise<{ call: CallTool; id: string; headers: Record<string, string> }> {
      const headers = await of.initialize("/mcp");
      return { call: legacyCaller(send, "/mcp", headers), id: headers["Mcp-Session-Id"] ?? "", headers };
    },
    rows: (...sessionIds: string[]) => rowsOf(gateway, "default", principal, sessionIds),
    /** The runs that are in D1, newest first, after everything has been moved there. */
    async runs(...sessionIds: string[]): Promise<Record<string, unknown>[]> {
      await moveAll(gateway, "default", principal, sessionIds);
      return (await accepted<{ rows: Record<string, unknown>[] }>(await gateway.admin("GET", "/v1/runs?page_size=200")))
        .rows;
    },
  };
}

/** Begins a run. @returns Its id. */
export async function startRun(call: CallTool, args: Record<string, unknown> = {}): Promise<string> {
  const started = await call("run_start", { label: "work", ...args });
  if (started.isError) throw new Error(started.text);
  return (JSON.parse(started.text) as { run_id: string }).run_id;
}
