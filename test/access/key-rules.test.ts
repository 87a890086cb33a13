/** Which tools a virtual key opens: the rule itself, and what an agent sees of it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { admit, admitServer } from "../../src/access/admission.ts";
import { NO_FILTERS } from "../../src/access/request-filters.ts";
import type { KeyRule } from "../../src/access/virtual-key.ts";
import { compileSnapshot, type Snapshot } from "../../src/catalog/snapshot.ts";
import type { ServerRecord } from "../../src/registry/server-record.ts";
import { keyGrant, principalWith, serverRecord } from "../support/admission.ts";
import { BUILT_IN_NAMES, createAgent, NOT_BUILT_IN } from "../support/agent.ts";
import { accepted, createOrg, register } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

/** A snapshot of one server with the tools `search` (allowed) and `erase` (blocked). */
function snapshotOf(changes: Partial<ServerRecord>): Snapshot {
  const tool = (name: string, allowed: boolean) => ({
    server_id: "srv_docs",
    tool: name,
    allowed,
    auto: false,
    approved_hash: name,
    price_nano: null,
    repeatable: 0,
  });
  const tools = [tool("search", true), tool("Search", true), tool("erase", false)];
  return compileSnapshot("default", { registry: 1, org: 1, credentials: 0 }, [serverRecord(changes)], tools);
}

const keyWith = (rules: Record<string, KeyRule>) => principalWith({ key: keyGrant(rules) });

/** Whether a tool is admitted, or why not. */
function decide(server: Partial<ServerRecord>, rules: Record<string, KeyRule>, tool: string): string {
  const docs = snapshotOf(server).servers.get("docs");
  const decision = admit(keyWith(rules), NO_FILTERS, docs, docs?.tools.get(tool));
  return decision.allowed ? "allowed" : decision.reason;
}

describe("admission", () => {
  const ALL = { allow_on_all_virtual_keys: true };

  it.each<[string, Partial<ServerRecord>, Record<string, KeyRule>, string, string]>([
    ["a key without an assignment opens nothing", {}, {}, "search", "key_denied"],
    ["unless the server is for all keys", ALL, {}, "search", "allowed"],
    ['["*"] opens every tool', {}, { srv_docs: ["*"] }, "search", "allowed"],
    ["a list opens what it names", {}, { srv_docs: ["search"] }, "search", "allowed"],
    ["and nothing else, byte for byte", {}, { srv_docs: ["search"] }, "Search", "key_denied"],
    ["a list beats the server's openness", ALL, { srv_docs: ["Search"] }, "search", "key_denied"],
    ["so does an empty one", ALL, { srv_docs: [] }, "search", "key_denied"],
    ["an assignment to another server counts for nothing", {}, { srv_other: ["*"] }, "search", "key_denied"],
    ["a tool called * in a list of more is no wildcard", {}, { srv_docs: ["a", "*"] }, "search", "key_denied"],
    ["no rule opens a blocked tool", ALL, { srv_docs: ["*", "erase"] }, "erase", "tool_blocked"],
    ["the policy of all tools opens it", { tool_mode: "all" }, { srv_docs: ["*"] }, "erase", "allowed"],
    ["a policy that is not set opens none", { tool_mode: "unset" }, { srv_docs: ["*"] }, "search", "tool_blocked"],
    ["an unknown tool is unknown", {}, { srv_docs: ["*"] }, "missing", "tool_unknown"],
  ])("%s", (_, server, rules, tool, decision) => {
    expect(decide(server, rules, tool)).toBe(decision);
  });

  it("names the first reason in the order of B.4", () => {
    const refused = { enabled: false, status: "error" as const };
    expect(decide(refused, {}, "missing")).toBe("server_disabled");
    expect(decide({ ...refused, enabled: true }, {}, "missing")).toBe("server_not_active");
    expect(decide({ status: "pending_setup" }, {}, "search")).toBe("server_not_active");
    expect(decide({}, {}, "missing")).toBe("tool_unknown");
    expect(decide({}, {}, "erase")).toBe("tool_blocked");
    expect(admit(keyWith({}), NO_FILTERS, undefined, undefined)).toEqual({ allowed: false, reason: "not_visible" });
  });

  it("to a server follows from that to its tools: what admits a tool admits its server", () => {
    const server = fc.record({
      enabled: fc.boolean(),
      status: fc.constantFrom("active" as const, "pending_setup" as const, "error" as const),
      tool_mode: fc.constantFrom("unset" as const, "list" as const, "all" as const),
      allow_on_all_virtual_keys: fc.boolean(),
      state: fc.constantFrom("connected" as const, "disconnected" as const, "error" as const),
    });
    const rule = fc.constantFrom<KeyRule | undefined>(undefined, [], ["*"], ["search"], ["erase"], ["other"]);
    fc.assert(
      fc.property(server, rule, (changes, given) => {
        const principal = keyWith(given === undefined ? {} : { srv_docs: given });
        const docs = snapshotOf(changes).servers.get("docs");
        const tools = [...(docs?.tools.values() ?? [])];
        const admitted = tools.filter((tool) => admit(principal, NO_FILTERS, docs, tool).allowed);
        if (admitted.length > 0) expect(admitServer(principal, NO_FILTERS, docs)).toBeNull();
        if (given?.length === 0) expect(admitted).toEqual([]);
        // The live state refuses nothing (PS-64).
        const elsewhere = snapshotOf({ ...changes, state: "connected" }).servers.get("docs");
        const again = [...(elsewhere?.tools.values() ?? [])].filter(
          (tool) => admit(principal, NO_FILTERS, elsewhere, tool).allowed,
        );
        expect(again.map(({ name }) => name)).toEqual(admitted.map(({ name }) => name));
      }),
    );
  });
});

describe("tools/list at /mcp", () => {
  const tools = ['{"name":"search"}', '{"name":"erase"}'];
  const start = (): TestGateway => startGateway(scriptedServer({ era: "modern", tools }).network);

  async function listed(gateway: TestGateway, servers: { server_id: string; tools_to_execute: string[] }[]) {
    const agent = await createAgent(gateway, servers);
    const { result } = await (await agent.modern("/mcp", "tools/list")).json<{
      result: { tools: { name: string }[] };
    }>();
    const names = result.tools.map(({ name }) => name);
    for (const name of ["docs__search", "docs__erase"]) {
      const called = await (await agent.modern("/mcp", "tools/call", { name })).json<object>();
      expect({ name, isCallable: "result" in called }).toEqual({ name, isCallable: names.includes(name) });
    }
    return names;
  }

  it("shows what the key's assignment opens, and all that is for all keys where it has none [BF-20]", async () => {
    const gateway = start();
    const open = await register(gateway, { enabled: true, allow_on_all_virtual_keys: true });
    const { server_id } = open;
    expect(await listed(gateway, [])).toEqual(["docs__erase", "docs__search"]);
    expect(await listed(gateway, [{ server_id, tools_to_execute: ["search"] }])).toEqual(["docs__search"]);
    expect(await listed(gateway, [{ server_id, tools_to_execute: [] }])).toEqual([]);
    expect(await listed(gateway, [{ server_id, tools_to_execute: ["SEARCH", "missing"] }])).toEqual([]);
    await accepted(await gateway.admin("PATCH", `/v1/servers/${server_id}`, { allow_on_all_virtual_keys: false }));
    expect(await listed(gateway, [])).toEqual([]);
    expect(await listed(gateway, [{ server_id, tools_to_execute: ["*"] }])).toEqual(["docs__erase", "docs__search"]);
  });

  it("follows a change of the key at once", async () => {
    const gateway = start();
    const { server_id } = await register(gateway, { enabled: true });
    const agent = await createAgent(gateway, [{ server_id, tools_to_execute: ["search"] }]);
    const names = async () => {
      const { result } = await (await agent.modern("/mcp", "tools/list")).json<{
        result: { tools: { name: string }[] };
      }>();
      return result.tools.map(({ name }) => name);
    };
    const path = `/v1/virtual-keys/${agent.key.virtual_key_id}`;
    expect(await names()).toEqual(["docs__search"]);
    await accepted(
      await gateway.admin("PATCH", path, { servers: [NOT_BUILT_IN, { server_id, tools_to_execute: ["erase"] }] }),
    );
    expect(await names()).toEqual(["docs__erase"]);
    await accepted(await gateway.admin("PATCH", path, { servers: [] }));
    expect(await names()).toEqual(BUILT_IN_NAMES);
  });

  it("gives each org's key its own view", async () => {
    const gateway = start();
    await createOrg("acme");
    const { server_id } = await register(gateway, { enabled: true });
    const servers = [{ server_id, tools_to_execute: ["search"] }, NOT_BUILT_IN];
    const headers = { "X-Org-Id": "acme" };
    const created = await gateway.admin("POST", "/v1/virtual-keys", { name: "theirs", servers }, headers);
    const { value } = await accepted<{ value: string }>(created, 201);
    const ours = await createAgent(gateway, [{ server_id, tools_to_execute: ["erase"] }]);
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
    const asTheirs = { "x-api-key": value, "Content-Type": "application/json" };
    const theirs = await gateway.fetch("/mcp", { method: "POST", headers: asTheirs, body });
    expect(await theirs.json()).toMatchObject({ result: { tools: [{ name: "docs__search" }] } });
    expect(await (await ours.legacy("/mcp", "tools/list")).json()).toMatchObject({
      result: { tools: [{ name: "docs__erase" }] },
    });
  });
});
