import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { createAgent, NOT_BUILT_IN } from "../support/agent.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

let gateway: TestGateway;
let server_id: string;

beforeEach(async () => {
  await env.DB.batch([
    env.DB.prepare("INSERT INTO orgs (org_id, name, created) VALUES ('acme', 'Acme', 0), ('other', 'Other', 0)"),
    env.DB.prepare("INSERT INTO generations VALUES ('acme', 0), ('other', 0)"),
  ]);
  gateway = startGateway(scriptedServer({ era: "modern", tools: ['{"name":"search"}'] }).network);
  const body = { name: "docs", server_url: "https://docs.example/mcp", allow_on_all_virtual_keys: true };
  const created = await gateway.admin("POST", "/v1/servers", body);
  ({ server_id } = await created.json<{ server_id: string }>());
});

const put = (org_ids: string[]) => gateway.admin("PUT", `/v1/servers/${server_id}/org-ids`, { org_ids });
const context = (method: string, org: string, body?: unknown) =>
  gateway.admin(method, `/v1/servers/${server_id}/contexts/${org}`, body);

async function keyOf(org: string) {
  const servers = [{ server_id, tools_to_execute: ["search"] }, NOT_BUILT_IN];
  const created = await gateway.admin("POST", "/v1/virtual-keys", { name: "k", servers }, { "X-Org-Id": org });
  return created.json<{ virtual_key_id: string; value: string }>();
}

async function toolsOf({ value }: { value: string }): Promise<number> {
  const response = await gateway.fetch("/mcp", {
    method: "POST",
    headers: { Authorization: `Bearer ${value}`, "Content-Type": "application/json" },
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
  });
  return (await response.json<{ result: { tools: unknown[] } }>()).result.tools.length;
}

describe("PUT /v1/servers/{id}/org-ids", () => {
  it("hides a server from every other org, at once and on every door [RB-11, RG-30]", async () => {
    const [acme, other] = [await keyOf("acme"), await keyOf("other")];
    expect([await toolsOf(acme), await toolsOf(other)]).toEqual([1, 1]);
    expect(await (await put(["acme", "acme"])).json()).toMatchObject({ org_ids: ["acme"] });
    expect([await toolsOf(acme), await toolsOf(other)]).toEqual([1, 0]);
    const agent = await createAgent(gateway, []);
    const called = await agent.modern("/mcp", "tools/call", { name: "docs__search" });
    expect(await called.json()).toMatchObject({ error: { code: -32602 } });
    expect(await agent.rows()).toMatchObject([{ reason: "not_visible" }]);
  });

  it("takes from orgs that lose it their contexts and their keys' assignments [RB-31]", async () => {
    const [acme, other] = [await keyOf("acme"), await keyOf("other")];
    for (const org of ["acme", "other"]) expect((await context("PUT", org, { context: `of ${org}` })).status).toBe(200);
    await put(["acme"]);
    const serversOf = async (org: string, { virtual_key_id }: { virtual_key_id: string }) => {
      const read = await gateway.admin("GET", `/v1/virtual-keys/${virtual_key_id}`, undefined, { "X-Org-Id": org });
      return (await read.json<{ servers: { server_id: string }[] }>()).servers.map((of) => of.server_id).toSorted();
    };
    const [both, without] = [["gateway", server_id], ["gateway"]];
    expect([await serversOf("acme", acme), await serversOf("other", other)]).toEqual([both, without]);
    const listed = await gateway.admin("GET", `/v1/servers/${server_id}/contexts`);
    expect(await listed.json()).toMatchObject({ rows: [{ org_id: "acme", context: "of acme" }], total_rows: 1 });
    expect((await put([])).status).toBe(200);
    expect([await serversOf("acme", acme), await toolsOf(other)]).toEqual([both, 1]);
  });

  it("changes which orgs see a server and nothing of the server, and its switch is for all of them [RG-30]", async () => {
    const acme = await keyOf("acme");
    const path = `/v1/servers/${server_id}`;
    const read = async () => (await gateway.admin("GET", path)).json<Record<string, unknown>>();
    const rowOf = () => env.DB.prepare("SELECT * FROM servers WHERE server_id = ?").bind(server_id).first();
    const [before, { modified: _, ...row }] = [await read(), (await rowOf()) ?? {}];
    for (const org_ids of [["acme", "other"], ["acme"], []]) {
      expect((await put(org_ids)).status).toBe(200);
      expect(await read()).toEqual({ ...before, org_ids, modified: expect.any(String) });
      expect(await rowOf()).toEqual({ ...row, modified: expect.any(Number) });
      expect(await toolsOf(acme)).toBe(1);
      await gateway.admin("PATCH", path, { enabled: false });
      expect(await toolsOf(acme)).toBe(0);
      await gateway.admin("PATCH", path, { enabled: true });
    }
    // A name is taken for every org, whoever sees its server.
    await put(["acme"]);
    const same = { name: "DOCS", server_url: "https://docs.example/mcp", org_ids: ["other"] };
    expect((await gateway.admin("POST", "/v1/servers", same)).status).toBe(409);
  });

  it.each([
    ["omitted at first", undefined, 201, []],
    ["empty at first", [], 201, []],
    ["null at first", null, 400, undefined],
  ])("%s: %o", async (_, org_ids, status, shown) => {
    const body = { name: "other", server_url: "https://other.example/mcp", org_ids };
    const answer = await gateway.admin("POST", "/v1/servers", body);
    expect([answer.status, (await answer.json<{ org_ids?: unknown }>()).org_ids]).toEqual([status, shown]);
  });

  it("keeps its orgs where a change omits them, and takes no null", async () => {
    await put(["acme"]);
    const patch = async (body: unknown) => {
      const answer = await gateway.admin("PATCH", `/v1/servers/${server_id}`, body);
      return [answer.status, (await answer.json<{ org_ids?: unknown }>()).org_ids];
    };
    expect(await patch({ display_name: "D" })).toEqual([200, ["acme"]]);
    expect(await patch({ org_ids: null })).toEqual([400, undefined]);
    expect(await patch({ org_ids: [] })).toEqual([200, []]);
  });

  it("is refused for an org that does not exist, and changes nothing", async () => {
    await put(["acme"]);
    const refused = await put(["acme", "nobody"]);
    expect(await refused.json()).toMatchObject({ status: 400, field: "org_ids" });
    expect(await (await gateway.admin("GET", `/v1/servers/${server_id}`)).json()).toMatchObject({ org_ids: ["acme"] });
  });
});

describe("an org's context for a server", () => {
  it("is set, read, replaced and cleared [RB-22]", async () => {
    expect((await context("GET", "acme")).status).toBe(404);
    const first = await (await context("PUT", "acme", { context: "Use the blue one" })).json<Record<string, unknown>>();
    expect(first).toEqual({
      server_id,
      org_id: "acme",
      context: "Use the blue one",
      created: expect.stringMatching(/Z$/),
      created_by: "admin-key",
      modified: expect.stringMatching(/Z$/),
      modified_by: "admin-key",
    });
    const second = await (await context("PUT", "acme", { context: "Use the red one" })).json();
    expect(second).toMatchObject({ context: "Use the red one", created: first["created"] });
    expect(await (await context("PUT", "acme", { context: "" })).json()).toEqual({ deleted: true });
    expect((await context("GET", "acme")).status).toBe(404);
    expect((await context("DELETE", "acme")).status).toBe(404);
  });

  it("has at most 4,000 characters, counted as people do [RB-24, RB-34]", async () => {
    expect((await context("PUT", "acme", { context: "\u{1f600}".repeat(4_000) })).status).toBe(200);
    const refused = await context("PUT", "acme", { context: "x".repeat(4_001) });
    expect(await refused.json()).toMatchObject({ status: 400, field: "context" });
  });

  it("is not found for a server that the org cannot see, or an org that does not exist [RB-25]", async () => {
    await put(["acme"]);
    expect((await context("PUT", "other", { context: "x" })).status).toBe(404);
    expect((await context("GET", "other")).status).toBe(404);
    expect((await context("PUT", "nobody", { context: "x" })).status).toBe(404);
  });
});
