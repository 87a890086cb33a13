/** What the log says of how a call ended, and of the names and arguments it came with. */
import { describe, expect, it, vi } from "vitest";
import type { Outcome } from "../../src/calls/call.ts";
import { Session } from "../../src/sessions/session.object.ts";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { resultOf, rpcError, type Script, type Seen, scriptedServer } from "../support/upstream.ts";

async function startDocs(
  call?: Script["call"],
  server: Record<string, unknown> = {},
  era: Script["era"] = "modern",
  vars: Record<string, unknown> = {},
) {
  const upstream = scriptedServer({ era, tools: ['{"name":"search"}'], ...(call === undefined ? {} : { call }) });
  const gateway = startGateway(upstream.network, vars);
  return { gateway, agent: await agentOf(gateway, { name: "docs", ...server }) };
}

const SEARCH = { name: "docs__search", arguments: { q: "x" } };
const hang = () => new Promise<Response>(() => undefined);

describe("the outcome of a call", () => {
  it.each<[Outcome, Script["call"], Record<string, unknown>]>([
    ["ok", undefined, {}],
    ["tool_error", (seen) => resultOf(seen, '{"content":[],"isError":true}'), {}],
    ["server_error", (seen: Seen) => rpcError(seen.message, -32603, 200), {}],
    ["upstream_failed", () => new Response("no", { status: 404 }), {}],
    ["upstream_timeout", hang, { timeout_ms: 1_000 }],
  ])("is %s", async (outcome, call, server) => {
    const { agent } = await startDocs(call, server);
    await (await agent.modern("/mcp", "tools/call", SEARCH)).text();
    expect(await agent.rows()).toMatchObject([
      { outcome, ok: outcome === "ok", tool: "search", exposed_name: "docs__search", parent_run_id: null },
    ]);
  });

  it("is refused for a tool that may not be called, with the true reason and the name as sent [RB-16]", async () => {
    const { gateway, agent } = await startDocs();
    await gateway.admin("PATCH", `/v1/servers/${agent.server_id}/tools/search`, { allowed: false });
    const answers = await Promise.all(
      ["docs__search", "docs__erase"].map(async (name) => {
        const answer = await agent.modern("/mcp", "tools/call", { name, arguments: {} });
        return (await answer.text()).replace(name, "it");
      }),
    );
    expect(answers[0]).toBe(answers[1]);
    const listed = await (await agent.modern("/mcp", "tools/list")).text();
    expect(listed).not.toContain("docs__");
    await agent.modern("/mcp/docs", "tools/call", { name: "erase", arguments: {} });
    const refused = { outcome: "refused", ok: false, upstream_ms: null, attempts: 0, cost_usd: 0 };
    const rows = (await agent.rows()).toSorted((a, b) => (`${a["exposed_name"]}` < `${b["exposed_name"]}` ? -1 : 1));
    expect(rows).toMatchObject([
      { ...refused, exposed_name: "docs__erase", tool: "docs__erase", server: null, reason: "not_visible" },
      { ...refused, exposed_name: "docs__search", tool: "search", server: "docs", reason: "tool_blocked" },
      { ...refused, exposed_name: "erase", tool: "erase", server: "docs", reason: "tool_unknown" },
    ]);
  });

  it("is unsupported where the client's revision has no words for the answer", async () => {
    const { agent } = await startDocs((seen) => resultOf(seen, '{"resultType":"input_required","inputRequests":{}}'));
    await (await agent.legacy("/mcp", "tools/call", SEARCH)).text();
    expect(await agent.rows()).toMatchObject([{ outcome: "unsupported", ok: false, attempts: 1 }]);
  });

  it("is abandoned when the client leaves before there is an answer", async () => {
    const { gateway, agent } = await startDocs(hang);
    const leaving = new AbortController();
    const params = {
      ...SEARCH,
      _meta: {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
      },
    };
    const answer = gateway.fetch("/mcp", {
      method: "POST",
      signal: leaving.signal,
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }),
      headers: {
        ...{ Authorization: `Bearer ${agent.key.value}`, "Content-Type": "application/json" },
        ...{ "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "docs__search" },
      },
    });
    setTimeout(() => leaving.abort(), 50);
    await answer;
    expect(await agent.rows()).toMatchObject([{ outcome: "abandoned", ok: false }]);
  });

  it("is gateway_failed when a part of the gateway does not answer", async () => {
    const { agent } = await startDocs(undefined, {}, "legacy");
    vi.spyOn(Session.prototype, "upstream").mockRejectedValue(new Error("no"));
    await (await agent.modern("/mcp", "tools/call", SEARCH)).text();
    expect(await agent.rows()).toMatchObject([{ outcome: "gateway_failed", ok: false, attempts: 0 }]);
  });

  it("is bridge_missing for a server that waits for one", async () => {
    const stdio = { name: "files", connection_type: "stdio", stdio_config: { command: "npx" }, server_url: undefined };
    const { agent } = await startDocs(undefined, stdio);
    await agent.modern("/mcp", "tools/call", { name: "files__read", arguments: {} });
    expect(await agent.rows()).toMatchObject([{ outcome: "bridge_missing", ok: false, server: "files" }]);
  });
});

describe("REDACTED_FIELDS", () => {
  it("names further arguments that are not stored, at any depth, as those of PS-35 are", async () => {
    const { agent } = await startDocs(undefined, {}, "modern", { REDACTED_FIELDS: " Customer-Name ,iban" });
    const given = { customer_name: "c4n4ry", deep: [{ "billing-IBAN": "c4n4ry", token: "c4n4ry" }], name: "shown" };
    await agent.modern("/mcp", "tools/call", { ...SEARCH, arguments: given });
    expect((await agent.rows()).map(({ args }) => args)).toEqual([
      {
        ...{ customer_name: "[redacted]", name: "shown" },
        deep: '[{"billing-IBAN":"[redacted]","token":"[redacted]"}]',
      },
    ]);
  });
});
