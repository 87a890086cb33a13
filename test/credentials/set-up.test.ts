/** Registering the gateway with the authorization server of a server, and the grants that need no person (RB-13). */
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { agentOf } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { authorizationServer } from "../support/authorization-server.ts";
import { startGateway } from "../support/gateway.ts";
import {
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
type Server = Record<string, unknown> & { server_id: string };

async function register({ gateway }: ProtectedWorld, fields: Record<string, unknown> = {}): Promise<Server> {
  const server = { name: "docs", server_url: "https://docs.example/mcp", auth_type: "per_user_oauth", ...fields };
  return accepted(await gateway.admin("POST", "/v1/servers", server), 201);
}

const MANUAL = {
  registration_mode: "manual",
  oauth_issuer_url: "https://as.example",
  authorization_endpoint: "https://as.example/authorize",
  token_endpoint: "https://as.example/token",
  client_id: "us",
  client_secret: "c4n4ry-client-secret",
};

describe("dynamic registration", () => {
  it("finds the authorization server, registers both callbacks and is active then [RB-7, RB-8, RB-13, BF-27]", async () => {
    const world = protectedWorld();
    const server = await register(world);
    const [client] = world.as.clients.values();
    expect(server).toMatchObject({
      ...{ status: "active", status_reason: null, registration_mode: "dcr", state: "disconnected" },
      ...{ oauth_issuer_url: "https://as.example", client_id: client?.client_id, scopes: [] },
      ...{ authorization_endpoint: "https://as.example/authorize", token_endpoint: "https://as.example/token" },
      revocation_endpoint: "https://as.example/revoke",
    });
    expect(client?.redirect_uris).toEqual([
      "https://gateway.example/connect/callback",
      "https://gateway.example/api/oauth/callback",
    ]);
    const { entries } = await accepted<{ entries: unknown[] }>(await world.gateway.admin("GET", "/v1/allowlist"));
    expect(entries).toContainEqual(expect.objectContaining({ host: "as.example", purpose: "mcp_oauth" }));
  });

  it("that fails says why, changes nothing else, and is tried again on demand [RB-13]", async () => {
    const world = protectedWorld();
    world.as.failAlways("registration", 403);
    const server = await register(world);
    expect(server).toMatchObject({ status: "error", client_id: "", enabled: true, state: "disconnected" });
    expect(server["status_reason"]).toMatch(/registration_mode manual/);
    const again = () => world.gateway.admin("POST", `/v1/servers/${server.server_id}/reconnect`);
    expect((await again()).status).toBe(502);
    world.as.failAlways("registration", null);
    // Registered now, and waiting for somebody's account.
    expect((await again()).status).toBe(409);
    expect(await accepted(await world.gateway.admin("GET", `/v1/servers/${server.server_id}`))).toMatchObject({
      status: "active",
      status_reason: null,
    });
  });

  it("keeps what the admin has given, and what it has found only for this place [BF-26, PS-52]", async () => {
    const world = protectedWorld();
    const server = await register(world, { revocation_endpoint: "https://as.example/own", scopes: ["read"] });
    expect(server).toMatchObject({ revocation_endpoint: "https://as.example/own", scopes: ["read"] });
    expect([...world.as.clients.values()][0]).toMatchObject({ scope: "read" });
    const first = server["client_id"];
    const path = `/v1/servers/${server.server_id}`;
    const cimd = await accepted<Server>(await world.gateway.admin("PATCH", path, { registration_mode: "cimd" }));
    expect(cimd).toMatchObject({ status: "error", client_id: "", token_endpoint: null });
    expect(cimd["status_reason"]).toMatch(/client id metadata/);
    const dcr = await accepted<Server>(await world.gateway.admin("PATCH", path, { registration_mode: "dcr" }));
    expect(dcr).toMatchObject({ status: "active", revocation_endpoint: "https://as.example/own" });
    expect(dcr["client_id"]).not.toBe(first);
    expect(dcr["client_id"]).not.toBe("");
  });

  it("keeps a secret that it is given sealed, and shows it to nobody [RB-27, PS-51]", async () => {
    const world = protectedWorld();
    world.as.behaviour.metadata = { token_endpoint_auth_methods_supported: ["client_secret_basic"] };
    const agent = await triedAgent(world, { auth_type: "oauth" });
    const [client] = world.as.clients.values();
    expect(client?.client_secret).toBeDefined();
    const stored = JSON.stringify((await env.DB.prepare("SELECT * FROM servers").all()).results);
    expect(stored).not.toContain(client?.client_secret);
    expect(await (await world.gateway.admin("GET", `/v1/servers/${agent.server_id}`)).text()).not.toContain(
      client?.client_secret,
    );
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
    expect(await (await agent.modern("/mcp", "tools/call", CALL)).json()).toMatchObject({ result: { content: [] } });
  });
});

describe("a client id metadata document", () => {
  it("is the client where the authorization server takes one [RB-3, RB-8]", async () => {
    const world = protectedWorld();
    world.as.behaviour.metadata = { client_id_metadata_document_supported: true };
    const url = "https://gateway.example/oauth/client-metadata.json";
    const document = await accepted<Record<string, unknown>>(await world.gateway.fetch("/oauth/client-metadata.json"));
    expect(document).toMatchObject({
      ...{ client_id: url, token_endpoint_auth_method: "none", application_type: "web" },
      redirect_uris: ["https://gateway.example/connect/callback", "https://gateway.example/api/oauth/callback"],
    });
    world.as.addClient(document as never);
    const agent = await triedAgent(world, { auth_type: "oauth", registration_mode: "cimd" });
    expect(await accepted(await world.gateway.admin("GET", `/v1/servers/${agent.server_id}`))).toMatchObject({
      client_id: url,
      status: "active",
    });
    expect(await (await agent.modern("/mcp", "tools/call", CALL)).json()).toMatchObject({ result: { content: [] } });
    expect(world.as.to("registration")).toEqual([]);
  });
});

describe("a client of the admin's", () => {
  it.each(["oauth_issuer_url", "authorization_endpoint", "token_endpoint", "client_id"])(
    "needs %s [RB-29]",
    async (field) => {
      const { [field as keyof typeof MANUAL]: _, ...rest } = MANUAL;
      const { gateway } = protectedWorld();
      const server = { name: "docs", server_url: "https://docs.example/mcp", auth_type: "oauth", ...rest };
      const refused = await gateway.admin("POST", "/v1/servers", server);
      expect(await refused.json()).toMatchObject({ status: 400, field });
    },
  );

  it("is used as it is, without registering or looking anything up [RB-13, RB-29, CN-29]", async () => {
    const world = protectedWorld();
    world.as.addClient({
      client_id: "us",
      client_secret: MANUAL.client_secret,
      redirect_uris: ["https://gateway.example/connect/callback"],
    });
    const agent = await triedAgent(world, { auth_type: "oauth", ...MANUAL });
    expect(await (await agent.modern("/mcp", "tools/call", CALL)).json()).toMatchObject({ result: { content: [] } });
    expect(world.as.to("registration")).toEqual([]);
    expect(world.as.to("metadata")).toEqual([]);
    const [exchanged] = world.as.to("token");
    expect(exchanged?.headers.get("Authorization")).toMatch(/^Basic /);
  });

  it("that is refused keeps its tokens, and the admin sees why [PS-56]", async () => {
    const world = protectedWorld();
    world.as.addClient({
      client_id: "us",
      client_secret: MANUAL.client_secret,
      redirect_uris: ["https://gateway.example/connect/callback"],
    });
    const agent = await triedAgent(world, { auth_type: "oauth", ...MANUAL });
    world.as.clients.clear();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
    expect(await (await agent.modern("/mcp", "tools/call", CALL)).text()).toContain("cannot renew the credential now");
    const server = await accepted<Server>(await world.gateway.admin("GET", `/v1/servers/${agent.server_id}`));
    expect(server["last_failure"]).toMatchObject({ stage: "auth" });
    const row = await env.DB.prepare("SELECT refresh_failed FROM tokens").first();
    expect(row).toEqual({ refresh_failed: 0 });
  });

  it("must bring its secret again for another issuer or token endpoint [PS-53]", async () => {
    const world = protectedWorld();
    const server = await register(world, MANUAL);
    const path = `/v1/servers/${server.server_id}`;
    const moved = { token_endpoint: "https://other.example/token" };
    expect(await (await world.gateway.admin("PATCH", path, moved)).json()).toMatchObject({
      status: 400,
      field: "client_secret",
    });
    expect((await world.gateway.admin("PATCH", path, { ...moved, client_secret: "another" })).status).toBe(200);
  });
});

describe("a grant without a person", () => {
  it("of the gateway itself gives a server its token, and another when that ends", async () => {
    const world = protectedWorld();
    world.as.addClient({ client_id: "us", client_secret: MANUAL.client_secret });
    const { authorization_endpoint: _, ...rest } = MANUAL;
    const agent = await agentOf(world.gateway, {
      name: "docs",
      auth_type: "oauth",
      grant_type: "client_credentials",
      scopes: ["read"],
      ...rest,
    });
    expect(await (await agent.modern("/mcp", "tools/call", CALL)).json()).toMatchObject({ result: { content: [] } });
    expect(
      world.as.to("token").map(({ params }) => [params["grant_type"], params["scope"], params["resource"]]),
    ).toEqual([["client_credentials", "read", "https://docs.example/mcp"]]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
    await Promise.all([agent.modern("/mcp", "tools/call", CALL), agent.modern("/mcp", "tools/call", CALL, { id: 2 })]);
    expect(world.as.to("token")).toHaveLength(2);
    const started = await world.gateway.admin("POST", `/v1/servers/${agent.server_id}/oauth/start`);
    expect(started.status).toBe(400);
  });

  it("exchanges the token that a user came with for one of that user [P-50]", async () => {
    const as = authorizationServer({ clock: () => Date.now() });
    as.addClient({ client_id: "us", client_secret: MANUAL.client_secret });
    let isGuarded = false;
    const upstream = scriptedServer({
      ...{ era: "modern", tools: [SEARCH] },
      first: (seen) => (isGuarded ? as.challenge(seen.headers) : undefined),
    });
    const gateway = await startWithUsers(async (request) => (await as.handle(request)) ?? upstream.network(request));
    const { authorization_endpoint: _, ...rest } = MANUAL;
    const docs = { name: "docs", server_url: "https://docs.example/mcp" };
    const created = await gateway.admin("POST", "/v1/servers", docs);
    const { server_id } = await accepted<Server>(created, 201);
    isGuarded = true;
    const exchange = { auth_type: "per_user_oauth", grant_type: "token_exchange", ...rest };
    expect((await gateway.admin("PATCH", `/v1/servers/${server_id}`, exchange)).status).toBe(200);
    await gateway.admin("PUT", "/v1/orgs/default/members/ann", { role: "member" });
    const message = { jsonrpc: "2.0", id: 1, method: "tools/call", params: CALL };
    const bearer = await gateway.bearer("ann");
    const called = await gateway.fetch("/mcp", {
      method: "POST",
      headers: { ...bearer, "Content-Type": "application/json" },
      body: JSON.stringify(message),
    });
    expect(await called.json()).toMatchObject({ result: { content: [] } });
    expect(
      as.to("token").map(({ params }) => [params["grant_type"], params["subject_token"], params["subject_token_type"]]),
    ).toEqual([
      [
        "urn:ietf:params:oauth:grant-type:token-exchange",
        bearer.Authorization.slice("Bearer ".length),
        "urn:ietf:params:oauth:token-type:jwt",
      ],
    ]);
    for (const { headers } of upstream.seen) expect(headers.get("Authorization")).not.toBe(bearer.Authorization);
  });

  it.each([
    ["client_credentials", "per_user_oauth", "grant_type"],
    ["token_exchange", "oauth", "grant_type"],
    ["client_credentials", "oauth", "registration_mode"],
  ])("%s with %s is refused where it has no meaning", async (grant_type, auth_type, field) => {
    const { gateway } = protectedWorld();
    const server = { name: "docs", server_url: "https://docs.example/mcp", auth_type, grant_type };
    expect(await (await gateway.admin("POST", "/v1/servers", server)).json()).toMatchObject({ status: 400, field });
  });
});

describe("a server that takes HTTP+SSE or sessions", () => {
  it("is shown a renewed token within the session that stands [CN-3, CN-6]", async () => {
    const world = protectedWorld({ era: "legacy" });
    const agent = await triedAgent(world, { config: { headers: { "X-Api-Key": "s3cret" } } });
    expect((await linkWithKey(world, agent)).status).toBe(200);
    const session = await agent.initialize("/mcp/docs");
    const call = () => agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session);
    expect(await (await call()).json()).toMatchObject({ result: { content: [] } });
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
    expect(await (await call()).json()).toMatchObject({ result: { content: [] } });
    const sessions = world.upstream.calls().map(({ headers }) => headers.get("Mcp-Session-Id"));
    expect(new Set(sessions).size).toBe(1);
    expect(new Set(world.upstream.calls().map(({ headers }) => headers.get("Authorization"))).size).toBe(2);
    // With OAuth an admin's headers are kept and not sent (RG-28).
    for (const { headers } of world.upstream.seen) expect(headers.get("X-Api-Key")).toBeNull();
  });

  it("has another session for another account [CN-3]", async () => {
    const world = protectedWorld({ era: "legacy" });
    const agent = await triedAgent(world, { auth_type: "oauth" });
    const session = await agent.initialize("/mcp/docs");
    const call = () => agent.legacy("/mcp/docs", "tools/call", { name: "search" }, session);
    await call();
    expect((await linkServer(world, agent.server_id)).status).toBe(200);
    await call();
    const sessions = world.upstream.calls().map(({ headers }) => headers.get("Mcp-Session-Id"));
    expect(new Set(sessions).size).toBe(2);
  });
});

describe("the state of a server with OAuth", () => {
  const stateOf = async ({ gateway }: ProtectedWorld, serverId: string) => {
    const { status, state, last_failure } = await accepted<Record<string, { stage?: string } | null>>(
      await gateway.admin("GET", `/v1/servers/${serverId}`),
    );
    return [status, state, last_failure?.stage ?? null];
  };

  it("is disconnected while it waits for an account, connected once it works, and error when it does not [PS-64, CN-30]", async () => {
    let isDown = false;
    const world = protectedWorld({ first: () => (isDown ? new Response(null, { status: 503 }) : undefined) });
    const server = await register(world, { auth_type: "oauth" });
    expect(await stateOf(world, server.server_id)).toEqual(["active", "disconnected", null]);
    isDown = true;
    const failed = await linkServer(world, server.server_id);
    expect(await failed.text()).toContain("does not work with it yet: The server answered with HTTP 503.");
    expect(await stateOf(world, server.server_id)).toEqual(["active", "error", "connect"]);
    isDown = false;
    expect(await (await linkServer(world, server.server_id)).text()).toContain("offers one tool");
    expect(await stateOf(world, server.server_id)).toEqual(["active", "connected", null]);
  });

  it("with per-user accounts is connected once tools are known, and its tools are listed for whoever has none [PS-64, CN-16]", async () => {
    const world = protectedWorld();
    const agent = await triedAgent(world);
    expect(await stateOf(world, agent.server_id)).toEqual(["active", "connected", null]);
    const before = world.upstream.seen.length;
    const listed = await agent.modern("/mcp", "tools/list");
    expect(await listed.json()).toMatchObject({ result: { tools: [{ name: "docs__search" }] } });
    const discovered = await world.gateway.admin("POST", `/v1/servers/${agent.server_id}/discover`);
    expect(await discovered.json()).toMatchObject({
      status: 409,
      detail: expect.stringContaining("No account is linked"),
    });
    expect(world.upstream.seen).toHaveLength(before);
    expect(await stateOf(world, agent.server_id)).toEqual(["active", "connected", null]);
  });
});

describe("static credentials", () => {
  it("are the key in its header, and nothing else of the config [RG-29, PS-58]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [SEARCH] });
    const gateway = startGateway(upstream.network);
    const config = { api_key: "c4n4ry-key", note: "kept" };
    const agent = await agentOf(gateway, { name: "docs", config });
    await agent.modern("/mcp", "tools/call", CALL);
    const [sent] = upstream.calls();
    expect(sent?.headers.get("Authorization")).toBe("Bearer c4n4ry-key");
    expect(JSON.stringify([...(sent?.headers ?? [])])).not.toContain("kept");
    const shown = await accepted<Server>(await gateway.admin("GET", `/v1/servers/${agent.server_id}`));
    expect(shown["config"]).toEqual(config);
  });
});

describe("PATCH /v1/servers/{id}", () => {
  it("takes every writable field of the record, and no other [RB-30]", async () => {
    const world = protectedWorld();
    const server = await register(world, { auth_type: "none" });
    const path = `/v1/servers/${server.server_id}`;
    const fields: Record<string, unknown> = {
      ...{ name: "renamed", display_name: "Renamed", connection_type: "http", server_url: "https://docs.example/v2" },
      ...{ enabled: false, timeout_ms: 2_000, auth_type: "oauth", config: { note: "x" }, ...MANUAL },
      ...{ registration_endpoint: null, revocation_endpoint: "https://as.example/revoke", scopes: ["read"] },
      ...{ extra_auth_params: { audience: "x" }, grant_type: "authorization_code", org_ids: ["default"] },
      ...{ token_endpoint_auth_method: "client_secret_post", allowed_tools: { search: true } },
      ...{ tools_to_auto_execute: ["search"], definition_policy: "trust", allow_on_all_virtual_keys: true },
      ...{ is_code_mode_client: true, is_ping_available: false },
    };
    const patched = await accepted<Server>(await world.gateway.admin("PATCH", path, fields));
    const { client_secret: _, ...shown } = fields;
    expect(patched).toMatchObject(shown);
    for (const field of ["server_id", "status", "state", "created", "modified_by", "tool_mode", "nonsense"]) {
      const refused = await world.gateway.admin("PATCH", path, { [field]: "x" });
      expect(await refused.json()).toMatchObject({ status: 400, code: "unknown_field", field });
    }
  });
});
