import { beforeEach, describe, expect, it } from "vitest";
import { createAgent, NOT_BUILT_IN } from "../support/agent.ts";
import { accepted, createOrg, generationOf, register, stored } from "../support/api.ts";
import { bifrostOf, refused, tool } from "../support/bifrost.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

/** A gateway with the client `docs`, two keys of the default org and one of another. */
async function start() {
  const upstream = scriptedServer({ era: "modern", tools: [tool("search"), tool("erase")] });
  const gateway = startGateway(upstream.network);
  const bifrost = bifrostOf(gateway);
  await bifrost.created({ tools_to_execute: ["*"] });
  return {
    gateway,
    bifrost,
    one: await createKey(gateway, "one"),
    two: await createKey(gateway, "two"),
    far: await createKey(gateway, "far", "acme"),
    /** What the client shows: name of the key and its tools. */
    async shown() {
      const { vk_configs } = await bifrost.client("docs");
      return vk_configs.map(({ virtual_key_name, tools_to_execute }) => [virtual_key_name, tools_to_execute]);
    },
    async edit(vk_configs: unknown, more: Record<string, unknown> = {}) {
      const response = await bifrost.update("docs", { vk_configs, ...more });
      expect(await response.json()).toMatchObject({ status: "success" });
    },
    async refusal(body: Record<string, unknown>) {
      const before = await stored();
      const answer = await refused(await bifrost.update("docs", body));
      expect(await stored()).toEqual(before);
      return answer;
    },
  };
}

async function createKey(gateway: TestGateway, name: string, org = "default"): Promise<string> {
  const created = await gateway.admin("POST", "/v1/virtual-keys", { name }, { "X-Org-Id": org });
  return (await accepted<{ virtual_key_id: string }>(created, 201)).virtual_key_id;
}

const assign = (virtual_key_id: unknown, tools_to_execute: unknown = ["*"]) => ({ virtual_key_id, tools_to_execute });

beforeEach(() => createOrg("acme"));

describe("vk_configs", () => {
  it("replaces the assignments of all keys, of every org [BF-6, BF-33]", async () => {
    const { one, two, far, shown, edit } = await start();
    await edit([assign(two, ["search"]), assign(far), assign(one, [])]);
    expect(await shown()).toEqual([
      ["far", ["*"]],
      ["one", []],
      ["two", ["search"]],
    ]);
    await edit([assign(two, ["erase"])]);
    expect(await shown()).toEqual([["two", ["erase"]]]);
  });

  it("removes all when it is empty, and leaves all when it is omitted or null [BF-33]", async () => {
    const { one, shown, edit, bifrost } = await start();
    await edit([assign(one)]);
    for (const body of [{}, { vk_configs: null }, { name: "Renamed" }]) {
      expect((await bifrost.update("docs", body)).status).toBe(200);
      expect(await shown()).toEqual([["one", ["*"]]]);
    }
    await edit([]);
    expect(await shown()).toEqual([]);
  });

  it("leaves what other servers are assigned to [BF-33]", async () => {
    const { gateway, one, bifrost, edit } = await start();
    await register(gateway, { server_id: "other", name: "other" });
    await bifrost.update("other", { vk_configs: [assign(one, ["x"])] });
    await edit([]);
    expect((await bifrost.client("other")).vk_configs).toMatchObject([assign(one, ["x"])]);
  });

  it("is what the native API shows and what agents have, at once: all, a list, or an explicit nothing [BF-6]", async () => {
    const { gateway, edit } = await start();
    const agent = await createAgent(gateway, []);
    const names = async () => {
      const listed = await agent.modern("/mcp/Docs", "tools/list");
      const { result } = await listed.json<{ result?: { tools: { name: string }[] } }>();
      return result?.tools.map(({ name }) => name);
    };
    const { virtual_key_id } = agent.key;
    // An explicit nothing beats what is open to all keys (BF-20).
    const cases = [
      [["*"], ["erase", "search"]],
      [["search"], ["search"]],
      [[], undefined],
    ] as const;
    for (const [tools, listed] of cases) {
      await edit([assign(virtual_key_id, tools)], { allow_on_all_virtual_keys: true });
      expect(await names()).toEqual(listed);
      const key = await gateway.admin("GET", `/v1/virtual-keys/${virtual_key_id}`);
      expect(await key.json()).toMatchObject({
        servers: [{ server_id: "docs", tools_to_execute: tools }, NOT_BUILT_IN],
      });
    }
    await edit([]);
    expect(await names()).toEqual(["erase", "search"]);
  });

  it("raises the generation of the orgs of former and of later keys, and of no other [BF-33]", async () => {
    const { one, far, edit } = await start();
    await createOrg("third");
    const raised = async (keys: unknown[]) => {
      const orgs = ["default", "acme", "third"];
      const before = await Promise.all(orgs.map(generationOf));
      await edit(keys);
      const after = await Promise.all(orgs.map(generationOf));
      return orgs.filter((_, at) => after[at] !== before[at]);
    };
    expect(await raised([assign(one)])).toEqual(["default"]);
    expect(await raised([assign(far)])).toEqual(["default", "acme"]);
    expect(await raised([])).toEqual(["acme"]);
    expect(await raised([])).toEqual([]);
  });

  it("changes nothing at all when its last key is unknown [BF-33, T-33]", async () => {
    const { one, two, edit, refusal } = await start();
    await edit([assign(one, ["search"])]);
    const body = {
      name: "Renamed",
      tools_to_execute: ["search"],
      tool_pricing: { search: 1 },
      connection_string: "https://docs.example/other",
    };
    expect(await refusal({ ...body, vk_configs: [assign(one), assign(two), assign("key_none")] })).toEqual({
      status: 400,
      code: "invalid_request",
      field: "vk_configs",
      message: "vk_configs names a virtual key that does not exist, or whose org does not see the server.",
    });
  });

  it("takes no key of an org that does not see the server [BF-33]", async () => {
    const { gateway, one, far, edit, refusal } = await start();
    await accepted(await gateway.admin("PUT", "/v1/servers/docs/org-ids", { org_ids: ["default"] }));
    const answer = { status: 400, code: "invalid_request", field: "vk_configs" };
    expect(await refusal({ name: "Renamed", vk_configs: [assign(one), assign(far)] })).toMatchObject(answer);
    await edit([assign(one)]);
    await accepted(await gateway.admin("PUT", "/v1/servers/docs/org-ids", { org_ids: ["default", "acme"] }));
    await edit([assign(one), assign(far)]);
  });

  it("names the clash when the name is taken too, and the missing server when there is none [BF-33]", async () => {
    const { gateway, bifrost, refusal } = await start();
    await register(gateway, { name: "Taken" });
    expect(await refusal({ name: "Taken", vk_configs: [assign("key_none")] })).toMatchObject({ status: 409 });
    const missing = await bifrost.update("none", { vk_configs: [assign("key_none")] });
    expect(await refused(missing)).toMatchObject({ status: 404, message: "MCP client not found" });
  });

  it("is a list of keys, each once, with lists of tools by the rules [BF-6, BF-33]", async () => {
    const { one, refusal } = await start();
    const cases: [given: unknown, field: string][] = [
      ["all", "vk_configs"],
      [[assign(one), assign(one, [])], "vk_configs"],
      [[assign("")], "vk_configs.0.virtual_key_id"],
      [[assign(undefined)], "vk_configs.0.virtual_key_id"],
      [[assign(null)], "vk_configs.0.virtual_key_id"],
      [[assign(5)], "vk_configs.0.virtual_key_id"],
      [[{ virtual_key_id: one }], "vk_configs.0.tools_to_execute"],
      ...[null, "a", ["*", "a"], ["a", "A"], [""]].map((tools): [unknown, string] => [
        [assign(one, tools)],
        "vk_configs.0.tools_to_execute",
      ]),
    ];
    for (const [vk_configs, field] of cases) {
      const answer = await refusal({ name: "Renamed", vk_configs });
      expect([vk_configs, answer]).toMatchObject([vk_configs, { status: 400, code: "invalid_request", field }]);
    }
  });
});
