/** Tasks at a server's door: each era's own, for whoever has made them (P-21). */
import { describe, expect, it } from "vitest";
import { agentOf, createAgent } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { resultOf, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const TOOL = '{"name":"work","inputSchema":{"type":"object"}}';
const TASKS = "io.modelcontextprotocol/tasks";
const RELATED = "io.modelcontextprotocol/related-task";
const ABOUT = /^tasks\/(get|update|result|cancel)$/;

const methodOf = ({ message }: Seen) => String(message["method"]);
const taskIdOf = ({ message }: Seen) => (message["params"] as Record<string, unknown>)["taskId"];

/** A server to which all callers are one: it knows tasks by their ids alone. */
async function startDocs(era: Script["era"], created: string) {
  const upstream = scriptedServer({
    era,
    tools: [TOOL],
    capabilities: era === "modern" ? { extensions: { [TASKS]: {}, "x/y": {} } } : { tasks: { list: {}, cancel: {} } },
    first(seen) {
      if (methodOf(seen) === "tools/call") return resultOf(seen, created);
      if (!ABOUT.test(methodOf(seen))) return undefined;
      const meta = `"_meta":{"${RELATED}":{"taskId":"t-1"}}`;
      return resultOf(seen, `{"resultType":"complete","taskId":"t-1","status":"working",${meta}}`);
    },
  });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs" });
  const other = await createAgent(gateway, [{ server_id: agent.server_id, tools_to_execute: ["*"] }]);
  return { upstream, gateway, agent, other };
}

describe("a task of a modern server", () => {
  const CREATED = '{"resultType":"task","taskId":"t-1","status":"working","ttlMs":1000,"x":1.0}';
  const meta = { "io.modelcontextprotocol/clientCapabilities": { extensions: { [TASKS]: {}, "x/y": {} } } };

  it("is known to whoever has made it, and to nobody else [P-21]", async () => {
    const { upstream, agent, other } = await startDocs("modern", CREATED);
    const made = await agent.modern("/mcp/docs", "tools/call", { name: "work" }, { meta });
    const { result } = await made.json<{ result: { taskId: string; x: number } }>();
    expect(result).toMatchObject({ resultType: "task", status: "working", x: 1 });
    expect(result.taskId).not.toBe("t-1");
    const [call] = upstream.calls();
    expect(call?.message["params"]).toMatchObject({
      _meta: { "io.modelcontextprotocol/clientCapabilities": { extensions: { [TASKS]: {} } } },
    });
    const about = (who: typeof other, method: string, taskId: string) =>
      who.modern("/mcp/docs", method, { taskId }, { meta, headers: { "Mcp-Name": taskId } });
    for (const method of ["tasks/get", "tasks/update", "tasks/cancel"]) {
      const answer = await about(agent, method, result.taskId);
      expect(await answer.json()).toMatchObject({
        result: { taskId: result.taskId, _meta: { [RELATED]: { taskId: result.taskId } } },
      });
      const seen = upstream.seen.findLast((one) => methodOf(one) === method);
      expect([seen && taskIdOf(seen), seen?.headers.get("Mcp-Name")]).toEqual(["t-1", "t-1"]);
    }
    const before = upstream.seen.length;
    for (const [who, taskId] of [
      [other, result.taskId],
      [agent, "t-1"],
      [agent, `${result.taskId}x`],
      [agent, result.taskId.replace("t-1", "t-2")],
    ] as const) {
      const answer = await about(who, "tasks/get", taskId);
      expect([answer.status, await answer.json()]).toMatchObject([200, { error: { code: -32602 } }]);
    }
    expect(upstream.seen.length).toBe(before);
  });

  it("is asked about by those who say that they know tasks, at its server's own door [P-1]", async () => {
    const { agent, upstream } = await startDocs("modern", CREATED);
    const before = upstream.seen.length;
    const undeclared = await agent.modern("/mcp/docs", "tasks/get", { taskId: "t" }, { headers: { "Mcp-Name": "t" } });
    expect([undeclared.status, await undeclared.json()]).toMatchObject([
      400,
      { error: { code: -32021, data: { requiredCapabilities: { extensions: { [TASKS]: {} } } } } },
    ]);
    const aggregate = await agent.modern("/mcp", "tasks/get", { taskId: "t" }, { meta, headers: { "Mcp-Name": "t" } });
    expect([aggregate.status, await aggregate.json()]).toMatchObject([404, { error: { code: -32601 } }]);
    const legacy = await agent.legacy("/mcp/docs", "tasks/get", { taskId: "t" }, await agent.initialize("/mcp/docs"));
    expect(await legacy.json()).toMatchObject({ error: { code: -32601 } });
    expect(upstream.seen.length).toBe(before);
  });

  it("is declared by the door as the server declares it, and by no other door", async () => {
    const { agent } = await startDocs("modern", CREATED);
    const declared = async (door: string) => {
      const answer = await agent.modern(door, "server/discover");
      return (await answer.json<{ result: { capabilities: object } }>()).result.capabilities;
    };
    expect(await declared("/mcp/docs")).toMatchObject({ extensions: { [TASKS]: {} } });
    expect(JSON.stringify(await declared("/mcp/docs"))).not.toContain("x/y");
    expect(await declared("/mcp")).not.toHaveProperty("extensions");
  });
});

describe("a task of a legacy server", () => {
  const CREATED = '{"task":{"taskId":"t-1","status":"working"}}';

  it("is known in the sessions of whoever has made it, and to nobody else [P-21]", async () => {
    const { upstream, agent, other } = await startDocs("legacy", CREATED);
    const session = await agent.initialize("/mcp/docs");
    const made = await agent.legacy("/mcp/docs", "tools/call", { name: "work", task: { ttl: 1000 } }, session);
    const { result } = await made.json<{ result: { task: { taskId: string } } }>();
    const { taskId } = result.task;
    expect(taskId).not.toBe("t-1");
    expect(upstream.calls()[0]?.message["params"]).toMatchObject({ task: { ttl: 1000 } });
    for (const method of ["tasks/get", "tasks/result", "tasks/cancel"]) {
      const answer = await agent.legacy("/mcp/docs", method, { taskId }, await agent.initialize("/mcp/docs"));
      expect(await answer.json()).toMatchObject({ result: { taskId, _meta: { [RELATED]: { taskId } } } });
      const seen = upstream.seen.findLast((one) => methodOf(one) === method);
      expect(seen && taskIdOf(seen)).toBe("t-1");
    }
    const stolen = await other.legacy("/mcp/docs", "tasks/get", { taskId }, await other.initialize("/mcp/docs"));
    expect(await stolen.json()).toMatchObject({ error: { code: -32602 } });
    const listed = await agent.legacy("/mcp/docs", "tasks/list", {}, session);
    expect(await listed.json()).toMatchObject({ error: { code: -32601 } });
  });
});
