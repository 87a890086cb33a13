/** The routes of requirements.md B.6: that there are these, for whom, and that each does its work for the least of them. */
import { describe, expect, it } from "vitest";
import { operations } from "../../src/app.ts";
import { accepted, createOrg } from "../support/api.ts";
import { moveAll } from "../support/rows.ts";
import { scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

const NEEDS = { P: "platform_admin", A: "org_admin", M: "member", U: "user", "-": "anyone", agent: "agent" } as const;

/** A group's admins are members of the org; what a member may see of calls, runs and tokens is the use case's to say. */
const B6: readonly (readonly [method: string, path: string, who: keyof typeof NEEDS])[] = [
  ["GET", "/v1/servers", "M"],
  ["POST", "/v1/servers", "A"],
  ["GET", "/v1/servers/:server_id", "M"],
  ["PATCH", "/v1/servers/:server_id", "A"],
  ["DELETE", "/v1/servers/:server_id", "A"],
  ["GET", "/v1/servers/:server_id/tools", "M"],
  ["GET", "/v1/servers/:server_id/tools/:name", "M"],
  ["PATCH", "/v1/servers/:server_id/tools/:name", "A"],
  ["POST", "/v1/servers/:server_id/discover", "A"],
  ["POST", "/v1/servers/:server_id/reconnect", "A"],
  ["GET", "/v1/servers/:server_id/changes", "A"],
  ["POST", "/v1/servers/:server_id/changes/:change_id/approve", "A"],
  ["POST", "/v1/servers/:server_id/changes/:change_id/refuse", "A"],
  ["PUT", "/v1/servers/:server_id/org-ids", "P"],
  ["GET", "/v1/servers/:server_id/allowed-tools", "A"],
  ["PUT", "/v1/servers/:server_id/allowed-tools", "A"],
  ["POST", "/v1/servers/:server_id/allowed-tools/copy", "A"],
  ["GET", "/v1/servers/:server_id/contexts", "P"],
  ["GET", "/v1/servers/:server_id/contexts/:org_id", "M"],
  ["PUT", "/v1/servers/:server_id/contexts/:org_id", "A"],
  ["DELETE", "/v1/servers/:server_id/contexts/:org_id", "A"],
  ["POST", "/v1/servers/:server_id/oauth/start", "U"],
  ["GET", "/v1/servers/:server_id/token", "U"],
  ["DELETE", "/v1/servers/:server_id/token", "U"],
  ["GET", "/v1/servers/:server_id/tokens", "A"],
  ["DELETE", "/v1/servers/:server_id/tokens/:user_id", "A"],
  ["GET", "/v1/tokens", "U"],
  ["GET", "/v1/virtual-keys", "A"],
  ["POST", "/v1/virtual-keys", "A"],
  ["GET", "/v1/virtual-keys/:virtual_key_id", "A"],
  ["PATCH", "/v1/virtual-keys/:virtual_key_id", "A"],
  ["DELETE", "/v1/virtual-keys/:virtual_key_id", "A"],
  ["POST", "/v1/virtual-keys/:virtual_key_id/rotate", "A"],
  ["GET", "/v1/orgs", "U"],
  ["POST", "/v1/orgs", "P"],
  ["GET", "/v1/orgs/:org_id", "M"],
  ["PATCH", "/v1/orgs/:org_id", "A"],
  ["DELETE", "/v1/orgs/:org_id", "P"],
  ["GET", "/v1/orgs/:org_id/groups", "M"],
  ["POST", "/v1/orgs/:org_id/groups", "A"],
  ["GET", "/v1/orgs/:org_id/groups/:group_id", "M"],
  ["PATCH", "/v1/orgs/:org_id/groups/:group_id", "A"],
  ["DELETE", "/v1/orgs/:org_id/groups/:group_id", "A"],
  ["GET", "/v1/orgs/:org_id/groups/:group_id/members", "M"],
  ["PUT", "/v1/orgs/:org_id/groups/:group_id/members/:user_id", "M"],
  ["DELETE", "/v1/orgs/:org_id/groups/:group_id/members/:user_id", "M"],
  ["GET", "/v1/orgs/:org_id/members", "M"],
  ["PUT", "/v1/orgs/:org_id/members/:user_id", "A"],
  ["DELETE", "/v1/orgs/:org_id/members/:user_id", "A"],
  ["GET", "/v1/instructions", "M"],
  ["GET", "/v1/instructions/:kind/:slug", "M"],
  ["PUT", "/v1/instructions/:kind/:slug", "M"],
  ["DELETE", "/v1/instructions/:kind/:slug", "M"],
  ["GET", "/v1/instructions/:kind/:slug/revisions", "M"],
  ["GET", "/v1/instructions/:kind/:slug/revisions/:version", "M"],
  ["GET", "/v1/instructions/blocklist", "A"],
  ["PUT", "/v1/instructions/blocklist", "A"],
  ["GET", "/v1/calls", "M"],
  ["GET", "/v1/calls/:call_id", "M"],
  ["GET", "/v1/calls/stats", "M"],
  ["GET", "/v1/runs", "M"],
  ["GET", "/v1/runs/:run_id", "M"],
  ["GET", "/v1/allowlist", "P"],
  ["GET", "/v1/generation", "M"],
  ["GET", "/v1/health", "-"],
  ["POST", "/v1/mcp/tool/execute", "agent"],
];

/** Ours besides. */
const MORE: readonly (typeof B6)[number][] = [
  ["POST", "/v1/servers/:server_id/changes/approve", "A"],
  ["POST", "/v1/servers/:server_id/changes/refuse", "A"],
  ["POST", "/v1/instructions/import", "M"],
  ["GET", "/v1/instructions/export", "M"],
  ["POST", "/v1/instructions/:kind/:slug/restore", "M"],
  ["GET", "/v1/instructions/:kind/:slug/diff", "M"],
  ["GET", "/v1/calls/export", "M"],
];

const CREATED = ["/v1/servers", "/v1/virtual-keys", "/v1/orgs", "/v1/orgs/:org_id/groups"];
const LISTS = /\/(servers|tools|changes|contexts|tokens|virtual-keys|orgs|groups|members|instructions|revisions)$/;
const CURSOR_LISTS = ["/v1/calls", "/v1/runs"];

describe("the native API", () => {
  it("has the routes of B.6 for those it names, and few besides [RB-42]", () => {
    const native = operations.map(({ spec }) => spec).filter(({ path }) => path.startsWith("/v1/"));
    const there = native.map(({ method, path, needs, status }) => `${method} ${path} ${needs} ${status}`);
    const named = [...B6, ...MORE].map(([method, path, who]) => {
      return `${method} ${path} ${NEEDS[who]} ${method === "POST" && CREATED.includes(path) ? 201 : 200}`;
    });
    expect(there.toSorted()).toEqual(named.toSorted());
  });
});

const tool = (name: string, description: string) =>
  JSON.stringify({ name, description, inputSchema: { type: "object" } });

/** Users of each rank in org `acme`, in which all of this happens. */
const WHO = { P: { sub: "chief", platform: true }, A: "ada", G: "gus", M: "mel", U: "mel" } as const;

describe("each route of B.6", () => {
  /** What has been answered, by method and path of the route. */
  const answers = new Map<string, { status: number; body: Record<string, unknown> }>();

  it("serves the least of those it is for, and answers as B.6 says [RB-42]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search", "one"), tool("other", "one")] });
    const gateway = await startWithUsers(upstream.network);
    await createOrg("acme");
    const put = (user: string, role: string) => gateway.admin("PUT", `/v1/orgs/acme/members/${user}`, { role });
    for (const [user, role] of [
      ["ada", "org_admin"],
      ["gus", "member"],
      ["mel", "member"],
    ] as const) {
      await accepted(await put(user, role));
    }

    /** @param path With values: `{server_id=srv_1}` stands for `:server_id`. */
    const ask = async <T = Record<string, never>>(
      who: keyof typeof WHO | "-",
      method: string,
      path: string,
      body?: unknown,
    ): Promise<T> => {
      const route = `${method} ${path.replaceAll(/\{(\w+)=[^}]*\}/g, ":$1").replace(/\?.*/, "")}`;
      const url = path.replaceAll(/\{\w+=([^}]*)\}/g, "$1");
      const headers = url.startsWith("/v1/orgs") || who === "-" ? {} : { "X-Org-Id": "acme" };
      const response = who === "-" ? await gateway.fetch(url) : await gateway.as(WHO[who], method, url, body, headers);
      const answer = { status: response.status, body: await response.json<Record<string, unknown>>() };
      expect(answer, route).toMatchObject({ status: expect.toSatisfy((status: number) => status < 300) });
      answers.set(route, answer);
      return answer.body as T;
    };

    // Servers and their tools.
    const docs = await ask<{ server_id: string }>("A", "POST", "/v1/servers", {
      ...{ name: "docs", server_url: "https://docs.example/mcp" },
    });
    const more = await ask<{ server_id: string }>("A", "POST", "/v1/servers", {
      ...{ name: "more", server_url: "https://more.example/mcp" },
    });
    const at = `/v1/servers/{server_id=${docs.server_id}}`;
    const other = `/v1/servers/{server_id=${more.server_id}}`;
    await ask("M", "GET", "/v1/servers");
    await ask("M", "GET", at);
    await ask("A", "PATCH", at, { display_name: "Docs" });
    await ask("M", "GET", `${at}/tools`);
    await ask("M", "GET", `${at}/tools/{name=search}`);
    await ask("A", "PATCH", `${at}/tools/{name=search}`, { price_usd: 0.5 });
    upstream.change({ tools: [tool("search", "two"), tool("other", "two")] });
    await ask("A", "POST", `${at}/discover`);
    const { rows } = await ask<{ rows: { change_id: string }[] }>("A", "GET", `${at}/changes`);
    expect(rows).toHaveLength(2);
    await ask("A", "POST", `${at}/changes/{change_id=${rows[0]?.change_id}}/approve`);
    await ask("A", "POST", `${at}/changes/{change_id=${rows[1]?.change_id}}/refuse`);
    await ask("A", "POST", `${at}/reconnect`);
    await ask("P", "PUT", `${at}/org-ids`, { org_ids: ["acme"] });
    await ask("A", "GET", `${at}/allowed-tools`);
    await ask("A", "PUT", `${at}/allowed-tools`, { allowed_tools: { search: true, other: false } });
    await ask("A", "POST", `${other}/allowed-tools/copy`, { source_server_id: docs.server_id });
    await ask("A", "PUT", `${at}/contexts/{org_id=acme}`, { context: "ours" });
    await ask("M", "GET", `${at}/contexts/{org_id=acme}`);
    await ask("P", "GET", `${at}/contexts`);
    expect(await ask("A", "DELETE", `${at}/contexts/{org_id=acme}`)).toEqual({ deleted: true });
    await ask("P", "GET", "/v1/allowlist");

    // Keys, calls and runs.
    const servers = [{ server_id: docs.server_id, tools_to_execute: ["*"] }];
    const key = await ask<{ virtual_key_id: string }>("A", "POST", "/v1/virtual-keys", { name: "k", servers });
    const keyAt = `/v1/virtual-keys/{virtual_key_id=${key.virtual_key_id}}`;
    await ask("A", "GET", "/v1/virtual-keys");
    await ask("A", "GET", keyAt);
    await ask("A", "PATCH", keyAt, { name: "key" });
    await ask("A", "POST", `${keyAt}/rotate`, {});
    const execute = (name: string, args: Record<string, unknown>) =>
      ask("U", "POST", "/v1/mcp/tool/execute", { function: { name, arguments: JSON.stringify(args) } });
    await execute("run_start", { label: "work" });
    await execute("docs__search", {});
    await moveAll(gateway, "acme", "mel", []);
    const calls = await ask<{ rows: { id: string }[] }>("M", "GET", "/v1/calls");
    await ask("M", "GET", `/v1/calls/{call_id=${calls.rows[0]?.id}}`);
    expect(await ask("M", "GET", "/v1/calls/stats")).toMatchObject({ total: 2, total_cost_usd: 0.5 });
    const runs = await ask<{ rows: { run_id: string }[] }>("M", "GET", "/v1/runs");
    await ask("M", "GET", `/v1/runs/{run_id=${runs.rows[0]?.run_id}}`);
    expect(await ask("A", "DELETE", keyAt)).toEqual({ deleted: true });

    // Instructions.
    const rule = "/v1/instructions/{kind=rule}/{slug=tone}";
    await ask("A", "PUT", rule, { body: "Be kind." });
    await ask("M", "GET", "/v1/instructions");
    await ask("M", "GET", rule);
    await ask("M", "GET", `${rule}/revisions`);
    await ask("M", "GET", `${rule}/revisions/{version=1}`);
    await ask("A", "PUT", "/v1/instructions/blocklist", { terms: ["ann"], forbid_attribution: true });
    await ask("A", "GET", "/v1/instructions/blocklist");
    expect(await ask("A", "DELETE", rule)).toEqual({ deleted: true });

    // Orgs, groups, members.
    await ask("P", "POST", "/v1/orgs", { org_id: "brief", name: "Brief" });
    expect(await ask("P", "DELETE", "/v1/orgs/{org_id=brief}")).toEqual({ deleted: true });
    await ask("U", "GET", "/v1/orgs");
    const org = "/v1/orgs/{org_id=acme}";
    await ask("M", "GET", org);
    await ask("A", "PATCH", org, { name: "Acme" });
    await ask("A", "POST", `${org}/groups`, { group_id: "sales", name: "Sales" });
    const group = `${org}/groups/{group_id=sales}`;
    await ask("A", "PUT", `${group}/members/{user_id=gus}`, { is_admin: true });
    await ask("G", "PUT", `${group}/members/{user_id=mel}`, {});
    await ask("M", "GET", `${org}/groups`);
    await ask("M", "GET", group);
    await ask("M", "GET", `${group}/members`);
    await ask("A", "PATCH", group, { name: "Sellers" });
    expect(await ask("G", "DELETE", `${group}/members/{user_id=mel}`)).toEqual({ deleted: true });
    expect(await ask("A", "DELETE", group)).toEqual({ deleted: true });
    await ask("M", "GET", `${org}/members`);
    await ask("A", "PUT", `${org}/members/{user_id=new}`, { role: "member" });
    expect(await ask("A", "DELETE", `${org}/members/{user_id=new}`)).toEqual({ deleted: true });

    // The rest: tokens are proved in test/credentials/tokens.test.ts, with an authorization server.
    await ask("U", "GET", "/v1/tokens");
    await ask("A", "GET", `${at}/tokens`);
    const before = await ask<{ generation: string }>("M", "GET", "/v1/generation");
    expect(before).toEqual({ org_id: "acme", generation: expect.any(String) });
    expect(await ask("A", "DELETE", other)).toEqual({ deleted: true });
    expect(await ask<{ generation: string }>("M", "GET", "/v1/generation")).not.toEqual(before);
    expect(await ask("-", "GET", "/v1/health")).toEqual({ status: "ok" });
    expect(await ask("A", "DELETE", at)).toEqual({ deleted: true });

    const withServer = ["oauth/start", "token", "tokens/:user_id"].map((end) => `/v1/servers/:server_id/${end}`);
    const elsewhere = B6.filter(([, path]) => withServer.includes(path)).map(([method, path]) => `${method} ${path}`);
    expect([...answers.keys(), ...elsewhere].toSorted()).toEqual(B6.map(([m, p]) => `${m} ${p}`).toSorted());
    for (const [route, { status, body }] of answers) {
      const [method = "", path = ""] = route.split(" ");
      expect({ route, status }).toEqual({ route, status: method === "POST" && CREATED.includes(path) ? 201 : 200 });
      if (method !== "GET") continue;
      const page = ["filters", "page_size", "rows", "sort"];
      if (LISTS.test(path))
        expect(Object.keys(body).toSorted(), route).toEqual([...page, "page", "total_rows"].toSorted());
      if (CURSOR_LISTS.includes(path)) {
        expect(Object.keys(body).toSorted(), route).toEqual([...page, "next_cursor"].toSorted());
      }
    }
  });
});
