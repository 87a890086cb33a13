/** What org admins and members see and change of servers (PS-5, B.6). */
import { describe, expect, it } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { accepted, createOrg, refusal, register, stored } from "../support/api.ts";
import { scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

const URL_OF_DOCS = "https://docs.example/mcp?token=s3cret";

/** The org `acme` with its admin ann and its member bob, and a server for each who may see one. */
async function startAcme() {
  const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}', '{"name":"erase"}'] });
  const gateway = await startWithUsers(upstream.network);
  await createOrg("acme");
  await createOrg("other");
  await accepted(await gateway.admin("PUT", "/v1/orgs/acme/members/ann", { role: "org_admin" }));
  await accepted(await gateway.admin("PUT", "/v1/orgs/acme/members/bob", { role: "member" }));
  const make = async (name: string, org_ids: string[]) =>
    register(gateway, {
      ...{ name, org_ids, server_url: URL_OF_DOCS, enabled: true, config: { api_key: "k3y" } },
      ...{ allowed_tools: { search: true, erase: false }, timeout_ms: 5_000 },
    });
  return {
    gateway,
    upstream,
    own: await make("own", ["acme"]),
    shared: await make("shared", ["acme", "other"]),
    global: await make("global", []),
    foreign: await make("foreign", ["other"]),
  };
}

const WRITES: readonly (readonly [method: string, path: string, body?: unknown])[] = [
  ["PATCH", "", { display_name: "Ours" }],
  ["POST", "/discover"],
  ["POST", "/reconnect"],
  ["PUT", "/allowed-tools", { allowed_tools: ["*"] }],
  ["POST", "/allowed-tools/copy", { source_server_id: "gateway" }],
  ["PATCH", "/tools/search", { price_usd: 1 }],
  ["POST", "/changes/approve"],
  ["POST", "/changes/refuse"],
  ["DELETE", ""],
];

describe("a server", () => {
  it("is listed for those whose org sees it, and does not exist for others [RB-11, PS-5]", async () => {
    const { gateway, own, foreign } = await startAcme();
    for (const user of ["ann", "bob"]) {
      const { rows } = await accepted<{ rows: ServerView[] }>(await gateway.as(user, "GET", "/v1/servers"));
      expect(rows.map(({ name }) => name).toSorted()).toEqual(["gateway", "global", "own", "shared"]);
      expect((await gateway.as(user, "GET", `/v1/servers/${own.server_id}`)).status).toBe(200);
      for (const path of ["", "/tools", "/tools/search", "/contexts/acme"]) {
        const response = await gateway.as(user, "GET", `/v1/servers/${foreign.server_id}${path}`);
        expect([path, await refusal(response)]).toEqual([path, { status: 404, code: "not_found" }]);
      }
    }
    const before = await stored();
    for (const [method, path, body] of WRITES) {
      const response = await gateway.as("ann", method, `/v1/servers/${foreign.server_id}${path}`, body);
      expect([method, path, (await refusal(response)).status]).toEqual([method, path, 404]);
    }
    expect(await stored()).toEqual(before);
  });

  it("is narrowed to an org for a platform admin who names one, and whole otherwise", async () => {
    const { gateway } = await startAcme();
    const names = async (headers: Record<string, string>) => {
      const response = await gateway.admin("GET", "/v1/servers", undefined, headers);
      return (await accepted<{ rows: ServerView[] }>(response)).rows.map(({ name }) => name).toSorted();
    };
    expect(await names({})).toEqual(["foreign", "gateway", "global", "own", "shared"]);
    expect(await names({ "X-Org-Id": "other" })).toEqual(["foreign", "gateway", "global", "shared"]);
  });

  it("shows a member what it takes to use it, an editor all but its config [PS-51, CN-2]", async () => {
    const { gateway, own, shared } = await startAcme();
    const hidden = ["config", "stdio_config", "authorization_endpoint", "token_endpoint", "extra_auth_params"];
    const get = async (user: string, id: string) =>
      accepted<ServerView>(await gateway.as(user, "GET", `/v1/servers/${id}`));
    const views = [await get("bob", own.server_id), await get("ann", shared.server_id)];
    for (const view of views) {
      for (const field of [...hidden, "created_by", "modified_by"]) expect(view).not.toHaveProperty(field);
      expect(view.server_url).toBe("https://docs.example/mcp");
    }
    const edited = await get("ann", own.server_id);
    expect(edited).not.toHaveProperty("config");
    expect(edited).toMatchObject({ server_url: URL_OF_DOCS, created_by: "admin-key", extra_auth_params: {} });
    expect(await accepted(await gateway.admin("GET", `/v1/servers/${own.server_id}`))).toMatchObject({
      config: { api_key: "k3y" },
    });
    expect(JSON.stringify([views, edited])).not.toContain("k3y");
  });

  it("does not tell a member why it failed", async () => {
    const { gateway, upstream, own } = await startAcme();
    upstream.change({ first: () => new Response("", { status: 500 }) });
    await gateway.as("ann", "POST", `/v1/servers/${own.server_id}/discover`);
    const failure = async (user: string) =>
      (await accepted<ServerView>(await gateway.as(user, "GET", `/v1/servers/${own.server_id}`))).last_failure;
    expect(await failure("ann")).toMatchObject({ stage: "connect", message: expect.stringContaining("500") });
    expect(await failure("bob")).toEqual({ stage: "connect", at: expect.any(String) });
  });

  it("shows a member the tools that may be called, and an admin all of them", async () => {
    const { gateway, own } = await startAcme();
    const path = `/v1/servers/${own.server_id}/tools`;
    const names = async (user: string) => {
      const page = await accepted<{ rows: { name: string }[]; total_rows: number }>(
        await gateway.as(user, "GET", path),
      );
      expect(page.total_rows).toBe(page.rows.length);
      return page.rows.map(({ name }) => name);
    };
    expect(await names("bob")).toEqual(["search"]);
    expect(await names("ann")).toEqual(["erase", "search"]);
    expect((await gateway.as("bob", "GET", `${path}/search`)).status).toBe(200);
    expect((await gateway.as("bob", "GET", `${path}/erase`)).status).toBe(404);
    expect((await gateway.as("ann", "GET", `${path}/erase`)).status).toBe(200);
  });

  it("is changed by the admin of its one org, and by nobody else of an org [PS-5]", async () => {
    const { gateway, own, shared, global } = await startAcme();
    for (const { server_id } of [shared, global]) {
      const before = await stored();
      for (const [method, path, body] of WRITES) {
        const response = await gateway.as("ann", method, `/v1/servers/${server_id}${path}`, body);
        expect([method, path, await refusal(response)]).toEqual([method, path, { status: 403, code: "forbidden" }]);
      }
      expect(await stored()).toEqual(before);
    }
    for (const [method, path, body] of WRITES) {
      const response = await gateway.as("ann", method, `/v1/servers/${own.server_id}${path}`, body);
      expect([method, path, response.status]).toEqual([method, path, 200]);
    }
  });

  it("is registered by an org admin for that org, and for no other [RB-27, RB-28]", async () => {
    const { gateway } = await startAcme();
    const create = (org_ids?: string[]) =>
      gateway.as("ann", "POST", "/v1/servers", {
        ...{ name: `s-${org_ids?.join("-") ?? "none"}`, server_url: "https://d.example/mcp", enabled: false },
        ...(org_ids === undefined ? {} : { org_ids }),
      });
    expect(await accepted(await create(), 201)).toMatchObject({ org_ids: ["acme"], created_by: "ann" });
    expect(await accepted(await create(["acme"]), 201)).toMatchObject({ org_ids: ["acme"] });
    const before = await stored();
    for (const org_ids of [[], ["other"], ["acme", "other"], ["nowhere"]]) {
      expect(await refusal(await create(org_ids))).toEqual({ status: 403, code: "forbidden", field: "org_ids" });
    }
    expect(await stored()).toEqual(before);
  });

  it("is given to other orgs by admins of the platform only", async () => {
    const { gateway, own } = await startAcme();
    const response = await gateway.as("ann", "PATCH", `/v1/servers/${own.server_id}`, { org_ids: [] });
    expect(await refusal(response)).toEqual({ status: 403, code: "forbidden", field: "org_ids" });
    expect((await gateway.as("ann", "PUT", `/v1/servers/${own.server_id}/org-ids`, { org_ids: [] })).status).toBe(403);
    const chief = { sub: "chief", platform: true };
    const moved = await gateway.as(chief, "PATCH", `/v1/servers/${own.server_id}`, { org_ids: ["other"] });
    expect(await accepted(moved)).toMatchObject({ org_ids: ["other"], modified_by: "chief" });
    expect((await gateway.as("ann", "GET", `/v1/servers/${own.server_id}`)).status).toBe(404);
  });

  it("has a context that the org's admin sets and its members read", async () => {
    const { gateway, global } = await startAcme();
    const path = `/v1/servers/${global.server_id}/contexts/acme`;
    expect((await gateway.as("bob", "PUT", path, { context: "x" })).status).toBe(403);
    expect(await accepted(await gateway.as("ann", "PUT", path, { context: "Use project X." }))).toMatchObject({
      ...{ org_id: "acme", created_by: "ann" },
    });
    expect(await accepted(await gateway.as("bob", "GET", path))).toMatchObject({ context: "Use project X." });
    expect((await gateway.as("ann", "PUT", path.replace("acme", "other"), { context: "x" })).status).toBe(403);
  });
});
