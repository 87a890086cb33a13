/** Users at the doors of agents: what they may call, with and without a key (PS-1, PS-4, BF-51). */
import { describe, expect, it } from "vitest";
import { BUILT_IN_NAMES, createAgent } from "../support/agent.ts";
import { accepted, createOrg, register } from "../support/api.ts";
import { scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

async function startAcme() {
  const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}', '{"name":"erase"}'] });
  const gateway = await startWithUsers(upstream.network);
  await createOrg("acme");
  await accepted(
    await gateway.admin("PUT", "/v1/orgs/acme/members/bob", { role: "member", email: "bob@acme.example" }),
  );
  const docs = await register(gateway, { enabled: true, org_ids: ["acme"], allowed_tools: { search: true } });
  const ask = async (
    user: string | Record<string, unknown>,
    method: string,
    params = {},
    headers: Record<string, string> = {},
  ) => gateway.as(user, "POST", "/mcp", { jsonrpc: "2.0", id: 1, method, params }, headers);
  const names = async (user: string | Record<string, unknown>, headers: Record<string, string> = {}) => {
    const response = await ask(user, "tools/list", {}, headers);
    expect(response.status).toBe(200);
    const { result } = await response.json<{ result: { tools: { name: string }[] } }>();
    return result.tools.map(({ name }) => name);
  };
  const call = async (user: string | Record<string, unknown>, headers = {}) =>
    (await ask(user, "tools/call", { name: "docs__search", arguments: {} }, headers)).json<{
      result?: unknown;
      error?: { message: string };
    }>();
  const keyOf = async (org: string, servers: unknown[] = []) => {
    const created = await gateway.admin("POST", "/v1/virtual-keys", { name: `k ${org}`, servers }, { "X-Org-Id": org });
    return (await accepted<{ value: string }>(created, 201)).value;
  };
  return { gateway, upstream, docs, ask, names, call, keyOf };
}

describe("a user", () => {
  it("calls what the org may, without a key rule [BF-51]", async () => {
    const { gateway, names, call } = await startAcme();
    expect(await names("bob")).toEqual(["docs__search", ...BUILT_IN_NAMES]);
    expect(await call("bob")).toHaveProperty("result");
    await gateway.settled();
  });

  it("with no role in the org sees and calls nothing in it [PS-4]", async () => {
    const { names, call } = await startAcme();
    expect(await names("stranger")).toEqual([]);
    expect((await call("stranger")).error?.message).toBe("Unknown tool: docs__search");
  });

  it("is never shown what a list was made of for somebody else: each in any order, with a key and without [PS-4]", async () => {
    const { gateway, docs, names, keyOf } = await startAcme();
    const servers = [{ server_id: docs.server_id, tools_to_execute: ["*"] }];
    const key = { "x-bf-vk": await keyOf("acme", servers) };
    const alone = async () => {
      const headers = { ...key, "Content-Type": "application/json" };
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
      const response = await gateway.fetch("/mcp", { method: "POST", headers, body });
      return (await response.json<{ result: { tools: { name: string }[] } }>()).result.tools.map(({ name }) => name);
    };
    const stranger = { sub: "stranger", org: "acme" };
    const everybody: [() => Promise<string[]>, string[]][] = [
      [alone, ["docs__search", ...BUILT_IN_NAMES]],
      [() => names("bob"), ["docs__search", ...BUILT_IN_NAMES]],
      [() => names(stranger), []],
      [() => names(stranger, key), []],
      [() => names("bob", key), ["docs__search", ...BUILT_IN_NAMES]],
    ];
    for (const order of [everybody, everybody.toReversed()]) {
      // A write, so that no list of the other order is left.
      await accepted(await gateway.admin("PATCH", "/v1/orgs/acme", { name: "Acme" }));
      for (const [list, expected] of order) expect(await list()).toEqual(expected);
    }
  });

  it("is narrowed by a key of the same org, and refused with one of another [PS-1]", async () => {
    const { docs, names, ask, keyOf } = await startAcme();
    expect(await names("bob", { "x-bf-vk": await keyOf("acme") })).toEqual(BUILT_IN_NAMES);
    const open = await keyOf("default");
    expect((await ask("bob", "tools/list", {}, { "x-bf-vk": open })).status).toBe(403);
    expect((await ask("bob", "tools/list", {}, { "x-api-key": "sk-pst-made-up" })).status).toBe(401);
    expect(docs.org_ids).toEqual(["acme"]);
  });

  it("names an org of theirs, and no other", async () => {
    const { gateway, names, ask } = await startAcme();
    await accepted(await gateway.admin("PUT", "/v1/orgs/default/members/bob", { role: "member" }));
    expect(await names("bob", { "X-Org-Id": "acme" })).toEqual(["docs__search", ...BUILT_IN_NAMES]);
    expect(await names("bob", { "X-Org-Id": "default" })).toEqual(BUILT_IN_NAMES);
    expect((await ask("eve", "tools/list", {}, { "X-Org-Id": "acme" })).status).toBe(403);
  });

  it("who is taken out of the org is refused at once where that was done, and elsewhere when the copy has aged [PS-7]", async () => {
    const { gateway, names, call } = await startAcme();
    expect(await names("bob")).toEqual(["docs__search", ...BUILT_IN_NAMES]);
    await accepted(await gateway.admin("DELETE", "/v1/orgs/acme/members/bob"));
    expect(await names("bob")).toEqual([]);
    expect((await call("bob")).error?.message).toBe("Unknown tool: docs__search");
  });

  it("is not believed beyond the end of the token", async () => {
    const { gateway, ask } = await startAcme();
    const headers = await gateway.bearer("bob");
    const list = () =>
      gateway.fetch("/mcp", {
        method: "POST",
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
        headers: { ...headers, "Content-Type": "application/json" },
      });
    expect((await list()).status).toBe(200);
    gateway.passed = 400_000;
    expect((await list()).status).toBe(401);
    expect((await ask({ sub: "bob", aud: "another" }, "tools/list")).status).toBe(401);
  });

  it("is on record with every call, and not the token [OT-5]", async () => {
    const { gateway, call } = await startAcme();
    await call({ sub: "bob", email: "bob@acme.example" });
    await gateway.settled();
    const agent = await createAgent(gateway, []);
    await agent.rows("default:acme:bob");
    const page = await accepted<{ rows: unknown[] }>(
      await gateway.admin("GET", "/v1/calls", undefined, { "X-Org-Id": "acme" }),
    );
    expect(page.rows).toMatchObject([
      { sub: "bob", email: "bob@acme.example", virtual_key_id: null, tool: "search", ok: true },
    ]);
    // Members see their own calls, and nobody else's.
    await accepted(await gateway.admin("PUT", "/v1/orgs/acme/members/cleo", { role: "member" }));
    const rowsOf = async (user: string) =>
      (await accepted<{ rows: unknown[] }>(await gateway.as(user, "GET", "/v1/calls"))).rows.length;
    expect([await rowsOf("bob"), await rowsOf("cleo")]).toEqual([1, 0]);
  });
});
