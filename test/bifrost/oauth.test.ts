/** A server that waits for an account: how that begins, and how it becomes a server (BF-17, BF-23, BF-48). */
import { describe, expect, it, vi } from "vitest";
import { createAgent } from "../support/agent.ts";
import { accepted, refusal, stored, storedValue } from "../support/api.ts";
import { type AuthorizationServer, authorizationServer } from "../support/authorization-server.ts";
import { bifrostOf, expectRequest, HTTP, refused } from "../support/bifrost.ts";
import { CONNECTED, OAUTH, oauthWorld } from "../support/bifrost-oauth.ts";
import { startGateway } from "../support/gateway.ts";
import { callbackOf, linkWithKey, resultOf } from "../support/protected.ts";

const CALLBACK = "https://gateway.example/api/oauth/callback";
const CALL = { name: "Docs__search", arguments: {} };

const invalid = (field: string) => ({ status: 400, code: "invalid_request", field });

describe("POST /api/mcp/client with oauth_config", () => {
  it("registers the gateway, and answers where to send the browser [BF-17, BF-23, BF-27, BF-28, PS-55]", async () => {
    const { as, bifrost, begin } = oauthWorld();
    expectRequest("MCPClientCreateRequestHTTP", OAUTH);
    const before = Date.now();
    const pending = await begin();
    const id = pending.oauth_config_id;
    expect(pending).toEqual({
      status: "pending_oauth",
      message: "OAuth authorization is required: docs.example is connected once somebody has agreed",
      oauth_config_id: expect.stringMatching(/^ocf_/),
      authorize_url: expect.stringContaining("https://as.example/authorize?"),
      expires_at: expect.any(String),
      mcp_client_id: "docs",
      complete_url: `/api/mcp/client/${id}/complete-oauth`,
      status_url: `/api/oauth/config/${id}/status`,
      next_steps: [expect.any(String), expect.stringContaining("status"), expect.stringContaining("complete-oauth")],
    });
    const left = Date.parse(pending.expires_at) - before;
    expect(left).toBeGreaterThanOrEqual(600_000);
    expect(left).toBeLessThan(660_000);

    const [registration] = as.to("registration").map(({ text }) => JSON.parse(text));
    expect(registration).toEqual({
      client_name: "Postern",
      application_type: "web",
      redirect_uris: ["https://gateway.example/connect/callback", CALLBACK],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      scope: "read write",
    });
    const [client_id] = as.clients.keys();
    const { state, code_challenge, ...asked } = Object.fromEntries(new URL(pending.authorize_url).searchParams);
    expect(asked).toEqual({
      response_type: "code",
      client_id,
      redirect_uri: CALLBACK,
      code_challenge_method: "S256",
      scope: "read write",
      resource: "https://docs.example/mcp",
    });
    expect(state).toMatch(/^[\w-]{32,}$/);
    expect(code_challenge).toMatch(/^[\w-]{43}$/);
    // Nobody sees a server before there is one.
    expect(await bifrost.own()).toEqual([]);
    expect(await storedValue("SELECT COUNT(*) FROM servers WHERE server_id = 'docs'")).toBe(0);
  });

  it("takes a client that is registered by hand, and looks for the rest [BF-25, RB-29]", async () => {
    const { as, bifrost, gateway, begin, agree, complete } = oauthWorld();
    as.addClient({ client_id: "by-hand", client_secret: "s3cret", redirect_uris: [CALLBACK] });
    const pending = await begin({ oauth_config: { client_id: "by-hand", client_secret: "s3cret", scopes: ["read"] } });
    expect(as.to("registration")).toEqual([]);
    expect(new URL(pending.authorize_url).searchParams.get("scope")).toBe("read");
    expect((await agree(pending)).status).toBe(200);
    const [exchange] = as.to("token");
    expect(exchange?.headers.get("Authorization")).toBe(`Basic ${btoa("by-hand:s3cret")}`);
    expect(exchange?.params).toMatchObject({ redirect_uri: CALLBACK, resource: "https://docs.example/mcp" });
    expect(exchange?.text).not.toContain("s3cret");
    expect(await accepted(await complete("docs"))).toEqual(CONNECTED);
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs"))).toMatchObject({
      ...{ auth_type: "oauth", registration_mode: "manual", client_id: "by-hand", scopes: ["read"] },
      ...{ oauth_issuer_url: as.issuer, token_endpoint: as.at("/token"), revocation_endpoint: as.at("/revoke") },
      ...{ status: "active", state: "connected" },
    });
    expect((await bifrost.client("docs")).tools).toHaveLength(1);
  });

  it("shows a secret in the one way that the metadata lists [CN-19]", async () => {
    const { as, authorized } = oauthWorld();
    as.behaviour.metadata = { token_endpoint_auth_methods_supported: ["client_secret_post"] };
    const token_endpoint_auth_method = "client_secret_post" as const;
    as.addClient({ client_id: "c", client_secret: "s", token_endpoint_auth_method, redirect_uris: [CALLBACK] });
    await authorized({ oauth_config: { client_id: "c", client_secret: "s" } });
    expect(as.to("token")[0]?.params).toMatchObject({ client_id: "c", client_secret: "s" });
  });

  it("takes endpoints that are given for those that are found, and stays there [BF-25, BF-26]", async () => {
    const other = authorizationServer({ clock: () => Date.now(), issuer: "https://other.example" });
    const { as, upstream, agree } = oauthWorld();
    // The server takes the tokens of the other one, and names this one all the same.
    upstream.change({ first: ({ headers }) => other.challenge(headers) });
    const gateway = startGateway(
      async (request) => (await as.handle(request)) ?? (await other.handle(request)) ?? upstream.network(request),
    );
    const bifrost = bifrostOf(gateway);
    const urls = { authorize_url: other.at("/authorize"), token_url: other.at("/token") };
    const oauth_config = { ...urls, registration_url: other.at("/register") };
    const pending = await accepted<Parameters<typeof agree>[0]>(await bifrost.create({ ...OAUTH, oauth_config }));
    expect(new URL(pending.authorize_url).origin).toBe(other.issuer);
    expect([as.to("registration").length, other.to("registration").length]).toEqual([0, 1]);
    // Its own `iss` is the right one, although the server names another issuer.
    expect((await gateway.fetch(callbackOf(other.visit(pending.authorize_url)))).status).toBe(200);
    expect(await accepted(await bifrost.send("POST", pending.complete_url))).toEqual(CONNECTED);
    other.revoke(other.issued[0]?.refresh_token ?? "");
    vi.spyOn(console, "error").mockImplementation(() => {});
    expect((await bifrost.reconnect("docs")).status).toBe(500);
    expect([as.to("registration").length, as.to("token").length]).toEqual([0, 0]);
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs"))).toMatchObject({
      ...{ oauth_issuer_url: other.issuer, client_id: [...other.clients.keys()][0] },
    });
  });

  it("does without metadata where everything is given [BF-25, BF-26]", async () => {
    const world = oauthWorld();
    const { as, begin, agree, complete } = world;
    as.behaviour.resourceMetadata = null;
    as.behaviour.metadataPaths = [];
    as.addClient({ client_id: "by-hand", redirect_uris: [CALLBACK] });
    const pending = await begin({
      oauth_config: {
        client_id: "by-hand",
        authorize_url: as.at("/authorize"),
        token_url: as.at("/token"),
        scopes: ["read"],
      },
    });
    expect((await agree(pending)).status).toBe(200);
    expect(await accepted(await complete("docs"))).toEqual(CONNECTED);
    expect(as.issued[0]).toMatchObject({ client_id: "by-hand", scope: "read" });
  });

  it("is refused for what is wrong with the request, and sends and stores nothing then [BF-10, BF-15, BF-17]", async () => {
    const { as, upstream, bifrost } = oauthWorld();
    const before = await stored();
    const required = (auth_type: string) => ({
      ...invalid("oauth_config"),
      message: `OAuth configuration is required when auth_type is '${auth_type}'`,
    });
    const stdio = { connection_type: "stdio", stdio_config: { command: "npx" } };
    const config = (oauth_config: unknown) => ({ oauth_config });
    const asked: [body: Record<string, unknown>, answer: Record<string, unknown>][] = [
      [{ oauth_config: undefined }, required("oauth")],
      [{ oauth_config: null, oauth_config_id: "" }, required("oauth")],
      [{ auth_type: "per_user_oauth", oauth_config: undefined }, required("per_user_oauth")],
      // It is only relevant for `oauth`.
      [{ auth_type: "per_user_oauth", oauth_config: null, oauth_config_id: "any" }, required("per_user_oauth")],
      [{ oauth_config: undefined, oauth_config_id: "any" }, invalid("oauth_config_id")],
      ...["none", "headers", undefined].map((auth_type): (typeof asked)[number] => [
        { auth_type },
        invalid("oauth_config"),
      ]),
      [stdio, invalid("connection_type")],
      [config("any"), invalid("oauth_config")],
      [config({ client_secret: "s" }), invalid("oauth_config.client_secret")],
      [config({ client_id: 5 }), invalid("oauth_config.client_id")],
      [config({ client_id: "c".repeat(2_049) }), invalid("oauth_config.client_id")],
      [config({ authorize_url: "as.example" }), invalid("oauth_config.authorize_url")],
      [config({ authorize_url: "javascript:alert(1)" }), invalid("oauth_config.authorize_url")],
      [config({ token_url: "http://as.example/token" }), invalid("oauth_config.token_url")],
      [config({ token_url: "https://10.0.0.1/token" }), invalid("oauth_config.token_url")],
      [config({ registration_url: "https://gateway.example/register" }), invalid("oauth_config.registration_url")],
      [config({ scopes: ["a b"] }), invalid("oauth_config.scopes")],
      [config({ scopes: ["a", "a"] }), invalid("oauth_config.scopes")],
      // All that a create without OAuth looks at.
      [{ name: "日本" }, invalid("name")],
      [{ client_id: "a b" }, invalid("client_id")],
      [{ connection_string: "http://docs.example/mcp" }, invalid("connection_string")],
      [{ headers: { Host: "a" } }, invalid("headers.Host")],
      [{ tools_to_execute: [], tools_to_auto_execute: ["*"] }, invalid("tools_to_auto_execute")],
    ];
    for (const [body, answer] of asked) {
      expect([body, await refused(await bifrost.create({ ...OAUTH, ...body }))]).toMatchObject([body, answer]);
    }
    expect(await stored()).toEqual(before);
    expect([as.requests, upstream.seen]).toEqual([[], []]);
  });

  it("is refused for a name or an id that a server has [BF-23]", async () => {
    const { as, bifrost, authorized, complete } = oauthWorld();
    await authorized();
    await complete("docs");
    const before = as.requests.length;
    const conflict = { status: 409, code: "conflict" };
    const sameName = await bifrost.create({ ...OAUTH, client_id: "other", name: "DOCS" });
    expect(await refused(sameName)).toMatchObject({ ...conflict, field: "name" });
    const sameId = await bifrost.create({ ...OAUTH, name: "Other" });
    expect(await refused(sameId)).toMatchObject({ ...conflict, field: "client_id" });
    expect(as.requests).toHaveLength(before);
  });

  it("says which field to give when something cannot be found or registered [BF-25]", async () => {
    const metadata = (changes: Record<string, unknown>) => (as: AuthorizationServer) => {
      as.behaviour.metadata = changes;
    };
    const cases: [break_: (as: AuthorizationServer) => void, field: string][] = [
      [(as) => as.failAlways("registration", 403), "oauth_config.client_id"],
      [metadata({ registration_endpoint: undefined }), "oauth_config.client_id"],
      [metadata({ token_endpoint: undefined }), "oauth_config.token_url"],
      [metadata({ token_endpoint: "https://gateway.example/oauth/token" }), "oauth_config.token_url"],
      [metadata({ authorization_endpoint: undefined }), "oauth_config.authorize_url"],
      [metadata({ code_challenge_methods_supported: [] }), "oauth_config.authorize_url"],
      [metadata({ issuer: "https://evil.example" }), "oauth_config.authorize_url"],
      [(as) => Object.assign(as.behaviour, { metadataPaths: [] }), "oauth_config.authorize_url"],
      [
        (as) => Object.assign(as.behaviour, { resourceMetadata: { resource: "https://evil.example" } }),
        "connection_string",
      ],
    ];
    for (const [break_, field] of cases) {
      const { as, bifrost } = oauthWorld();
      const before = await stored();
      break_(as);
      const { message, ...answer } = await refused(await bifrost.create(OAUTH));
      expect({ field, ...answer }).toEqual(invalid(field));
      if (field.startsWith("oauth_config.")) expect(message).toMatch(new RegExp(`Give ${field}\\b`));
      // Neither what the server says nor the fields of the other surface.
      expect(message).not.toMatch(/evil|registration_mode|oauth_issuer_url/);
      expect(await stored()).toEqual(before);
    }
  });

  it("says that somebody does not answer [BF-25]", async () => {
    const { as, bifrost } = oauthWorld();
    const before = await stored();
    for (const endpoint of ["resource_metadata", "metadata", "registration"] as const) {
      as.failAlways(endpoint, 500);
      const response = await bifrost.create(OAUTH);
      expect(await refusal(response)).toEqual({ status: 502, code: "upstream_failed" });
      as.failAlways(endpoint, null);
    }
    expect(await stored()).toEqual(before);
  });

  it("sends nothing anywhere when there is no key to seal it with [PS-50]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { as, upstream, bifrost } = oauthWorld({}, { ENCRYPTION_KEYS: "" });
    expect(await refusal(await bifrost.create(OAUTH))).toEqual({ status: 500, code: "encryption_key_missing" });
    expect([as.requests, upstream.seen]).toEqual([[], []]);
  });

  it("keeps what waits within what a row can hold", async () => {
    const { as, bifrost } = oauthWorld();
    const names = (count: number) => Array.from({ length: count }, (_, at) => `${at}`.padStart(250, "t"));
    const lists = { tools_to_execute: names(3_900), tools_to_auto_execute: names(3_900) };
    expect(await refusal(await bifrost.create({ ...OAUTH, ...lists }))).toMatchObject({ code: "invalid_request" });
    expect(as.requests).toEqual([]);
    expect((await bifrost.create({ ...OAUTH, tools_to_execute: names(3_600) })).status).toBe(200);
  });
});

describe("POST /api/mcp/client/:id/complete-oauth", () => {
  it("connects with the account, stores the server and reads its tools [BF-16, BF-22, BF-39, BF-48]", async () => {
    const { as, gateway, bifrost, shown, upstream, authorized, complete } = oauthWorld();
    const headers = { "X-Static": "sealed" };
    const { oauth_config_id } = await authorized({ headers, is_code_mode_client: true, tools_to_auto_execute: ["*"] });
    const seen = upstream.seen.length;
    expect(await accepted(await complete(oauth_config_id))).toEqual(CONNECTED);
    const [{ access_token = "" } = {}] = as.issued;
    // Once to see that it is there, and once for what it offers: each with the account, and with nothing else.
    expect(shown.slice(seen)).toEqual(Array(3).fill(`Bearer ${access_token}`));
    expect(upstream.seen.slice(seen).map(({ message }) => message["method"])).toEqual([
      ...["server/discover", "server/discover", "tools/list"],
    ]);
    // Headers are for another auth_type: they are kept, and not sent.
    for (const one of upstream.seen) expect(one.headers.has("X-Static")).toBe(false);
    expect(await bifrost.client("docs")).toMatchObject({
      config: {
        ...{ client_id: "docs", ...HTTP, auth_type: "oauth", oauth_config_id },
        ...{ is_code_mode_client: true, tools_to_execute: ["*"], tools_to_auto_execute: ["*"] },
        headers: { "X-Static": "******" },
      },
      tools: [{ name: "search" }],
      state: "connected",
    });
    expect(await accepted(await gateway.admin("GET", "/v1/servers/docs"))).toMatchObject({
      ...{ registration_mode: "dcr", client_id: [...as.clients.keys()][0], status: "active", org_ids: [] },
      ...{ oauth_issuer_url: as.issuer, revocation_endpoint: as.at("/revoke"), scopes: [] },
    });
    const agent = await createAgent(gateway, [{ server_id: "docs", tools_to_execute: ["*"] }]);
    expect(await resultOf(await agent.modern("/mcp", "tools/call", CALL))).toMatchObject({ content: [] });
    expect(shown.at(-1)).toBe(`Bearer ${access_token}`);
  });

  it("works with either id, and a second time without effect [BF-48, T-37]", async () => {
    for (const first of ["oauth_config_id", "mcp_client_id"] as const) {
      const { as, upstream, authorized, complete } = oauthWorld();
      const pending = await authorized({ client_id: first, name: first });
      expect(await accepted(await complete(pending[first]))).toEqual(CONNECTED);
      const before = [await stored(), as.requests.length, upstream.seen.length];
      for (const id of [pending.oauth_config_id, pending.mcp_client_id]) {
        expect(await accepted(await complete(id))).toEqual(CONNECTED);
      }
      expect([await stored(), as.requests.length, upstream.seen.length]).toEqual(before);
    }
  });

  it("makes an id where the request has none, and is completed by it [BF-11, BF-48]", async () => {
    const { bifrost, authorized, complete } = oauthWorld();
    const { mcp_client_id } = await authorized({ client_id: undefined });
    expect(mcp_client_id).toMatch(/^srv_/);
    expect(await accepted(await complete(mcp_client_id))).toEqual(CONNECTED);
    expect((await bifrost.client(mcp_client_id)).state).toBe("connected");
  });

  it("makes one server of two requests at once [BF-48]", async () => {
    const { as, bifrost, upstream, authorized, complete } = oauthWorld();
    const { oauth_config_id, mcp_client_id } = await authorized();
    const answers = await Promise.all([complete(oauth_config_id), complete(mcp_client_id)]);
    for (const answer of answers) expect(await accepted(answer)).toEqual(CONNECTED);
    expect(await bifrost.own()).toHaveLength(1);
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(1);
    expect((await bifrost.client("docs")).state).toBe("connected");
    // One has handed the token over, and nobody has given it up.
    expect(upstream.seen.filter(({ message }) => message["method"] === "tools/list")).toHaveLength(1);
    expect(as.to("revocation")).toEqual([]);
  });

  it("is too early before somebody has agreed, and knows no others [BF-48]", async () => {
    const { begin, complete } = oauthWorld();
    const { oauth_config_id } = await begin();
    for (const id of [oauth_config_id, "docs"]) {
      expect(await refused(await complete(id))).toEqual({
        ...{ status: 400, code: "invalid_request" },
        message: "OAuth not authorized yet. Current status: pending",
      });
    }
    expect(await refused(await complete("none"))).toEqual({
      ...{ status: 404, code: "not_found", message: "OAuth configuration not found" },
    });
  });

  it("meets a name that was not reserved, and can be tried again when it is free [BF-23]", async () => {
    const { bifrost, authorized, complete, statusOf } = oauthWorld();
    const { oauth_config_id } = await authorized();
    const stdio = { connection_type: "stdio", stdio_config: { command: "npx" } };
    await bifrost.created({ client_id: "squatter", name: "docs", ...stdio });
    const before = await stored();
    expect(await refused(await complete(oauth_config_id))).toMatchObject({
      ...{ status: 409, code: "conflict", field: "name" },
    });
    expect(await stored()).toEqual(before);
    expect(await statusOf(oauth_config_id)).toMatchObject({ status: "authorized" });
    await bifrost.remove("squatter");
    expect(await accepted(await complete(oauth_config_id))).toEqual(CONNECTED);
  });

  it("stores nothing when the server cannot be connected to, and can be tried again [BF-22, BF-48]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    let isIll = false;
    const { authorized, complete } = oauthWorld({
      first: () => (isIll ? new Response("c4n4ry", { status: 503 }) : undefined),
    });
    const { oauth_config_id } = await authorized();
    const before = await stored();
    isIll = true;
    expect(await refused(await complete(oauth_config_id))).toEqual({
      status: 500,
      code: "connect_failed",
      message: "Failed to connect MCP client: The server answered with HTTP 503.",
    });
    expect(await stored()).toEqual(before);
    isIll = false;
    expect(await accepted(await complete(oauth_config_id))).toEqual(CONNECTED);
  });

  it("tries a server of per-user accounts, counts its tools and gives the account up [BF-17, BF-48]", async () => {
    const world = oauthWorld();
    const { as, gateway, bifrost, authorized, complete } = world;
    const { oauth_config_id } = await authorized({ auth_type: "per_user_oauth" });
    const done = { ...CONNECTED, tools_count: 1 };
    expect(await accepted(await complete(oauth_config_id))).toEqual(done);
    const [{ access_token = "", refresh_token = "" } = {}] = as.issued;
    expect(as.to("revocation").map(({ params }) => params["token"])).toEqual([refresh_token, access_token]);
    expect(await storedValue("SELECT COUNT(*) FROM tokens")).toBe(0);
    expect(await bifrost.client("docs")).toMatchObject({ tools: [{ name: "search" }], state: "connected" });
    expect((await bifrost.client("docs")).config).not.toHaveProperty("oauth_config_id");
    expect(await accepted(await complete("docs"))).toEqual(done);
    // Nobody calls with it: whoever uses the server links an account of their own.
    const agent = await createAgent(gateway, [{ server_id: "docs", tools_to_execute: ["*"] }]);
    expect((await linkWithKey(world, agent, CALL.name)).status).toBe(200);
    expect(await resultOf(await agent.modern("/mcp", "tools/call", CALL))).toMatchObject({ content: [] });
  });
});
