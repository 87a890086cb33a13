/** The page where somebody signs in and decides about a client, and everything that must not happen there. */
import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { createApp } from "../../src/app.ts";
import { type Agent, createAgent } from "../support/agent.ts";
import { offline, storedValue } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import {
  askQuery,
  type Browser,
  broughtBack,
  CALLBACK,
  createBrowser,
  formTokenIn,
  type OAuthClient,
  ORIGIN,
  registerClient,
} from "../support/oauth.ts";

interface Scene {
  readonly gateway: TestGateway;
  readonly agent: Agent;
  readonly client: OAuthClient;
  readonly browser: Browser;
}

async function scene(fields: Record<string, unknown> = {}): Promise<Scene> {
  const gateway = startGateway(offline);
  const agent = await createAgent(gateway, []);
  return { gateway, agent, client: await registerClient(gateway, fields), browser: createBrowser(gateway) };
}

const text = async (response: Response) => ({ status: response.status, page: await response.text() });

describe("an authorization request that cannot be trusted", () => {
  const cases: [string, Record<string, string | null>][] = [
    ["no client", { client_id: null }],
    ["an unknown client", { client_id: "nobody" }],
    ["no redirect URI", { redirect_uri: null }],
    ["another redirect URI", { redirect_uri: "https://evil.example/callback" }],
    ["a redirect URI below the registered one", { redirect_uri: `${CALLBACK}/more` }],
    ["a redirect URI with a query", { redirect_uri: `${CALLBACK}?x=1` }],
    ["a redirect URI that is a script", { redirect_uri: "javascript:alert(1)" }],
    ["a client id that is a URL inside", { client_id: "https://127.0.0.1/client.json" }],
    ["a client id that is a URL on plain http", { client_id: "http://app.example/client.json" }],
    ["a client id that is a file", { client_id: "file:///etc/passwd" }],
  ];

  it.each(cases)("is told on a page of ours and sends nobody away: %s", async (_, fields) => {
    const { client, browser } = await scene();
    const response = await browser.get(askQuery(client, fields));
    expect({ status: response.status, location: response.headers.get("Location") }).toEqual({
      status: 400,
      location: null,
    });
    expect(await response.text()).toContain("<h1>This did not work</h1>");
  });

  it("is refused with a parameter twice", async () => {
    const { client, browser } = await scene();
    expect((await browser.get(`${askQuery(client)}&redirect_uri=https://evil.example`)).status).toBe(400);
  });

  it("is refused when one character of the redirect URI is another, or is missing [P-55]", async () => {
    const { client, browser } = await scene();
    const changed = Array.from(CALLBACK, (character, at) => [
      CALLBACK.slice(0, at) + (character === "x" ? "y" : "x") + CALLBACK.slice(at + 1),
      CALLBACK.slice(0, at) + CALLBACK.slice(at + 1),
      CALLBACK.slice(0, at) + character.toUpperCase() + CALLBACK.slice(at + 1),
    ]).flat();
    for (const redirect_uri of changed.filter((uri) => uri !== CALLBACK)) {
      const response = await browser.get(askQuery(client, { redirect_uri }));
      expect({ redirect_uri, status: response.status, to: response.headers.get("Location") }).toEqual({
        redirect_uri,
        status: 400,
        to: null,
      });
    }
  });

  it("is refused over plain http, but on this machine", async () => {
    const { client } = await scene();
    const ask = async (origin: string) => {
      const request = new Request(`${origin}${askQuery(client, { resource: null })}`);
      return createApp().fetch(request, { ...env } as unknown as Env, createExecutionContext());
    };
    expect((await ask("http://gateway.example")).status).toBe(400);
    const local = await ask("http://127.0.0.1:8787");
    expect(local.status).toBe(200);
    // No browser keeps a secure cookie there.
    expect(local.headers.get("Set-Cookie")).toMatch(
      /^postern_browser=[\w-]{43}; Path=\/; Max-Age=28800; HttpOnly; SameSite=Lax$/,
    );
  });
});

describe("an authorization request of a known client", () => {
  const cases: [string, Record<string, string | null>, string][] = [
    ["no PKCE", { code_challenge: null, code_challenge_method: null }, "invalid_request"],
    ["a method without a challenge", { code_challenge: null }, "invalid_request"],
    ["plain PKCE", { code_challenge_method: "plain" }, "invalid_request"],
    ["PKCE without a method, which means plain", { code_challenge_method: null }, "invalid_request"],
    ["a challenge that is no SHA-256", { code_challenge: "short" }, "invalid_request"],
    ["the implicit grant", { response_type: "token" }, "unsupported_response_type"],
    ["a resource of others", { resource: "https://other.example/mcp" }, "invalid_target"],
    ["a resource that is no door", { resource: `${ORIGIN}/v1` }, "invalid_target"],
    ["a resource with a trailing slash", { resource: `${ORIGIN}/mcp/` }, "invalid_target"],
    ["a resource below a door", { resource: `${ORIGIN}/mcp/a/b` }, "invalid_target"],
    ["a resource with an illegal name", { resource: `${ORIGIN}/mcp/a_b` }, "invalid_target"],
  ];

  it.each(cases)("is told at its redirect URI, with state and iss: %s", async (_, fields, error) => {
    const { client, browser } = await scene();
    const { error_description, ...brought } = broughtBack(await browser.get(askQuery(client, fields)));
    expect(brought).toEqual({ error, state: "the-state", iss: ORIGIN });
    expect(error_description).not.toBe("");
  });

  it("needs PKCE also where the client has a secret", async () => {
    const { client, browser } = await scene({ token_endpoint_auth_method: "client_secret_basic" });
    const path = askQuery(client, { code_challenge: null, code_challenge_method: null });
    expect(broughtBack(await browser.get(path))).toMatchObject({ error: "invalid_request", iss: ORIGIN });
  });

  it("may come with several resources, and gets none of them", async () => {
    const { client, browser } = await scene();
    const path = `${askQuery(client)}&resource=${encodeURIComponent(`${ORIGIN}/mcp/ledger`)}`;
    expect(broughtBack(await browser.get(path))).toMatchObject({ error: "invalid_target" });
  });
});

describe("signing in with a key", () => {
  it("asks for the key first, on a page that nothing can be put into [P-54]", async () => {
    const { client, browser } = await scene();
    const response = await browser.get(askQuery(client));
    const headers = Object.fromEntries(response.headers);
    expect(headers).toMatchObject({
      "content-security-policy":
        "default-src 'none'; style-src 'self'; form-action 'self' https://app.example; frame-ancestors 'none'; base-uri 'none'",
      "x-frame-options": "DENY",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "content-type": "text/html; charset=UTF-8",
    });
    expect(response.headers.getSetCookie()).toEqual([
      expect.stringMatching(
        /^__Host-postern_browser=[\w-]{43}; Path=\/; Max-Age=28800; HttpOnly; SameSite=Lax; Secure$/,
      ),
    ]);
    const page = await response.text();
    expect(page).toContain('<html lang="en">');
    expect(page).toContain('<label for="key">Virtual key</label>');
    expect(page).not.toMatch(/<script|javascript:|\son\w+=/i);
  });

  it.each([
    ["nothing", ""],
    ["no key", "hello"],
    ["an unknown key", "sk-pst-nobody"],
    ["the admin key", env.ADMIN_KEY],
  ])("refuses %s, and asks again", async (_, virtual_key) => {
    const { client, browser } = await scene();
    const { status, page } = await text(await browser.submit(askQuery(client), "key", { virtual_key }));
    expect(status).toBe(400);
    expect(page).toContain('role="alert"');
    expect(page).toContain('aria-describedby="key-help key-error" aria-invalid="true"');
    expect([...browser.cookies.keys()]).toEqual(["__Host-postern_browser"]);
    if (virtual_key !== "") expect(page).not.toContain(virtual_key);
  });

  it("refuses a key that is switched off", async () => {
    const { gateway, agent, client, browser } = await scene();
    await gateway.admin("PATCH", `/v1/virtual-keys/${agent.key.virtual_key_id}`, { is_active: false });
    const response = await browser.submit(askQuery(client), "key", { virtual_key: agent.key.value });
    expect(response.status).toBe(400);
  });

  it("makes a session that is a secret of its own, kept as a hash", async () => {
    const { agent, client, browser } = await scene();
    await browser.signIn(askQuery(client), agent.key.value);
    const session = browser.cookies.get("__Host-postern_session") ?? "";
    expect(session).toMatch(/^[\w-]{43}$/);
    const rows = JSON.stringify((await env.DB.prepare("SELECT * FROM browser_sessions").all()).results);
    expect(rows).not.toContain(session);
    expect(rows).not.toContain(agent.key.value);
  });

  it("ends when the key ends, and after eight hours", async () => {
    const { gateway, agent, client, browser } = await scene();
    const path = askQuery(client);
    expect((await text(await browser.signIn(path, agent.key.value))).page).toContain("Let this app in?");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 8 * 3_600_000 + 1_000 });
    expect((await text(await browser.get(path))).page).toContain("<h1>Sign in</h1>");
    vi.useRealTimers();
    expect((await text(await browser.get(path))).page).toContain("Let this app in?");
    await gateway.admin("PATCH", `/v1/virtual-keys/${agent.key.virtual_key_id}`, { is_active: false });
    expect((await text(await browser.get(path))).page).toContain("<h1>Sign in</h1>");
  });

  it("ends by signing out, on the server as well", async () => {
    const { agent, client, browser } = await scene();
    const path = askQuery(client);
    await browser.signIn(path, agent.key.value);
    const session = browser.cookies.get("__Host-postern_session") ?? "";
    expect((await text(await browser.submit(path, "sign_out"))).page).toContain("You are signed out");
    expect(browser.cookies.has("__Host-postern_session")).toBe(false);
    browser.cookies.set("__Host-postern_session", session);
    expect((await text(await browser.get(path))).page).toContain("<h1>Sign in</h1>");
  });

  it("can be left without a key", async () => {
    const { client, browser } = await scene();
    expect(broughtBack(await browser.submit(askQuery(client), "deny"))).toMatchObject({
      error: "access_denied",
      state: "the-state",
      iss: ORIGIN,
    });
  });
});

describe("a form", () => {
  it("is refused without its token, with another's, of another request, and from another browser [P-54]", async () => {
    const { gateway, agent, client, browser } = await scene();
    const path = askQuery(client);
    const csrf = formTokenIn(await (await browser.signIn(path, agent.key.value)).text());
    const stranger = createBrowser(gateway);
    const theirs = formTokenIn(await (await stranger.signIn(path, agent.key.value)).text());
    const allow = { decision: "allow", org: "default" };
    const otherPath = askQuery(client, { resource: `${ORIGIN}/mcp/ledger` });
    const tries = [
      browser.post(path, allow),
      browser.post(path, { ...allow, csrf: "" }),
      browser.post(path, { ...allow, csrf: theirs }),
      browser.post(otherPath, { ...allow, csrf }),
      stranger.post(path, { ...allow, csrf }),
      createBrowser(gateway).post(path, { ...allow, csrf }),
    ];
    for (const response of await Promise.all(tries)) {
      expect({ status: response.status, location: response.headers.get("Location") }).toEqual({
        status: 403,
        location: null,
      });
    }
    expect(await storedValue("SELECT count(*) FROM grants")).toBe(0);
    expect(broughtBack(await browser.post(path, { ...allow, csrf }))).toHaveProperty("code");
  });

  it("is refused when a browser says that another site has sent it, and when it is no form", async () => {
    const { agent, client, browser } = await scene();
    const path = askQuery(client);
    const csrf = formTokenIn(await (await browser.signIn(path, agent.key.value)).text());
    const form = { csrf, decision: "allow", org: "default" };
    for (const site of ["cross-site", "same-site", "none"]) {
      expect((await browser.post(path, form, { "Sec-Fetch-Site": site })).status).toBe(403);
    }
    expect((await browser.post(path, form, { "Content-Type": "text/plain" })).status).toBe(415);
    expect((await browser.post(path, form, { "Sec-Fetch-Site": "same-origin" })).status).toBe(302);
  });

  it("is refused once somebody else has signed in", async () => {
    const { gateway, agent, client, browser } = await scene();
    const path = askQuery(client);
    const csrf = formTokenIn(await (await browser.signIn(path, agent.key.value)).text());
    await browser.submit(path, "sign_out");
    await browser.signIn(path, (await createAgent(gateway, [])).key.value);
    expect((await browser.post(path, { csrf, decision: "allow", org: "default" })).status).toBe(403);
  });

  it("cannot choose an org that is not the person's, nor leave the decision open", async () => {
    const { agent, client, browser } = await scene();
    const path = askQuery(client);
    await browser.signIn(path, agent.key.value);
    expect((await browser.submit(path, "allow", { org: "acme" })).status).toBe(400);
    expect((await browser.submit(path, "allow")).status).toBe(400);
    expect((await browser.submit(path, "whatever", { org: "default" })).status).toBe(400);
    expect(await storedValue("SELECT count(*) FROM consents")).toBe(0);
  });
});

describe("consent", () => {
  it("shows the client, where access goes, what it is for, and who is signed in", async () => {
    const { gateway, agent, client, browser } = await scene();
    const { page } = await text(await browser.signIn(askQuery(client), agent.key.value));
    const record = await gateway.admin("GET", `/v1/virtual-keys/${agent.key.virtual_key_id}`);
    const { name } = await record.json<{ name: string }>();
    for (const shown of ["<bdi>Test app</bdi>", "nobody has checked this name", "<strong>app.example</strong>"]) {
      expect(page).toContain(shown);
    }
    expect(page).toContain(`<bdi>${name}</bdi>`);
    expect(page).toContain("on every server");
    expect(page).toContain("<bdi>default</bdi>");
    expect(page).not.toContain("program on the computer");
    const narrow = await text(await browser.get(askQuery(client, { resource: `${ORIGIN}/mcp/ledger` })));
    expect(narrow.page).toContain("on the server “ledger”");
  });

  it("warns of programs on the same machine", async () => {
    const redirect_uri = "http://127.0.0.1:4711/callback";
    const { agent, client, browser } = await scene({ redirect_uris: [redirect_uri] });
    const response = await browser.signIn(askQuery(client, { redirect_uri }), agent.key.value);
    expect(response.headers.get("Content-Security-Policy")).toContain("form-action 'self' http://127.0.0.1:4711;");
    expect(await response.text()).toContain("program on the computer");
  });

  it("can be refused, and is not remembered then", async () => {
    const { agent, client, browser } = await scene();
    const path = askQuery(client);
    await browser.signIn(path, agent.key.value);
    expect(broughtBack(await browser.submit(path, "deny"))).toEqual({
      error: "access_denied",
      error_description: "Access was not granted.",
      state: "the-state",
      iss: ORIGIN,
    });
    expect((await browser.get(path)).status).toBe(200);
  });

  it("is remembered for thirty days, for this client, person, redirect URI and door [P-54]", async () => {
    const other = "https://app.example/other";
    const { gateway, agent, client, browser } = await scene({ redirect_uris: [CALLBACK, other] });
    const path = askQuery(client);
    await browser.signIn(path, agent.key.value);
    await browser.submit(path, "allow", { org: "default" });
    expect(broughtBack(await browser.get(path))).toHaveProperty("code");
    // With another state and challenge it is the same client.
    expect(broughtBack(await browser.get(askQuery(client, { state: "another" })))).toHaveProperty("code");
    const asked = async (where: string, who: Browser = browser) => {
      const response = await who.get(where);
      return { status: response.status, isAsked: (await response.text()).includes("Let this app in?") };
    };
    const again = { status: 200, isAsked: true };
    expect(await asked(askQuery(client, { redirect_uri: other }))).toEqual(again);
    expect(await asked(askQuery(client, { resource: `${ORIGIN}/mcp/ledger` }))).toEqual(again);
    expect(await asked(askQuery(await registerClient(gateway)))).toEqual(again);
    const somebody = createBrowser(gateway);
    const theirs = await createAgent(gateway, []);
    expect((await somebody.signIn(path, theirs.key.value)).status).toBe(200);
    expect(await asked(path, somebody)).toEqual(again);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 30 * 86_400_000 + 1_000 });
    await browser.signIn(path, agent.key.value);
    expect(await asked(path)).toEqual(again);
    vi.useRealTimers();
  });

  it("gives a code that is nobody's name, for ten minutes", async () => {
    const { agent, client, browser } = await scene();
    const path = askQuery(client);
    await browser.signIn(path, agent.key.value);
    const { code = "" } = broughtBack(await browser.submit(path, "allow", { org: "default" }));
    expect(code).toMatch(/^gra_[0-9a-z]{26}:[\w-]{16}:[\w-]{32}$/);
    expect(code).not.toContain(agent.key.virtual_key_id);
    const ends = await storedValue<number>("SELECT expires_at - created FROM grants");
    expect(ends).toBe(600_000);
  });
});

describe("a hostile client", () => {
  const names: [string, string][] = [
    ["HTML", "<script>alert(1)</script><img src=x onerror=alert(1)>"],
    ["an attribute", '" autofocus onfocus="alert(1)'],
    ["a name that turns the line around", "\u202Eelgoog\u202C \u2066x\u2069 \u200F"],
    ["a name that cannot be seen", "\u200B\u200C\u2060"],
    ["300 characters", "A".repeat(300)],
    ["many lines", "Line\n\n\n\r\n\u2028Line"],
    ["stacked marks", `a${"\u0301".repeat(400)}`],
  ];

  it.each(names)("cannot say more than a short line with its name: %s", async (_, client_name) => {
    const { agent, client, browser } = await scene({ client_name });
    for (const page of [
      await (await browser.get(askQuery(client))).text(),
      await (await browser.signIn(askQuery(client), agent.key.value)).text(),
    ]) {
      expect(page).not.toMatch(/<script|<img|onerror=alert\(1\)>|" autofocus onfocus="/);
      expect(page).not.toMatch(/[\u200B-\u200F\u2028-\u202E\u2060-\u2069]/);
      const [shown = ""] = /<bdi>(.*?)<\/bdi>/s.exec(page)?.slice(1) ?? [];
      expect(shown).not.toBe("");
      expect(shown).not.toContain("\n");
      expect(shown.replace(/&\w+;/g, "&").length).toBeLessThanOrEqual(321);
    }
  });

  it("without a name is called by its id, and its text stays out of the policy of the page", async () => {
    const redirect_uri = "https://a;script-src-elem.example/callback";
    const { agent, client, browser } = await scene({ client_name: "", redirect_uris: [redirect_uri] });
    const response = await browser.signIn(askQuery(client, { redirect_uri }), agent.key.value);
    expect(response.headers.get("Content-Security-Policy")).toContain("form-action 'self'; frame-ancestors");
    expect(await response.text()).toContain(`<bdi>${client.client_id}</bdi>`);
  });
});

describe("a client that describes itself at a URL (CIMD)", () => {
  const client_id = "https://app.example/oauth/client.json";
  const document = (redirect_uri: string) => ({
    client_id,
    client_name: "Described app",
    redirect_uris: [redirect_uri],
    token_endpoint_auth_method: "none",
  });
  async function described(redirect_uri: string) {
    const asked: string[] = [];
    const gateway = startGateway(async ({ url }) => {
      asked.push(url);
      return url === client_id ? Response.json(document(redirect_uri)) : new Response(null, { status: 404 });
    });
    const client = { client_id, redirect_uris: [redirect_uri] };
    return { gateway, asked, path: askQuery(client, { redirect_uri }), browser: createBrowser(gateway) };
  }

  it("is shown with the host that it is described at, and is remembered", async () => {
    const { gateway, path, browser, asked } = await described(CALLBACK);
    const agent = await createAgent(gateway, []);
    const page = await (await browser.signIn(path, agent.key.value)).text();
    expect(page).toContain("Described app");
    expect(page).toContain("Described at <strong>app.example</strong>.");
    expect(broughtBack(await browser.submit(path, "allow", { org: "default" }))).toHaveProperty("code");
    expect(broughtBack(await browser.get(path))).toHaveProperty("code");
    expect(new Set(asked)).toEqual(new Set([client_id]));
  });

  it("is asked about each time where any program could claim to be it (RFC 8252 section 8.6)", async () => {
    const local = "http://127.0.0.1:4711/callback";
    const { gateway, path, browser } = await described(local);
    const agent = await createAgent(gateway, []);
    await browser.signIn(path, agent.key.value);
    expect(broughtBack(await browser.submit(path, "allow", { org: "default" }), local)).toHaveProperty("code");
    expect((await browser.get(path)).status).toBe(200);
  });

  it("is refused on a page of ours when its description cannot be had", async () => {
    const gateway = startGateway(offline);
    const { status, page } = await text(await createBrowser(gateway).get(askQuery({ client_id, redirect_uris: [] })));
    expect(status).toBe(400);
    expect(page).toContain("could not be read");
  });
});
