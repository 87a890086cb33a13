import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { agentOf } from "../support/agent.ts";
import { accepted, createOrg, generationOf, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const patch = async (gateway: TestGateway, id: string, body: unknown) =>
  accepted<ServerView>(await gateway.admin("PATCH", `/v1/servers/${id}`, body));

/** Everything but what every write changes. */
const lasting = ({ modified: _, ...server }: ServerView) => server;

describe("PATCH /v1/servers/:server_id", () => {
  it.each([
    [{}, {}],
    [{ name: " manual " }, { name: "manual" }],
    [{ display_name: " The docs " }, { display_name: "The docs" }],
    [{ server_url: "https://docs.example/other" }, { server_url: "https://docs.example/other" }],
    [{ connection_type: "http" }, {}],
    [{ timeout_ms: "2500" }, { timeout_ms: 2_500 }],
    [{ timeout_ms: null }, { timeout_ms: 15_000 }],
    [{ auth_type: "none" }, { auth_type: "none" }],
    [{ config: { api_key: "k3y" } }, { config: { api_key: "k3y" } }],
    [{ allow_on_all_virtual_keys: true }, { allow_on_all_virtual_keys: true }],
    [{ allowed_tools: { a: true } }, { allowed_tools: { a: true }, tool_mode: "list" }],
    [{ enabled: "no" }, {}],
    [
      { display_name: "The docs", timeout_ms: 2_500 },
      { display_name: "The docs", timeout_ms: 2_500 },
    ],
  ])("changes by %o what it names and nothing else [RG-19]", async (body, changed) => {
    const gateway = startGateway(offline);
    const config = { headers: { "X-Api-Key": "s3cret" } };
    const before = await register(gateway, { config, timeout_ms: 9_000, display_name: "Docs" });
    const after = await patch(gateway, before.server_id, body);
    expect(lasting(after)).toEqual({ ...lasting(before), ...changed });
    expect(await accepted(await gateway.admin("GET", `/v1/servers/${before.server_id}`))).toEqual(after);
  });

  it("moves modified and modified_by with every write, and created with none [RB-14]", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-11-01T00:00:00Z") });
    try {
      const gateway = startGateway(scriptedServer({ era: "modern", tools: [] }).network);
      const server = await register(gateway, { enabled: true });
      await env.DB.prepare("UPDATE servers SET created_by = 'ann', modified_by = 'ann'").run();
      vi.setSystemTime(Date.parse("2026-11-02T00:00:00Z"));
      await accepted(await gateway.admin("POST", `/v1/servers/${server.server_id}/discover`));
      const { created } = server;
      expect(await accepted(await gateway.admin("GET", `/v1/servers/${server.server_id}`))).toMatchObject({
        ...{ created, created_by: "ann", modified: created, modified_by: "ann" },
      });
      const written = { created, created_by: "ann", modified: "2026-11-02T00:00:00.000Z", modified_by: "admin-key" };
      expect(await patch(gateway, server.server_id, {})).toMatchObject(written);
      // A clock that goes back takes nothing back.
      vi.setSystemTime(Date.parse("2026-10-01T00:00:00Z"));
      expect(await patch(gateway, server.server_id, {})).toMatchObject({
        ...written,
        modified: "2026-11-02T00:00:00.001Z",
      });
    } finally {
      vi.useRealTimers();
    }
  });

  it.each([{}, { display_name: "docs" }, { config: { api_key: "k3y" } }, { name: "docs" }, { timeout_ms: 1_000 }])(
    "raises the generation by one, also when it changes nothing: %o [RG-21]",
    async (body) => {
      const gateway = startGateway(offline);
      const { server_id } = await register(gateway, { config: { api_key: "k3y" } });
      const before = await generationOf();
      await patch(gateway, server_id, body);
      expect(await generationOf()).toBe(before + 1);
    },
  );

  it("leaves an unset time-out unset, and a set one set [RG-11, RG-20, T-32]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    const timeout = () => storedValue("SELECT timeout_ms FROM servers WHERE connection_type <> 'inprocess'");
    await patch(gateway, server_id, { display_name: "Docs" });
    expect(await timeout()).toBeNull();
    await patch(gateway, server_id, { timeout_ms: 15_000 });
    await patch(gateway, server_id, { display_name: "The docs" });
    expect(await timeout()).toBe(15_000);
    await patch(gateway, server_id, { timeout_ms: "soon" });
    expect(await timeout()).toBeNull();
  });

  it("judges only what is sent [RG-20]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    const illegal = { name: "no slug", display_name: "\u0000", server_url: "http://10.0.0.1/mcp" };
    await env.DB.prepare("UPDATE servers SET name = ?, display_name = ?, server_url = ?")
      .bind(...Object.values(illegal))
      .run();
    expect(await patch(gateway, server_id, { timeout_ms: 2_000 })).toMatchObject({ ...illegal, timeout_ms: 2_000 });
  });

  it("may change the case of a name, and keep a name [RG-20]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    expect(await patch(gateway, server_id, { name: "DOCS" })).toMatchObject({ name: "DOCS" });
    expect(await patch(gateway, server_id, { name: "DOCS" })).toMatchObject({ name: "DOCS" });
    const taken = await gateway.admin("POST", "/v1/servers", { name: "docs", server_url: "https://other.example" });
    expect(await refusal(taken)).toEqual({ status: 409, code: "conflict", field: "name" });
  });

  it.each(["other", "OTHER", " Other "])("may not take the name of another: %o [RG-14, RG-20]", async (name) => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    await register(gateway, { name: "other" });
    const before = await stored();
    const body = { name, display_name: "Changed", config: { api_key: "k3y" }, allowed_tools: { a: true } };
    const response = await gateway.admin("PATCH", `/v1/servers/${server_id}`, body);
    expect(await refusal(response)).toEqual({ status: 409, code: "conflict", field: "name" });
    expect(await stored()).toEqual(before);
  });

  it("lets one of two have a name that both want at once [RG-14]", async () => {
    const gateway = startGateway(offline);
    const servers = [await register(gateway, { name: "one" }), await register(gateway, { name: "two" })];
    const answers = await Promise.all(
      servers.map(({ server_id }) => gateway.admin("PATCH", `/v1/servers/${server_id}`, { name: "same" })),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
  });

  it.each([
    [{ name: "a_b" }, "name"],
    [{ display_name: "" }, "display_name"],
    [{ server_url: "http://docs.example/mcp" }, "server_url"],
    [{ enabled: null }, "enabled"],
    [{ enabled: "perhaps" }, "enabled"],
    [{ config: [] }, "config"],
    [{ display_name: "Changed", timeout_ms: 5_000, enabled: "perhaps" }, "enabled"],
  ])(
    "stores nothing, contacts nobody and raises nothing when it is refused: %o [RG-13, RG-17, RG-18]",
    async (body, field) => {
      const server = scriptedServer({ era: "modern", tools: [] });
      const gateway = startGateway(server.network);
      const { server_id } = await register(gateway, { enabled: true });
      const before = await stored();
      server.seen.length = 0;
      const response = await gateway.admin("PATCH", `/v1/servers/${server_id}`, body);
      expect(await refusal(response)).toEqual({ status: 400, code: "invalid_request", field });
      expect(await stored()).toEqual(before);
      expect(server.seen).toEqual([]);
    },
  );

  it("of a server that is not there changes nothing, whatever it says [RG-17, RG-18, RG-19]", async () => {
    const gateway = startGateway(offline);
    await register(gateway);
    const before = await stored();
    for (const body of [{}, { allowed_tools: { a: true } }, { config: { api_key: "k" } }, { allowed_tools: ["*"] }]) {
      const response = await gateway.admin("PATCH", "/v1/servers/none", body);
      expect(await refusal(response)).toEqual({ status: 404, code: "not_found" });
    }
    expect(await stored()).toEqual(before);
  });

  it("that comes after a deletion it did not see stores nothing [RG-17]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    // The server is deleted between the read of the update and its batch.
    const racing = new Proxy(env.DB, {
      get(db, key) {
        if (key === "batch") {
          return async (statements: D1PreparedStatement[]) => {
            await db.prepare("DELETE FROM servers").run();
            return db.batch(statements);
          };
        }
        const value: unknown = Reflect.get(db, key);
        return typeof value === "function" ? value.bind(db) : value;
      },
    });
    const generation = await generationOf();
    const late = startGateway(offline, { DB: racing });
    const response = await late.admin("PATCH", `/v1/servers/${server_id}`, { name: "x", allowed_tools: { a: true } });
    expect(await refusal(response)).toEqual({ status: 404, code: "not_found" });
    expect(await stored()).toMatchObject({ servers: [], server_tools: [] });
    expect(await generationOf()).toBe(generation);
  });
});

describe("a server that is changed", () => {
  it.each([
    ["another host", "https://other.example/mcp"],
    ["another port", "https://docs.example:8443/mcp"],
    ["a host below", "https://a.docs.example/mcp"],
  ])("forgets its secrets when it moves to %s, and shows them to nobody there", async (_, server_url) => {
    const server = scriptedServer({ era: "modern", tools: [] });
    const gateway = startGateway(server.network);
    const config = { headers: { "X-Api-Key": "s3cret" }, api_key: "k3y" };
    const { server_id } = await register(gateway, { enabled: true, config });
    server.seen.length = 0;
    expect(await patch(gateway, server_id, { server_url })).toMatchObject({
      server_url,
      config: {},
      auth_type: "headers",
    });
    expect(await storedValue("SELECT config_sealed FROM servers WHERE connection_type <> 'inprocess'")).toBeNull();
    expect(server.seen.length).toBeGreaterThan(0);
    for (const { url, headers } of server.seen) {
      expect(new URL(url).origin).toBe(new URL(server_url).origin);
      expect([...headers.values()].join()).not.toMatch(/s3cret|k3y/);
    }
  });

  it("forgets its secrets when it moves from https to http", async () => {
    const gateway = startGateway(offline, { ALLOW_INSECURE_UPSTREAMS: "true" });
    const { server_id } = await register(gateway, { config: { api_key: "k3y" } });
    expect(await patch(gateway, server_id, { server_url: "http://docs.example/mcp" })).toMatchObject({ config: {} });
  });

  it("takes the secrets that the move brings along", async () => {
    const server = scriptedServer({ era: "modern", tools: [] });
    const gateway = startGateway(server.network);
    const { server_id } = await register(gateway, { enabled: true, config: { headers: { "X-Api-Key": "old" } } });
    server.seen.length = 0;
    const moved = { server_url: "https://other.example/mcp", config: { headers: { "X-Api-Key": "new" } } };
    expect(await patch(gateway, server_id, moved)).toMatchObject(moved);
    expect(new Set(server.seen.map(({ headers }) => headers.get("X-Api-Key")))).toEqual(new Set(["new"]));
  });

  it.each(["https://docs.example/other?x=1", "https://DOCS.example:443/mcp"])(
    "keeps its secrets within its origin: %s",
    async (server_url) => {
      const server = scriptedServer({ era: "modern", tools: [] });
      const gateway = startGateway(server.network);
      const config = { headers: { "X-Api-Key": "s3cret" } };
      const { server_id } = await register(gateway, { enabled: true, config });
      server.seen.length = 0;
      expect(await patch(gateway, server_id, { server_url })).toMatchObject({ server_url, config });
      expect(new Set(server.seen.map(({ headers }) => headers.get("X-Api-Key")))).toEqual(new Set(["s3cret"]));
    },
  );

  it("is off and on again without losing anything [RG-24]", async () => {
    const server = scriptedServer({ era: "modern", tools: ['{"name":"search"}'] });
    const gateway = startGateway(server.network);
    const before = await register(gateway, { enabled: true, config: { api_key: "k3y" } });
    expect(before).toMatchObject({ state: "connected", allowed_tools: { search: true } });
    server.seen.length = 0;
    expect(lasting(await patch(gateway, before.server_id, { enabled: false }))).toEqual({
      ...lasting(before),
      enabled: false,
      state: "disconnected",
    });
    expect(server.seen).toEqual([]);
    expect(lasting(await patch(gateway, before.server_id, { enabled: true }))).toEqual(lasting(before));
  });
});

describe("DELETE /v1/servers/:server_id", () => {
  it("deletes a server once, enabled or not, with its tools and assignments", async () => {
    const gateway = startGateway(scriptedServer({ era: "modern", tools: ['{"name":"search"}'] }).network);
    for (const enabled of [true, false]) {
      const { server_id } = await register(gateway, { enabled, allowed_tools: { search: true } });
      const servers = [{ server_id, tools_to_execute: ["*"] }];
      await accepted(await gateway.admin("POST", "/v1/virtual-keys", { name: `key ${enabled}`, servers }), 201);
      const generation = await generationOf();
      const path = `/v1/servers/${server_id}`;
      expect(await accepted(await gateway.admin("DELETE", path))).toEqual({ deleted: true });
      expect(await generationOf()).toBe(generation + 1);
      const after = await stored();
      expect(after).toMatchObject({ servers: [{ server_id: "gateway" }], virtual_key_servers: [] });
      expect(after["server_tools"]?.filter((row) => row["server_id"] !== "gateway")).toEqual([]);
      for (const method of ["DELETE", "GET"]) {
        expect(await refusal(await gateway.admin(method, path))).toEqual({ status: 404, code: "not_found" });
      }
      expect(await stored()).toEqual(after);
    }
  });

  it("takes all that belongs to the server along, of every org, and leaves the log of its calls", async () => {
    const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}'] });
    const gateway = startGateway(upstream.network);
    await createOrg("acme");
    const [agent, twin] = [await agentOf(gateway, { name: "docs" }), await agentOf(gateway, { name: "twin" })];
    const path = `/v1/servers/${agent.server_id}`;
    for (const org of ["default", "acme"]) {
      for (const id of [agent.server_id, twin.server_id]) {
        await accepted(await gateway.admin("PUT", `/v1/servers/${id}/contexts/${org}`, { context: "some" }));
      }
    }
    await agent.modern("/mcp", "tools/call", { name: "docs__search" });
    upstream.change({ tools: ['{"name":"search","title":"T"}'] });
    for (const id of [agent.server_id, twin.server_id]) {
      await accepted(await gateway.admin("POST", `/v1/servers/${id}/discover`));
    }
    const TABLES = ["servers", "server_tools", "server_contexts", "server_orgs", "tool_changes", "virtual_key_servers"];
    const of = async (id: string) =>
      Object.entries(await stored()).flatMap(([table, rows]) =>
        TABLES.includes(table) && rows.some(({ server_id }) => server_id === id) ? [table] : [],
      );
    await accepted(await gateway.admin("PUT", `${path}/org-ids`, { org_ids: ["acme", "default"] }));
    await accepted(
      await gateway.admin("PUT", `/v1/servers/${twin.server_id}/org-ids`, { org_ids: ["acme", "default"] }),
    );
    expect((await of(agent.server_id)).toSorted()).toEqual(TABLES.toSorted());

    expect(await accepted(await gateway.admin("DELETE", path))).toEqual({ deleted: true });
    expect(await of(agent.server_id)).toEqual([]);
    expect((await of(twin.server_id)).toSorted()).toEqual(TABLES.toSorted());
    const left = await runInDurableObject(env.CONNECTOR.getByName(agent.server_id), async (_, { storage }) => [
      await storage.getAlarm(),
      storage.sql.exec("SELECT * FROM plan").toArray(),
    ]);
    expect(left).toEqual([null, []]);
    const { entries } = await accepted<{ entries: unknown[] }>(await gateway.admin("GET", "/v1/allowlist"));
    expect(entries).toMatchObject([{ source: "mcp:twin" }]);
    expect(await agent.rows()).toMatchObject([{ server_id: agent.server_id, tool: "search", ok: true }]);
    expect((await gateway.admin("DELETE", path)).status).toBe(404);
  });

  it("has no effect on an id that is unknown, or on other servers [RG-17, RG-18]", async () => {
    const gateway = startGateway(offline);
    await register(gateway);
    const before = await stored();
    expect(await refusal(await gateway.admin("DELETE", "/v1/servers/none"))).toEqual({
      status: 404,
      code: "not_found",
    });
    expect(await stored()).toEqual(before);
  });
});
