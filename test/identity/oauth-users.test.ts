/** People of the operator's identity provider let clients in: signing in there, orgs, and what their tokens open. */
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { accepted, createOrg, refusal, storedValue } from "../support/api.ts";
import { ISSUER, NOW, NOW_S } from "../support/identity-provider.ts";
import {
  askQuery,
  askToken,
  type Browser,
  broughtBack,
  createBrowser,
  exchange,
  formTokenIn,
  listTools,
  type OAuthClient,
  ORIGIN,
  registerClient,
  type Tokens,
} from "../support/oauth.ts";
import { startWithUsers, type UserGateway } from "../support/users.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: NOW }));
afterEach(() => void vi.useRealTimers());

const ADA = { sub: "ada", email: "ada@acme.example", email_verified: true };

interface Scene {
  readonly gateway: UserGateway;
  readonly client: OAuthClient;
  readonly browser: Browser;
  /** Whom the provider signs in, and as what. */
  who: Record<string, unknown>;
  /** What was posted to the provider's token endpoint. */
  readonly posted: URLSearchParams[];
}

async function scene(vars: Record<string, unknown> = {}): Promise<Scene> {
  let nonce = "";
  const posted: URLSearchParams[] = [];
  const made: { current?: Scene } = {};
  const gateway = await startWithUsers(
    async (request) => {
      if (request.url !== "https://token.example/token") throw new Error("connection refused");
      posted.push(new URLSearchParams(new TextDecoder().decode(await request.arrayBuffer())));
      const claims = { ...made.current?.who, aud: "postern", nonce, iat: NOW_S };
      const { Authorization } = await gateway.bearer(claims);
      return Response.json({ access_token: "x", token_type: "bearer", id_token: Authorization.slice(7) });
    },
    { OIDC_CLIENT_ID: "postern", ...vars },
  );
  const browser = createBrowser(gateway);
  const watched: Browser = {
    ...browser,
    async get(path, headers) {
      const response = await browser.get(path, headers);
      const location = response.headers.get("Location") ?? "";
      // As the provider does: the nonce of the request goes into the token.
      if (location.startsWith(ISSUER)) nonce = new URL(location).searchParams.get("nonce") ?? "";
      return response;
    },
  };
  const result: Scene = { gateway, client: await registerClient(gateway), browser: watched, who: ADA, posted };
  made.current = result;
  return result;
}

/** Where the provider sends the browser back to. */
async function returned({ browser }: Scene, path: string, answer: Record<string, string> = { code: "abc" }) {
  const location = new URL((await browser.get(path)).headers.get("Location") ?? "about:blank");
  expect(location.origin).toBe(ISSUER);
  const state = location.searchParams.get("state") ?? "";
  return { location, callback: `/oauth/callback?${new URLSearchParams({ state, ...answer })}` };
}

/** Signs in there, and ends at the consent page or wherever that leads to. */
async function arrive(world: Scene, path: string): Promise<Response> {
  const { callback } = await returned(world, path);
  const back = await world.browser.get(callback);
  expect({ status: back.status, to: back.headers.get("Location") }).toEqual({ status: 302, to: path });
  return world.browser.get(path);
}

async function tokensOf(world: Scene, org = "default", fields: Record<string, string | null> = {}): Promise<Tokens> {
  const path = askQuery(world.client, fields);
  const csrf = formTokenIn(await (await arrive(world, path)).text());
  const { code = "" } = broughtBack(await world.browser.post(path, { csrf, decision: "allow", org }));
  return accepted(
    await exchange(world.gateway, world.client, code, { resource: fields["resource"] ?? `${ORIGIN}/mcp` }),
  );
}

const bearer = ({ access_token }: Tokens) => ({ Authorization: `Bearer ${access_token}` });

async function member(org: string, user: string, role: string): Promise<void> {
  const row = "INSERT OR REPLACE INTO members (org_id, user_id, role, created) VALUES (?, ?, ?, 0)";
  await env.DB.prepare(row).bind(org, user, role).run();
}

describe("signing in at the identity provider", () => {
  it("sends the browser there with state, nonce and PKCE, and comes back to the consent page", async () => {
    const world = await scene();
    const path = askQuery(world.client);
    const { location, callback } = await returned(world, path);
    expect(Object.fromEntries(location.searchParams)).toMatchObject({
      response_type: "code",
      client_id: "postern",
      redirect_uri: `${ORIGIN}/oauth/callback`,
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: "S256",
    });
    const rows = JSON.stringify((await env.DB.prepare("SELECT * FROM sign_ins").all()).results);
    for (const name of ["state", "nonce"]) expect(rows).not.toContain(location.searchParams.get(name));
    await world.browser.get(callback);
    const page = await (await world.browser.get(path)).text();
    expect(page).toContain("<bdi>ada@acme.example</bdi>");
    expect(page).toContain("own API with your role");
    expect(world.posted[0]?.get("code_verifier")).toMatch(/^[\w-]{43}$/);
    expect(page).not.toContain("<label");
  });

  it("asks for the consent of a second client without a second sign-in", async () => {
    const world = await scene();
    await tokensOf(world);
    const second = await world.browser.get(askQuery(await registerClient(world.gateway)));
    expect({ status: second.status, asked: world.posted.length }).toEqual({ status: 200, asked: 1 });
    expect(await second.text()).toContain("Let this app in?");
  });

  it("takes a callback once", async () => {
    const world = await scene();
    const { callback } = await returned(world, askQuery(world.client));
    const answers = await Promise.all([world.browser.get(callback), world.browser.get(callback)]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([302, 400]);
    expect((await world.browser.get(callback)).status).toBe(400);
    expect(world.posted.length).toBe(1);
    expect(await storedValue("SELECT count(*) FROM browser_sessions")).toBe(1);
  });

  it("takes it from no other browser, and leaves it to the right one", async () => {
    const world = await scene();
    const { callback } = await returned(world, askQuery(world.client));
    const stranger = createBrowser(world.gateway);
    expect((await stranger.get(callback)).status).toBe(400);
    await stranger.get(askQuery(world.client));
    expect((await stranger.get(callback)).status).toBe(400);
    expect(world.posted).toEqual([]);
    expect((await world.browser.get(callback)).status).toBe(302);
  });

  it("takes it within ten minutes, and none with another state or without", async () => {
    const world = await scene();
    const { callback } = await returned(world, askQuery(world.client));
    for (const other of ["/oauth/callback?code=abc", `/oauth/callback?code=abc&state=${"x".repeat(43)}`]) {
      expect((await world.browser.get(other)).status).toBe(400);
    }
    world.gateway.passed = 600_001;
    expect((await world.browser.get(callback)).status).toBe(400);
    expect(world.posted).toEqual([]);
  });

  it("tells the client when the provider says no, and shows nothing of what it said", async () => {
    const world = await scene();
    const answer = { error: "access_denied", error_description: "<b>c4n4ry</b>" };
    const { callback } = await returned(world, askQuery(world.client), answer);
    expect(broughtBack(await world.browser.get(callback))).toEqual({
      error: "access_denied",
      error_description: "Access was not granted.",
      state: "the-state",
      iss: ORIGIN,
    });
    expect((await world.browser.get(callback)).status).toBe(400);
  });

  it("signs nobody in with a token for another nonce", async () => {
    const world = await scene();
    const { callback } = await returned(world, askQuery(world.client));
    await returned(world, askQuery(world.client));
    const response = await world.browser.get(callback);
    expect(response.status).toBe(401);
    expect(world.browser.cookies.has("__Host-postern_session")).toBe(false);
  });

  it("asks for a key where people cannot sign in there", async () => {
    const world = await scene({ OIDC_CLIENT_ID: "" });
    expect(await (await world.browser.get(askQuery(world.client))).text()).toContain("Virtual key");
  });

  it("is counted against the address that begins it", async () => {
    const ADDRESS_RATE = { limit: async ({ key }: { key: string }) => ({ success: key === "unknown" && count++ < 2 }) };
    let count = 0;
    const world = await scene({ ADDRESS_RATE });
    expect((await world.browser.get(askQuery(world.client))).status).toBe(302);
    expect((await world.browser.get(askQuery(world.client))).status).toBe(429);
  });
});

describe("a token of a user", () => {
  it("opens every door with the role that the members table gives, as it is then [PS-1]", async () => {
    await member("default", "ada", "org_admin");
    const world = await scene();
    const tokens = await tokensOf(world);
    const { access_token } = tokens;
    const headers = bearer(tokens);
    expect((await listTools(world.gateway, "/mcp", access_token)).status).toBe(200);
    expect((await listTools(world.gateway, "/mcp/ledger", access_token)).status).toBe(200);
    const rename = () => {
      const body = JSON.stringify({ name: "Default" });
      const json = { ...headers, "Content-Type": "application/json" };
      return world.gateway.fetch("/v1/orgs/default", { method: "PATCH", headers: json, body });
    };
    await accepted(await rename());
    await member("default", "ada", "member");
    expect(await refusal(await rename())).toEqual({ status: 403, code: "forbidden" });
    await env.DB.prepare("DELETE FROM members").run();
    expect((await world.gateway.fetch("/v1/servers", { headers })).status).toBe(403);
  });

  it("for one server opens no API", async () => {
    await member("default", "ada", "org_admin");
    const world = await scene();
    const tokens = await tokensOf(world, "default", { resource: `${ORIGIN}/mcp/ledger` });
    const response = await world.gateway.fetch("/v1/servers", { headers: bearer(tokens) });
    expect(await refusal(response)).toEqual({ status: 401, code: "unauthorized" });
  });

  it("acts in the org that its owner has chosen, and in no other [PS-2]", async () => {
    for (const org of ["acme", "bolt"]) {
      await createOrg(org);
      await member(org, "ada", "org_admin");
    }
    const world = await scene();
    const path = askQuery(world.client);
    const page = await (await arrive(world, path)).text();
    expect(page).toContain('<label for="org">The org that it acts in</label>');
    expect(page).toMatch(/<option value="acme">acme<\/option>\s*<option value="bolt">bolt<\/option>/);
    for (const org of ["", "default"]) {
      expect((await world.browser.submit(path, "allow", { org })).status).toBe(400);
    }
    const { code = "" } = broughtBack(await world.browser.submit(path, "allow", { org: "bolt" }));
    const headers = bearer(await accepted<Tokens>(await exchange(world.gateway, world.client, code)));
    const get = (where: string, more = {}) => world.gateway.fetch(where, { headers: { ...headers, ...more } });
    expect(await accepted(await get("/v1/orgs/bolt"))).toMatchObject({ org_id: "bolt" });
    expect((await get("/v1/servers", { "X-Org-Id": "bolt" })).status).toBe(200);
    expect(await refusal(await get("/v1/orgs/acme"))).toMatchObject({ status: 403, code: "forbidden" });
    expect(await refusal(await get("/v1/servers", { "X-Org-Id": "acme" }))).toMatchObject({ status: 403 });
    // Nobody can know which org is meant the next time.
    for (const org of ["acme", "bolt"]) {
      expect(broughtBack(await world.browser.submit(path, "allow", { org }))).toHaveProperty("code");
    }
    expect((await world.browser.get(path)).status).toBe(200);
  });

  it("is not given for an org that the provider names and the gateway does not have", async () => {
    const world = await scene();
    world.who = { ...ADA, org: "elsewhere" };
    const path = askQuery(world.client);
    expect(await (await arrive(world, path)).text()).toContain("You have no org here");
    expect((await world.browser.submit(path, "allow", { org: "elsewhere" })).status).toBe(400);
    expect(await (await world.browser.submit(path, "sign_out")).text()).toContain("You are signed out");
  });

  it("keeps the platform admin's right, in its org", async () => {
    const world = await scene();
    world.who = { ...ADA, platform: true };
    const tokens = await tokensOf(world);
    await createOrg("acme");
    const get = (where: string) => world.gateway.fetch(where, { headers: bearer(tokens) });
    expect((await get("/api/mcp/clients")).status).toBe(200);
    expect((await get("/v1/orgs/acme")).status).toBe(403);
  });

  it("is narrowed by a key that comes along, in the same org only [PS-1]", async () => {
    await member("default", "ada", "member");
    await createOrg("acme");
    const world = await scene();
    const headers = bearer(await tokensOf(world));
    const send = async (org: string) => {
      const made = await world.gateway.admin("POST", "/v1/virtual-keys", { name: org }, { "X-Org-Id": org });
      const { value } = await accepted<{ value: string }>(made, 201);
      return world.gateway.fetch("/mcp", { headers: { ...headers, "x-api-key": value } });
    };
    expect((await send("default")).status).toBe(405);
    expect(await (await send("acme")).json()).toMatchObject({ error: { data: { code: "forbidden" } } });
  });

  it.each([
    ["thirty days where the members table decides", {}, {}, 30],
    [
      "a day where claims decide, as they are read at sign-in only",
      { OIDC_CLAIMS: JSON.stringify({ roles: "roles" }) },
      { roles: ["member"] },
      1,
    ],
    ["a day for a platform admin", {}, { platform: true }, 1],
  ])("can be refreshed for %s", async (_, vars, claims, days) => {
    await member("default", "ada", "member");
    const world = await scene(vars);
    world.who = { ...ADA, ...claims };
    let tokens = await tokensOf(world);
    const { client_id } = world.client;
    const refresh = () =>
      askToken(world.gateway, { grant_type: "refresh_token", client_id, refresh_token: tokens.refresh_token });
    const pass = (ms: number) => {
      world.gateway.passed = ms;
      vi.setSystemTime(NOW + ms);
    };
    pass(days * 86_400_000 - 3_600_000);
    tokens = await accepted(await refresh());
    expect((await listTools(world.gateway, "/mcp", tokens.access_token)).status).toBe(200);
    pass(days * 86_400_000 + 1_000);
    expect((await listTools(world.gateway, "/mcp", tokens.access_token)).status).toBe(401);
    expect((await refresh()).status).toBe(400);
  });

  it("ends with its org", async () => {
    await createOrg("acme");
    await member("acme", "ada", "member");
    const world = await scene();
    const tokens = await tokensOf(world, "acme");
    expect((await listTools(world.gateway, "/mcp", tokens.access_token)).status).toBe(200);
    await accepted(await world.gateway.admin("DELETE", "/v1/orgs/acme"));
    expect((await listTools(world.gateway, "/mcp", tokens.access_token)).status).toBe(401);
  });
});
