/** What is known of upstream tokens, who may see it, and what deletes them: here, in KV and at their issuer. */
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { runSchedule } from "../../src/app.ts";
import { accepted, createOrg } from "../support/api.ts";
import { authorizationServer } from "../support/authorization-server.ts";
import { createBrowser } from "../support/oauth.ts";
import {
  callbackOf,
  linkServer,
  linkWithKey,
  type ProtectedWorld,
  protectedWorld,
  SEARCH,
  triedAgent,
} from "../support/protected.ts";
import { scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

afterEach(() => void vi.useRealTimers());

const CALL = { name: "docs__search", arguments: {} };

async function linkedKey(fields: Record<string, unknown> = {}) {
  const world = protectedWorld();
  const agent = await triedAgent(world, fields);
  expect((await linkWithKey(world, agent)).status).toBe(200);
  const issued = world.as.issued.at(-1);
  return {
    world,
    agent,
    user: `key:${agent.key.virtual_key_id}`,
    access: issued?.access_token ?? "",
    refresh: issued?.refresh_token ?? "",
  };
}

/** That nothing is left of the token that was issued last: no row, no value, and not at its issuer. */
async function expectGone(world: ProtectedWorld, access: string) {
  expect((await env.DB.prepare("SELECT * FROM tokens").all()).results).toEqual([]);
  expect((await env.DB.prepare("SELECT * FROM token_disposals").all()).results).toEqual([]);
  expect((await env.TOKENS.list({ prefix: "tok:" })).keys).toEqual([]);
  expect(world.as.isGood(access)).toBe(false);
}

describe("a token", () => {
  it("is shown without its values, and as what it is [RB-17, RB-18, RB-19, RB-20, RB-21]", async () => {
    const { world, agent, user } = await linkedKey();
    const { rows } = await accepted<{ rows: unknown[] }>(
      await world.gateway.admin("GET", `/v1/servers/${agent.server_id}/tokens`),
    );
    expect(rows).toEqual([
      {
        server_id: agent.server_id,
        user_id: user,
        org_id: "default",
        token_status: "valid",
        expires_at: expect.stringMatching(/Z$/),
        scopes: ["read", "write"],
        created: expect.stringMatching(/Z$/),
        modified: expect.stringMatching(/Z$/),
      },
    ]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
    const all = await accepted<{ rows: unknown[] }>(await world.gateway.admin("GET", "/v1/tokens?user_id=*"));
    expect(all.rows).toMatchObject([{ user_id: user, token_status: "expired" }]);
    world.as.failNext("token", "invalid_grant");
    await agent.modern("/mcp", "tools/call", CALL);
    const failed = await accepted<{ rows: unknown[] }>(await world.gateway.admin("GET", `/v1/tokens?user_id=${user}`));
    expect(failed.rows).toMatchObject([{ token_status: "refresh_failed" }]);
  });

  it("is sealed wherever it is stored [RB-17, PS-50]", async () => {
    const { world, access, refresh } = await linkedKey();
    const stored = [JSON.stringify((await env.DB.prepare("SELECT * FROM tokens").all()).results)];
    for (const { name } of (await env.TOKENS.list()).keys) stored.push((await env.TOKENS.get(name)) ?? "");
    expect(stored).toHaveLength(2);
    for (const text of stored) {
      expect(text).not.toContain(access);
      expect(text).not.toContain(refresh);
    }
    expect(world.as.isGood(access)).toBe(true);
  });

  it("of everybody is shown to those who may edit the server [RB-18]", async () => {
    const world = protectedWorld();
    const agent = await triedAgent(world, { auth_type: "oauth" });
    const path = `/v1/servers/${agent.server_id}/token`;
    expect(await accepted(await world.gateway.admin("GET", path))).toMatchObject({
      user_id: "",
      org_id: "",
      token_status: "valid",
    });
    const access = world.as.issued.at(-1)?.access_token ?? "";
    expect(await accepted(await world.gateway.admin("DELETE", path))).toEqual({ deleted: true });
    await expectGone(world, access);
    expect((await world.gateway.admin("DELETE", path)).status).toBe(404);
    expect((await linkServer(world, agent.server_id)).status).toBe(200);
  });
});

describe("a token goes", () => {
  const ways: [string, (world: ProtectedWorld, serverId: string, user: string) => Promise<Response>][] = [
    ["with its deletion by an admin", (w, id, user) => w.gateway.admin("DELETE", `/v1/servers/${id}/tokens/${user}`)],
    ["with its server [RB-38]", (w, id) => w.gateway.admin("DELETE", `/v1/servers/${id}`)],
    ["with its key [PS-9]", (w, _, user) => w.gateway.admin("DELETE", `/v1/virtual-keys/${user.slice(4)}`)],
    [
      "with another origin of the server [PS-52, T-11]",
      (w, id) => w.gateway.admin("PATCH", `/v1/servers/${id}`, { server_url: "https://other.example/mcp" }),
    ],
    ["with another auth_type [PS-53]", (w, id) => w.gateway.admin("PATCH", `/v1/servers/${id}`, { auth_type: "none" })],
    [
      "with another way to register [PS-53]",
      (w, id) => w.gateway.admin("PATCH", `/v1/servers/${id}`, { registration_mode: "cimd" }),
    ],
    [
      "with another issuer [PS-53]",
      (w, id) => w.gateway.admin("PATCH", `/v1/servers/${id}`, { oauth_issuer_url: "https://other.example" }),
    ],
    [
      "with the org that loses the server [RB-31]",
      async (w, id) => {
        await createOrg("acme");
        return w.gateway.admin("PUT", `/v1/servers/${id}/org-ids`, { org_ids: ["acme"] });
      },
    ],
  ];

  it.each(ways)("%s: here, in KV and at its issuer [RB-37, PS-57, T-43]", async (_, remove) => {
    const { world, agent, user, access } = await linkedKey();
    expect((await remove(world, agent.server_id, user)).status).toBeLessThan(300);
    await expectGone(world, access);
    const revoked = world.as.to("revocation").map(({ params }) => params["token_type_hint"]);
    expect(revoked.slice(-2)).toEqual(["refresh_token", "access_token"]);
  });

  it.each([
    ["500", 500],
    ["a broken connection", "break"],
    ["a refusal", "invalid_client"],
  ] as const)("here though its issuer answers with %s [RB-37, PS-57, T-43]", async (_, fault) => {
    const { world, agent, user } = await linkedKey();
    world.as.failAlways("revocation", fault);
    const deleted = await world.gateway.admin("DELETE", `/v1/servers/${agent.server_id}/tokens/${user}`);
    expect(deleted.status).toBe(200);
    expect((await env.DB.prepare("SELECT * FROM tokens").all()).results).toEqual([]);
    expect((await env.TOKENS.list({ prefix: "tok:" })).keys).toEqual([]);
    const refused = await agent.modern("/mcp", "tools/call", CALL);
    expect(await refused.text()).toContain("/connect/");
  });

  it("at its issuer some time, also when the one who deleted it was killed right behind [PS-57]", async () => {
    const { world, user, access } = await linkedKey();
    await env.DB.prepare("DELETE FROM tokens WHERE user_id = ?").bind(user).run();
    expect(world.as.isGood(access)).toBe(true);
    await runSchedule(env);
    await expectGone(world, access);
  });

  it("from what another isolate remembers within the bound [PS-57, PS-7]", async () => {
    const { world, agent, user } = await linkedKey();
    await agent.modern("/mcp", "tools/call", CALL);
    // As a write of another isolate: this one is told nothing.
    await env.DB.prepare("DELETE FROM tokens WHERE user_id = ?").bind(user).run();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 5_000 });
    const before = world.upstream.calls().length;
    expect(await (await agent.modern("/mcp", "tools/call", CALL)).text()).toContain("/connect/");
    expect(world.upstream.calls()).toHaveLength(before);
  });

  it("not with what leaves origin and account as they are [PS-52, PS-53]", async () => {
    const { world, agent, user } = await linkedKey();
    for (const patch of [
      { server_url: "https://docs.example/mcp/v2" },
      { display_name: "Docs" },
      { scopes: ["read"] },
      {},
    ]) {
      expect((await world.gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, patch)).status).toBe(200);
    }
    const kept = await env.DB.prepare("SELECT user_id FROM tokens").all();
    expect(kept.results).toEqual([{ user_id: user }]);
  });
});

describe("users", () => {
  /** Users of an identity provider, and a protected server; who is at the browser is a session of theirs. */
  async function start() {
    const as = authorizationServer({ clock: () => Date.now() });
    const upstream = scriptedServer({ era: "modern", tools: [SEARCH], first: (seen) => as.challenge(seen.headers) });
    const gateway = await startWithUsers(async (request) => (await as.handle(request)) ?? upstream.network(request), {
      OIDC_CLIENT_ID: "postern",
    });
    for (const [org, user, role] of [
      ["default", "ann", "member"],
      ["default", "bob", "org_admin"],
    ]) {
      expect((await gateway.admin("PUT", `/v1/orgs/${org}/members/${user}`, { role })).status).toBe(200);
    }
    const created = await gateway.admin("POST", "/v1/servers", {
      ...{ name: "docs", server_url: "https://docs.example/mcp", auth_type: "per_user_oauth" },
    });
    const { server_id } = await accepted<{ server_id: string }>(created, 201);
    return { as, gateway, server_id, upstream };
  }

  it("see and delete their own tokens, org admins those of the org, nobody those of another [RB-18, T-13]", async () => {
    const { gateway, server_id } = await start();
    await createOrg("acme");
    await gateway.admin("PUT", "/v1/orgs/acme/members/ann", { role: "member" });
    const put = (org: string, user: string) =>
      env.DB.prepare("INSERT INTO tokens VALUES (?, ?, ?, ?, 1, NULL, NULL, 0, 0, '[]', 0, 0)").bind(
        server_id,
        org,
        user,
        `tok_${org}_${user}`,
      );
    await env.DB.batch([put("default", "ann"), put("acme", "ann"), put("default", "bob")]);
    const list = async (user: string, query: string, headers = {}) => {
      const response = await gateway.as(user, "GET", `/v1/tokens${query}`, undefined, headers);
      if (response.status !== 200) return response.status;
      return (await response.json<{ rows: { org_id: string; user_id: string }[] }>()).rows.map(
        ({ org_id, user_id }) => `${org_id} ${user_id}`,
      );
    };
    const inDefault = { "X-Org-Id": "default" };
    expect(await list("ann", "", inDefault)).toEqual(["default ann"]);
    expect(await list("ann", "", { "X-Org-Id": "acme" })).toEqual(["acme ann"]);
    expect(await list("ann", "?user_id=bob", inDefault)).toBe(403);
    expect(await list("ann", "?user_id=*", inDefault)).toBe(403);
    expect(await list("bob", "?user_id=*")).toEqual(["default ann", "default bob"]);
    expect((await gateway.as("ann", "GET", `/v1/servers/${server_id}/tokens`, undefined, inDefault)).status).toBe(403);
    expect((await gateway.as("ann", "DELETE", `/v1/servers/${server_id}/token`, undefined, inDefault)).status).toBe(
      200,
    );
    expect((await gateway.as("ann", "GET", `/v1/servers/${server_id}/token`, undefined, inDefault)).status).toBe(404);
    expect(await list("ann", "", { "X-Org-Id": "acme" })).toEqual(["acme ann"]);
    expect((await gateway.as("bob", "DELETE", `/v1/servers/${server_id}/tokens/ann`)).status).toBe(404);
  });

  it("who leave the org leave their tokens of it behind [PS-57]", async () => {
    const { gateway, server_id } = await start();
    await env.DB.prepare("INSERT INTO tokens VALUES (?, 'default', 'ann', 'tok_ann', 1, NULL, NULL, 0, 0, '[]', 0, 0)")
      .bind(server_id)
      .run();
    expect((await gateway.admin("DELETE", "/v1/orgs/default/members/ann")).status).toBe(200);
    expect((await env.DB.prepare("SELECT * FROM tokens").all()).results).toEqual([]);
  });

  it("start to link with an address of ours and a state; others' servers and static ones have neither [RB-35]", async () => {
    const { gateway, server_id } = await start();
    const begun = await accepted<Record<string, string>>(
      await gateway.as("ann", "POST", `/v1/servers/${server_id}/oauth/start`),
    );
    expect(begun).toEqual({
      authorization_url: expect.stringMatching(/^https:\/\/gateway\.example\/connect\/[\w-]{43}$/),
      state: expect.stringMatching(/^[\w-]{43}$/),
    });
    // Whoever comes by it without a session is sent to sign in first, and back here.
    const path = callbackOf(begun["authorization_url"] ?? "");
    const sent = await createBrowser(gateway).get(path);
    expect(sent.status).toBe(302);
    expect(sent.headers.get("Location")).toContain("https://id.example/authorize");
    const plain = await gateway.admin("POST", "/v1/servers", {
      name: "plain",
      server_url: "https://docs.example/plain",
    });
    const { server_id: other } = await accepted<{ server_id: string }>(plain, 201);
    expect((await gateway.as("ann", "POST", `/v1/servers/${other}/oauth/start`)).status).toBe(400);
    expect((await gateway.as("ann", "POST", "/v1/servers/srv_none/oauth/start")).status).toBe(404);
    await gateway.admin("PATCH", `/v1/servers/${server_id}`, { auth_type: "oauth" });
    expect((await gateway.as("ann", "POST", `/v1/servers/${server_id}/oauth/start`)).status).toBe(403);
  });
});
