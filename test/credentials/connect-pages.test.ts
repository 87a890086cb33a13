/** Who may link an account, once and for whom: `/connect/…` and its way back (PS-54, PS-55). */
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createAgent } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { createBrowser, formTokenIn } from "../support/oauth.ts";
import {
  callbackOf,
  departFrom,
  departWith,
  linkIn,
  protectedAgent,
  protectedWorld,
  triedAgent,
} from "../support/protected.ts";

const CALL = { name: "docs__search", arguments: {} };

afterEach(() => void vi.useRealTimers());

async function asked(fields: Record<string, unknown> = {}) {
  const world = protectedWorld();
  const agent = await triedAgent(world, fields);
  const link = async () => linkIn(await (await agent.modern("/mcp", "tools/call", CALL)).text());
  return { world, agent, link, path: await link() };
}

const tokensOf = async (userId: string) =>
  (await env.DB.prepare("SELECT * FROM tokens WHERE user_id = ?").bind(userId).all()).results;

/** Comes back with what an authorization server has sent, changed by the test. */
const comeBack = (
  browser: ReturnType<typeof createBrowser>,
  url: string,
  changes: Record<string, string | null> = {},
) => {
  const back = new URL(url);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) back.searchParams.delete(name);
    else back.searchParams.set(name, value);
  }
  return browser.get(callbackOf(back.href));
};

describe("the page of a link", () => {
  it("names server, owner, org and authorization server, and sends nobody on without consent [PS-54, PS-9]", async () => {
    const { world, agent, path } = await asked({ display_name: "Docs & <b>co</b>" });
    const browser = createBrowser(world.gateway);
    const form = await (await browser.get(path)).text();
    expect(form).toContain("virtual key");
    await browser.submit(path, "key", { virtual_key: agent.key.value });
    const shown = await browser.get(path);
    const text = await shown.text();
    for (const part of [
      "Docs &amp; &lt;b&gt;co&lt;/b&gt;",
      "docs.example",
      "as.example",
      "default",
      "belongs to the key",
    ]) {
      expect(text).toContain(part);
    }
    expect(text).not.toContain("<b>co");
    expect(shown.headers.get("Cache-Control")).toBe("no-store");
    expect(shown.headers.get("Referrer-Policy")).toBe("no-referrer");
    expect(shown.headers.get("Content-Security-Policy")).toContain("frame-ancestors 'none'");
    expect(shown.headers.get("Content-Security-Policy")).toContain("form-action 'self' https://as.example");
    expect(world.as.requests.filter(({ endpoint }) => endpoint === "token")).toHaveLength(1);
  });

  it("refuses whoever is signed in as somebody else, and stores nothing [PS-54, P-56, T-10]", async () => {
    const { world, agent, path } = await asked();
    const other = await createAgent(world.gateway, []);
    const browser = createBrowser(world.gateway);
    await browser.submit(path, "key", { virtual_key: other.key.value });
    const shown = await browser.get(path);
    expect(shown.status).toBe(403);
    const csrf = formTokenIn(await shown.text());
    expect((await browser.post(path, { csrf, decision: "link" })).status).toBe(403);
    expect(await tokensOf(`key:${agent.key.virtual_key_id}`)).toEqual([]);
    expect(await tokensOf(`key:${other.key.virtual_key_id}`)).toEqual([]);
  });

  it("refuses a form without its token, from elsewhere, or with no decision", async () => {
    const { world, agent, path } = await asked();
    const browser = createBrowser(world.gateway);
    await browser.submit(path, "key", { virtual_key: agent.key.value });
    const csrf = formTokenIn(await (await browser.get(path)).text());
    expect((await browser.post(path, { csrf: "x", decision: "link" })).status).toBe(403);
    expect((await browser.post(path, { csrf, decision: "link" }, { "Sec-Fetch-Site": "cross-site" })).status).toBe(403);
    expect((await browser.post(path, { csrf })).status).toBe(400);
    expect((await browser.post(path, { csrf, decision: "deny" })).status).toBe(200);
    expect((await browser.post(path, { csrf, decision: "link" })).status).toBe(303);
  });

  it.each(["/connect/x", `/connect/${"x".repeat(43)}`, "/connect/"])("is a page without detail at %s", async (path) => {
    const response = await protectedWorld().gateway.fetch(path);
    expect(response.status).toBe(400);
    expect(response.headers.get("Content-Type")).toContain("text/html");
    expect(await response.text()).toContain("Invalid or expired state");
  });
});

describe("a link", () => {
  it("is good once, and for ten minutes [PS-54, P-56, T-8]", async () => {
    const { world, agent, path, link } = await asked();
    const browser = createBrowser(world.gateway);
    await departWith(browser, path, agent.key.value);
    expect((await browser.get(path)).status).toBe(400);
    const late = await link();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 600_000 });
    expect((await browser.get(late)).status).toBe(400);
  });

  it("brings back one token, though the browser comes back twice at once [PS-54, CN-29, T-8]", async () => {
    const { world, agent, path } = await asked();
    const browser = createBrowser(world.gateway);
    const back = callbackOf(world.as.visit(await departWith(browser, path, agent.key.value)));
    const both = await Promise.all([browser.get(back), browser.get(back)]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 400]);
    expect((await browser.get(back)).status).toBe(400);
    expect(await tokensOf(`key:${agent.key.virtual_key_id}`)).toHaveLength(1);
    // The code was exchanged once; the trial had one of its own.
    expect(world.as.to("token")).toHaveLength(2);
  });

  it("comes back to its own browser only, to the one who left, and in time [PS-54, PS-55, T-8]", async () => {
    const { world, agent, path, link } = await asked();
    const browser = createBrowser(world.gateway);
    const back = world.as.visit(await departWith(browser, path, agent.key.value));
    expect((await comeBack(createBrowser(world.gateway), back)).status).toBe(400);
    expect((await comeBack(browser, back, { state: "x".repeat(43) })).status).toBe(400);
    expect((await comeBack(browser, back, { state: null })).status).toBe(400);
    // Signed out in between.
    browser.cookies.delete("__Host-postern_session");
    expect((await comeBack(browser, back)).status).toBe(403);
    const again = createBrowser(world.gateway);
    const late = world.as.visit(await departWith(again, await link(), agent.key.value));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 600_000 });
    expect((await comeBack(again, late)).status).toBe(400);
    expect(await tokensOf(`key:${agent.key.virtual_key_id}`)).toEqual([]);
  });

  it.each([
    ["another issuer", { iss: "https://evil.example" }],
    ["no issuer where one is promised", { iss: null }],
    ["no code", { code: null }],
  ])("with %s in the callback is refused, and the code is shown to nobody [PS-55, P-58, T-9]", async (_, changes) => {
    const { world, agent, path } = await asked();
    const browser = createBrowser(world.gateway);
    const back = world.as.visit(await departWith(browser, path, agent.key.value));
    const before = world.as.to("token").length;
    const refused = await comeBack(browser, back, changes);
    expect(refused.status).toBe(400);
    expect(world.as.to("token")).toHaveLength(before);
    expect(await tokensOf(`key:${agent.key.virtual_key_id}`)).toEqual([]);
  });

  it("that the authorization server refuses ends with a page in our words [RB-36, T-2, CN-28]", async () => {
    const { world, agent, path, link } = await asked();
    const browser = createBrowser(world.gateway);
    const departed = await departWith(browser, path, agent.key.value);
    const denied = await comeBack(browser, world.as.visit(departed, { error: "access_denied" }));
    expect(denied.status).toBe(400);
    const page = await denied.text();
    expect(page).toContain("Access was not granted.");
    expect(page).not.toMatch(/c4n4ry|<script/);
    expect((await comeBack(browser, world.as.visit(departed))).status).toBe(400);
    world.as.failNext("token", "invalid_grant");
    const back = world.as.visit(await departFrom(browser, await link()));
    const failed = await comeBack(browser, back);
    expect(failed.status).toBe(400);
    expect(await failed.text()).not.toContain(new URL(back).searchParams.get("code"));
    expect(await tokensOf(`key:${agent.key.virtual_key_id}`)).toEqual([]);
  });

  it("asks the authorization server for what it must, and for what the admin adds [RB-35, RB-10, P-59]", async () => {
    const { world, agent, path } = await asked({ scopes: ["write"], extra_auth_params: { audience: "x" } });
    const url = new URL(await departWith(createBrowser(world.gateway), path, agent.key.value));
    expect(Object.fromEntries(url.searchParams)).toEqual({
      response_type: "code",
      client_id: [...world.as.clients.keys()][0],
      redirect_uri: "https://gateway.example/connect/callback",
      state: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: "S256",
      scope: "write",
      resource: "https://docs.example/mcp",
      audience: "x",
    });
  });

  it("is over when the server has become another one meanwhile", async () => {
    const { world, agent, path } = await asked();
    const browser = createBrowser(world.gateway);
    const back = world.as.visit(await departWith(browser, path, agent.key.value));
    const patched = await world.gateway.admin("PATCH", `/v1/servers/${agent.server_id}`, {
      ...{ auth_type: "oauth", registration_mode: "manual", client_id: "us" },
      ...{ oauth_issuer_url: "https://as.example", authorization_endpoint: "https://as.example/authorize" },
      token_endpoint: "https://as.example/token",
    });
    expect(patched.status).toBe(200);
    expect((await comeBack(browser, back)).status).toBe(400);
  });
});

describe("a link of an admin", () => {
  it("tries a server of per-user accounts, keeps its tools and gives up the account [BF-48]", async () => {
    const world = protectedWorld();
    const agent = await protectedAgent(world);
    const { authorization_url, state } = await accepted<Record<string, string>>(
      await world.gateway.admin("POST", `/v1/servers/${agent.server_id}/oauth/start`),
    );
    const browser = createBrowser(world.gateway);
    const departed = await departFrom(browser, callbackOf(authorization_url ?? ""));
    expect(new URL(departed).searchParams.get("state")).toBe(state);
    const page = await (await comeBack(browser, world.as.visit(departed))).text();
    expect(page).toContain("given up again");
    const tools = await accepted<{ rows: unknown[] }>(
      await world.gateway.admin("GET", `/v1/servers/${agent.server_id}/tools`),
    );
    expect(tools.rows).toHaveLength(1);
    expect(await tokensOf("admin-key")).toEqual([]);
    expect(world.as.isGood(world.as.issued.at(-1)?.access_token ?? "")).toBe(false);
    expect((await env.TOKENS.list({ prefix: "tok:" })).keys).toEqual([]);
  });
});
