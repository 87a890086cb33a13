/** From a code to tokens: what the token endpoint takes, once, and from whom. */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { createAgent } from "../support/agent.ts";
import { accepted, offline, storedValue } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import {
  askToken,
  CALLBACK,
  codeFor,
  exchange,
  listTools,
  ORIGIN,
  registerClient,
  type Tokens,
  tokensFor,
} from "../support/oauth.ts";

async function scene(fields: Record<string, unknown> = {}) {
  const gateway = startGateway(offline);
  const { key } = await createAgent(gateway, []);
  const client = await registerClient(gateway, fields);
  return { gateway, key, client };
}

const failure = async (response: Response) => ({
  status: response.status,
  error: (await response.json<{ error: string }>()).error,
});

describe("a code", () => {
  it("becomes tokens for its door, which are nobody's name and are not stored", async () => {
    const { gateway, key, client } = await scene();
    const response = await exchange(gateway, client, await codeFor(gateway, client, key.value));
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    const tokens = await accepted<Tokens>(response);
    expect(tokens).toEqual({
      access_token: expect.stringMatching(/^gra_[0-9a-z]{26}:[\w-]{16}:[\w-]{32}$/),
      token_type: "bearer",
      expires_in: 3600,
      refresh_token: expect.stringMatching(/^gra_[0-9a-z]{26}:[\w-]{16}:[\w-]{32}$/),
      scope: "mcp",
      resource: `${ORIGIN}/mcp`,
    });
    expect((await listTools(gateway, "/mcp", tokens.access_token)).status).toBe(200);
    const { keys } = await env.OAUTH_KV.list();
    const values = await Promise.all(keys.map(({ name }) => env.OAUTH_KV.get(name)));
    for (const secret of [tokens.access_token, tokens.refresh_token, key.virtual_key_id]) {
      expect(JSON.stringify([keys, values])).not.toContain(secret);
    }
  });

  it.each([
    ["a wrong verifier", { code_verifier: "w".repeat(43) }, "invalid_grant"],
    ["no verifier", { code_verifier: "" }, "invalid_request"],
    ["another redirect URI", { redirect_uri: `${CALLBACK}/other` }, "invalid_grant"],
    ["another door", { resource: `${ORIGIN}/mcp/ledger` }, "invalid_target"],
    ["a resource of others", { resource: "https://other.example/mcp" }, "invalid_target"],
    ["a scope that there is not", { scope: "admin" }, "invalid_scope"],
  ])("is refused with %s, and is still good", async (_, fields, error) => {
    const { gateway, key, client } = await scene();
    const code = await codeFor(gateway, client, key.value);
    const response = await exchange(gateway, client, code, fields);
    expect(await failure(response)).toEqual({ status: 400, error });
    await accepted(await exchange(gateway, client, code));
  });

  it("is refused to another client", async () => {
    const { gateway, key, client } = await scene();
    const code = await codeFor(gateway, client, key.value);
    const other = await registerClient(gateway);
    expect(await failure(await exchange(gateway, other, code))).toEqual({ status: 400, error: "invalid_grant" });
  });

  it("is refused after ten minutes", async () => {
    const { gateway, key, client } = await scene();
    const code = await codeFor(gateway, client, key.value);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 600_000 });
    expect(await failure(await exchange(gateway, client, code))).toEqual({ status: 400, error: "invalid_grant" });
    vi.useRealTimers();
  });

  it("ends everything it gave when it comes again (RFC 6749 section 4.1.2)", async () => {
    const { gateway, key, client } = await scene();
    const code = await codeFor(gateway, client, key.value);
    const tokens = await accepted<Tokens>(await exchange(gateway, client, code));
    expect((await listTools(gateway, "/mcp", tokens.access_token)).status).toBe(200);
    expect(await failure(await exchange(gateway, client, code))).toEqual({ status: 400, error: "invalid_grant" });
    expect((await listTools(gateway, "/mcp", tokens.access_token)).status).toBe(401);
    const refreshed = await askToken(gateway, { ...refresh(tokens), client_id: client.client_id });
    expect(await failure(refreshed)).toEqual({ status: 400, error: "invalid_grant" });
    expect(await storedValue("SELECT count(*) FROM grants")).toBe(0);
  });

  it("is used once where two come at the same time, or KV does not know yet that it was used", async () => {
    const { gateway, key, client } = await scene();
    const code = await codeFor(gateway, client, key.value);
    const [name = ""] = (await env.OAUTH_KV.list({ prefix: "grant:" })).keys.map((entry) => entry.name);
    const asItWas = (await env.OAUTH_KV.get(name)) ?? "";
    await accepted(await exchange(gateway, client, code));
    await env.OAUTH_KV.put(name, asItWas);
    expect(await failure(await exchange(gateway, client, code))).toEqual({ status: 400, error: "invalid_grant" });
    expect(await storedValue("SELECT count(*) FROM grants")).toBe(0);
  });
});

const refresh = ({ refresh_token }: Tokens) => ({ grant_type: "refresh_token", refresh_token });

describe("a refresh token", () => {
  it("gives new tokens for the same door, and is replaced", async () => {
    const { gateway, key, client } = await scene();
    const { client_id } = client;
    const first = await tokensFor(gateway, client, key.value, { resource: `${ORIGIN}/mcp/ledger` });
    const second = await accepted<Tokens>(await askToken(gateway, { ...refresh(first), client_id }));
    expect(second).toMatchObject({ resource: `${ORIGIN}/mcp/ledger`, scope: "mcp", expires_in: 3600 });
    expect(second.refresh_token).not.toBe(first.refresh_token);
    for (const { access_token } of [first, second]) {
      expect((await listTools(gateway, "/mcp/ledger", access_token)).status).toBe(200);
      expect((await listTools(gateway, "/mcp", access_token)).status).toBe(401);
    }
    // The one before is good until its successor is used: an answer may get lost.
    const third = await accepted<Tokens>(await askToken(gateway, { ...refresh(first), client_id }));
    const fourth = await accepted<Tokens>(await askToken(gateway, { ...refresh(third), client_id }));
    expect(fourth.refresh_token).not.toBe(third.refresh_token);
    for (const spent of [second, first]) {
      const response = await askToken(gateway, { ...refresh(spent), client_id });
      expect(await failure(response)).toEqual({ status: 400, error: "invalid_grant" });
    }
  });

  it("cannot move to another door, nor to another client", async () => {
    const { gateway, key, client } = await scene();
    const tokens = await tokensFor(gateway, client, key.value, { resource: `${ORIGIN}/mcp/ledger` });
    const { client_id } = client;
    for (const resource of [`${ORIGIN}/mcp`, `${ORIGIN}/mcp/other`, "https://other.example/mcp"]) {
      const response = await askToken(gateway, { ...refresh(tokens), client_id, resource });
      expect(await failure(response)).toEqual({ status: 400, error: "invalid_target" });
    }
    const other = await registerClient(gateway);
    const response = await askToken(gateway, { ...refresh(tokens), client_id: other.client_id });
    expect(await failure(response)).toEqual({ status: 400, error: "invalid_grant" });
  });

  it("lasts thirty days from the sign-in, however often it is used", async () => {
    const { gateway, key, client } = await scene();
    const { client_id } = client;
    const start = Date.now();
    const at = (days: number) => vi.setSystemTime(start + days * 86_400_000);
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    const first = await tokensFor(gateway, client, key.value);
    at(29.9);
    const second = await accepted<Tokens>(await askToken(gateway, { ...refresh(first), client_id }));
    at(30.1);
    const response = await askToken(gateway, { ...refresh(second), client_id });
    vi.useRealTimers();
    expect(await failure(response)).toEqual({ status: 400, error: "invalid_grant" });
  });

  it("is of no use once the key it came from is gone", async () => {
    const { gateway, key, client } = await scene();
    const tokens = await tokensFor(gateway, client, key.value);
    await gateway.admin("DELETE", `/v1/virtual-keys/${key.virtual_key_id}`);
    const response = await askToken(gateway, { ...refresh(tokens), client_id: client.client_id });
    expect(await failure(response)).toEqual({ status: 400, error: "invalid_grant" });
  });
});

describe("the token endpoint", () => {
  it("asks a client that has a secret for it", async () => {
    const { gateway, key, client } = await scene({ token_endpoint_auth_method: "client_secret_post" });
    const code = await codeFor(gateway, client, key.value);
    for (const client_secret of ["", "wrong"]) {
      const response = await exchange(gateway, client, code, { client_secret });
      expect(await failure(response)).toEqual({ status: 401, error: "invalid_client" });
    }
    await accepted(await exchange(gateway, client, code, { client_secret: client.client_secret ?? "" }));
  });

  it.each([
    ["a client id inside", { client_id: "https://10.0.0.1/c.json" }, {}],
    [
      "the same as a user name",
      {},
      { Authorization: `Basic ${btoa(`${encodeURIComponent("https://10.0.0.1/c")}:x`)}` },
    ],
    ["an assertion without a client id", { client_assertion: "a.b.c" }, {}],
  ])("fetches nothing that the guarded fetch would not: %s", async (_, fields, headers) => {
    const asked: string[] = [];
    const gateway = startGateway(async ({ url }) => {
      asked.push(url);
      return new Response(null, { status: 404 });
    });
    const body = new URLSearchParams({ grant_type: "refresh_token", ...fields } as Record<string, string>).toString();
    const form = { "Content-Type": "application/x-www-form-urlencoded", ...headers };
    const response = await gateway.fetch("/oauth/token", { method: "POST", headers: form as HeadersInit, body });
    expect(await failure(response)).toEqual({ status: 400, error: "invalid_request" });
    expect(asked).toEqual([]);
  });

  it("takes no other grant, no other method and no large body", async () => {
    const { gateway, client } = await scene();
    const { client_id } = client;
    for (const grant_type of ["client_credentials", "password", "urn:ietf:params:oauth:grant-type:token-exchange"]) {
      expect((await askToken(gateway, { grant_type, client_id })).status).toBe(400);
    }
    const get = await gateway.fetch("/oauth/token");
    expect({ ...(await failure(get)), allow: get.headers.get("Allow") }).toEqual({
      status: 405,
      error: "invalid_request",
      allow: "POST, OPTIONS",
    });
    const large = await askToken(gateway, { grant_type: "refresh_token", client_id, padding: "x".repeat(65_536) });
    expect(await failure(large)).toEqual({ status: 413, error: "invalid_request" });
  });

  it("says in its own words that a part of the gateway is down", async () => {
    const { gateway, key, client } = await scene();
    const code = await codeFor(gateway, client, key.value);
    const broken = startGateway(offline, {
      DB: {
        prepare: () => {
          throw new Error("c4n4ry");
        },
        batch: () => Promise.reject(new Error("c4n4ry")),
      },
    });
    const response = await exchange(broken, client, code);
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({
      error: "temporarily_unavailable",
      error_description: "A part of the gateway does not answer. Nothing was changed.",
    });
    await accepted(await exchange(gateway, client, code));
  });
});

describe("registration", () => {
  it("gives a public client an id and nothing secret", async () => {
    const { client } = await scene();
    expect(client).toMatchObject({ client_id: expect.any(String), redirect_uris: [CALLBACK] });
    expect(client).not.toHaveProperty("client_secret");
  });

  it.each([
    ["no redirect URI", { redirect_uris: [] }],
    ["a script", { redirect_uris: ["javascript:alert(1)"] }],
    ["plain http elsewhere", { redirect_uris: ["http://app.example/callback"] }],
    ["a fragment", { redirect_uris: [`${CALLBACK}#x`] }],
    ["the implicit grant", { grant_types: ["implicit"], response_types: ["token"] }],
  ])("refuses %s", async (_, fields) => {
    const gateway = startGateway(offline);
    const body = JSON.stringify({ client_name: "x", redirect_uris: [CALLBACK], ...fields });
    const headers = { "Content-Type": "application/json" };
    const response = await gateway.fetch("/oauth/register", { method: "POST", headers, body });
    expect(response.status).toBe(400);
    expect((await env.OAUTH_KV.list({ prefix: "client:" })).keys).toEqual([]);
  });

  it("is counted against the address that it comes from", async () => {
    const asked: string[] = [];
    const limiter = { limit: async ({ key }: { key: string }) => ({ success: asked.push(key) < 2 }) };
    const gateway = startGateway(offline, { ADDRESS_RATE: limiter });
    await registerClient(gateway);
    const response = await gateway.fetch("/oauth/register", { method: "POST", body: "{}" });
    expect({ status: response.status, after: response.headers.get("Retry-After") }).toEqual({
      status: 429,
      after: "60",
    });
    expect(asked).toEqual(["unknown", "unknown"]);
  });
});
