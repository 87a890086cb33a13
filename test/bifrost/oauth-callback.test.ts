/** Where the browser comes back to: what is believed of it, and what it is shown (BF-46). */

import { env } from "cloudflare:workers";
import { createHash } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { accepted, stored, storedValue } from "../support/api.ts";
import { CONNECTED, oauthWorld, type Pending } from "../support/bifrost-oauth.ts";
import { createBrowser } from "../support/oauth.ts";
import { callbackOf, departFrom, protectedAgent } from "../support/protected.ts";

const STATE = "Invalid or expired state";
const LATE = 601_000;

afterEach(() => void vi.useRealTimers());

const stateIn = ({ authorize_url }: Pending) => new URL(authorize_url).searchParams.get("state") ?? "";

/** What every page of this surface is sent with; only the one of success runs a script. */
function expectPage(response: Response, status: number, scripts = ""): void {
  expect({ status: response.status, ...Object.fromEntries(response.headers) }).toMatchObject({
    status,
    "content-type": "text/html; charset=UTF-8",
    "content-security-policy": `default-src 'none';${scripts} style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
  });
  expect(response.headers.get("Set-Cookie")).toBeNull();
}

/** A refusal of a callback: a page of ours with that text. */
async function expectRefused(response: Response, text: string): Promise<void> {
  expectPage(response, 400);
  const page = await response.text();
  expect(page).toContain(text);
  expect(page).not.toContain("<script");
}

describe("GET /api/oauth/callback", () => {
  it("exchanges the code, and tells the window that has opened it, at our own origin only [BF-46, CN-28, T-7]", async () => {
    const { as, begin, agree, statusOf } = oauthWorld();
    const pending = await begin();
    const response = await agree(pending);
    const page = await response.clone().text();
    const [, script = ""] = /<script>([\s\S]*)<\/script>/.exec(page) ?? [];
    expect(page.match(/<script/g)).toHaveLength(1);
    expectPage(response, 200, ` script-src 'sha256-${createHash("sha256").update(script).digest("base64")}';`);

    const opener = { postMessage: vi.fn() };
    const window = { opener, close: vi.fn(), location: { origin: "https://gateway.example" } };
    new Function("window", script)(window);
    expect(opener.postMessage.mock.calls).toEqual([[{ type: "oauth_success" }, "https://gateway.example"]]);
    expect(window.close).toHaveBeenCalledTimes(1);
    // Opened by nobody, it just closes.
    expect(() => new Function("window", script)({ ...window, opener: null })).not.toThrow();

    const [exchange] = as.to("token");
    expect(exchange?.params).toMatchObject({
      ...{ grant_type: "authorization_code", redirect_uri: "https://gateway.example/api/oauth/callback" },
      ...{ code: expect.any(String), code_verifier: expect.stringMatching(/^[\w-]{43,}$/) },
      resource: "https://docs.example/mcp",
    });
    expect(await statusOf(pending.oauth_config_id)).toMatchObject({ status: "authorized" });
  });

  it("needs neither a cookie nor a credential of ours, and takes a state once [PS-55, T-8]", async () => {
    const { as, gateway, begin } = oauthWorld();
    const pending = await begin();
    const path = callbackOf(as.visit(pending.authorize_url));
    expect((await gateway.fetch(path)).status).toBe(200);
    const before = await stored();
    await expectRefused(await gateway.fetch(path), STATE);
    await expectRefused(await gateway.fetch(callbackOf(as.visit(pending.authorize_url))), STATE);
    expect(as.to("token")).toHaveLength(1);
    expect(await stored()).toEqual(before);
  });

  it("lets one of two through that come at once [CN-29, T-8]", async () => {
    const { as, gateway, begin } = oauthWorld();
    const path = callbackOf(as.visit((await begin()).authorize_url));
    const both = await Promise.all([gateway.fetch(path), gateway.fetch(path)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 400]);
    expect(as.to("token")).toHaveLength(1);
  });

  it("knows no other state, and none that has expired [RB-36, T-8]", async () => {
    const { as, gateway, begin, statusOf } = oauthWorld();
    const pending = await begin();
    const path = callbackOf(as.visit(pending.authorize_url));
    const before = await stored();
    await expectRefused(await gateway.fetch(path.replace(stateIn(pending), "x".repeat(43))), STATE);
    expect(await stored()).toEqual(before);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + LATE });
    await expectRefused(await gateway.fetch(path), STATE);
    expect(as.to("token")).toEqual([]);
    expect(await statusOf(pending.oauth_config_id)).toMatchObject({ status: "expired" });
  });

  it("leaves a callback without state or code as it is [BF-46]", async () => {
    const { as, gateway, begin } = oauthWorld();
    const pending = await begin();
    const before = await stored();
    for (const query of ["", "?code=c", `?state=${stateIn(pending)}`, "?error=access_denied", "?state=&code=c"]) {
      await expectRefused(await gateway.fetch(`/api/oauth/callback${query}`), "The address has no state, or no code.");
    }
    expect(await stored()).toEqual(before);
    expect((await gateway.fetch(callbackOf(as.visit(pending.authorize_url)))).status).toBe(200);
  });

  it("believes nothing of another issuer, and nothing of none where one is promised [PS-55, T-9]", async () => {
    for (const iss of ["https://evil.example", "", null]) {
      const { as, gateway, begin, statusOf } = oauthWorld();
      const pending = await begin();
      const url = new URL(as.visit(pending.authorize_url, { error: "access_denied" }));
      if (iss === null) url.searchParams.delete("iss");
      else url.searchParams.set("iss", iss);
      url.searchParams.set("code", "stolen");
      const response = await gateway.fetch(callbackOf(url.href));
      expect(await response.clone().text()).not.toMatch(/c4n4ry|evil|access_denied/);
      await expectRefused(response, "This is no answer to the authorization request.");
      expect(as.to("token")).toEqual([]);
      expect(await statusOf(pending.oauth_config_id)).toMatchObject({ status: "failed" });
    }
  });

  it("says that somebody has refused, in words of ours, and shows theirs escaped [BF-46, RB-36, T-7]", async () => {
    const { as, gateway, begin, complete, statusOf } = oauthWorld();
    const pending = await begin();
    const path = callbackOf(as.visit(pending.authorize_url, { error: "access_denied" }));
    const response = await gateway.fetch(path);
    const page = await response.clone().text();
    await expectRefused(response, "Access was not granted.");
    expect(page).toContain("&lt;script&gt;c4n4ry&lt;/script&gt;");
    expect(page).not.toContain("<script>c4n4ry");
    expect(as.to("token")).toEqual([]);
    expect(await statusOf(pending.oauth_config_id)).toMatchObject({ status: "failed" });
    expect(await (await complete("docs")).text()).toContain("Current status: failed");
    // The state is used up, and nothing that was waiting is left.
    await expectRefused(await gateway.fetch(path), STATE);
    const kept = "server_sealed IS NOT NULL OR client_sealed IS NOT NULL OR token_sealed IS NOT NULL";
    expect(await storedValue(`SELECT COUNT(*) FROM oauth_configs WHERE ${kept}`)).toBe(0);
  });

  it.each([
    ["invalid_grant", "The authorization server does not accept the grant"],
    ["invalid_client", "The authorization server does not accept the gateway"],
    [500, "The authorization server failed with status 500."],
  ] as const)("says what came of the exchange, and repeats nothing: %s [BF-46, CN-28, T-2]", async (fault, reason) => {
    const { as, begin, agree, statusOf } = oauthWorld();
    const pending = await begin();
    as.failNext("token", fault);
    const response = await agree(pending);
    const page = await response.clone().text();
    await expectRefused(response, reason);
    for (const [name, value] of Object.entries(as.to("token")[0]?.params ?? {})) {
      if (name.startsWith("code")) expect(page).not.toContain(value);
    }
    expect(await statusOf(pending.oauth_config_id)).toMatchObject({ status: "failed" });
  });

  it("gives a token up for which nobody waits any more", async () => {
    const { as, bifrost, begin, agree, statusOf } = oauthWorld();
    const { oauth_config_id, ...pending } = await begin();
    // Given up while the code is exchanged.
    as.failNext("token", async () => {
      await env.DB.prepare("UPDATE oauth_configs SET status = 'revoked'").run();
      return Response.json({ access_token: "late", refresh_token: "later", token_type: "Bearer" });
    });
    await expectRefused(await agree({ oauth_config_id, ...pending }), STATE);
    expect(as.to("revocation").map(({ params }) => params["token"])).toEqual(["later", "late"]);
    expect(await statusOf(oauth_config_id)).toMatchObject({ status: "revoked" });
    expect(await bifrost.own()).toEqual([]);
  });

  it("is for no flow of the other kind, and the other callback for none of this [PS-54, PS-55]", async () => {
    const world = oauthWorld();
    const { as, gateway, begin } = world;
    const pending = await begin({ client_id: "waiting", name: "waiting" });
    const browser = createBrowser(gateway);
    const { server_id } = await protectedAgent(world, { auth_type: "oauth" });
    const started = await gateway.admin("POST", `/v1/servers/${server_id}/oauth/start`);
    const { authorization_url } = await accepted<{ authorization_url: string }>(started);
    const departed = await departFrom(browser, callbackOf(authorization_url));
    const [own, native] = [as.visit(pending.authorize_url), as.visit(departed)].map((url) => new URL(url).search);
    expect((await browser.get(`/connect/callback${own}`)).status).toBe(400);
    expect((await browser.get(`/api/oauth/callback${native}`)).status).toBe(400);
    // Each still works where it belongs.
    expect((await browser.get(`/connect/callback${native}`)).status).toBe(200);
    expect((await browser.get(`/api/oauth/callback${own}`)).status).toBe(200);
  });

  it("shows pages for everything it refuses [BF-46, PS-73, PS-74]", async () => {
    const { gateway } = oauthWorld();
    const post = await gateway.fetch("/api/oauth/callback", { method: "POST" });
    expectPage(post, 405);
    expect(post.headers.get("Allow")).toBe("GET");
    expectPage(await gateway.fetch("/api/oauth/callback", { headers: { "X-A": "a".repeat(8_193) } }), 431);
  });

  it("can be completed from the moment it has answered [BF-48]", async () => {
    const { authorized, complete } = oauthWorld();
    const { complete_url } = await authorized();
    expect(complete_url).toContain("/complete-oauth");
    expect(await accepted(await complete(complete_url.split("/")[4] ?? ""))).toEqual(CONNECTED);
  });
});
