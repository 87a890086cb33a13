/** Where an access token of the gateway's own is good, as whom, and until when. */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { VerifiedKey, VirtualKey } from "../../src/access/virtual-key.ts";
import { createIdentity } from "../../src/identity/identity.ts";
import { covers, parseResource } from "../../src/identity/resource.ts";
import { ExpiringMap } from "../../src/platform/expiring-map.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createAgent } from "../support/agent.ts";
import { accepted, createOrg, generationOf, offline, refusal } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { askToken, listTools, ORIGIN, registerClient, type Tokens, tokensFor } from "../support/oauth.ts";

async function signedIn(path = "/mcp") {
  const gateway = startGateway(offline);
  const { key } = await createAgent(gateway, []);
  const client = await registerClient(gateway);
  const tokens = await tokensFor(gateway, client, key.value, { resource: `${ORIGIN}${path}` });
  const revoke = (gate: TestGateway, token: string) => askToken(gate, { client_id: client.client_id, token });
  return { gateway, key, client, tokens, revoke, bearer: { Authorization: `Bearer ${tokens.access_token}` } };
}

const status = async (gateway: TestGateway, path: string, { access_token }: Tokens) =>
  (await listTools(gateway, path, access_token)).status;

describe("the audience of a token", () => {
  it.each([
    ["/mcp", { "/mcp": 200, "/mcp/ledger": 200, "/mcp/other": 200 }],
    ["/mcp/ledger", { "/mcp": 401, "/mcp/ledger": 200, "/mcp/Ledger": 200, "/mcp/other": 401, "/mcp/ledger2": 401 }],
    ["/mcp/Ledger", { "/mcp": 401, "/mcp/ledger": 200, "/mcp/Ledger": 200, "/mcp/other": 401 }],
  ])("for %s opens that door and what is below it [P-52]", async (door, expected) => {
    const { gateway, tokens } = await signedIn(door);
    const found: Record<string, number> = {};
    for (const path of Object.keys(expected)) found[path] = await status(gateway, path, tokens);
    expect(found).toEqual(expected);
  });

  it("is /mcp for a client that names no resource", async () => {
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    const client = await registerClient(gateway);
    const tokens = await tokensFor(gateway, client, key.value, { resource: null });
    expect(tokens["resource"]).toBe(`${ORIGIN}/mcp`);
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
  });

  it("is remembered with the token: one door's yes is not another's", async () => {
    const { gateway, tokens } = await signedIn("/mcp/ledger");
    expect(await status(gateway, "/mcp/ledger", tokens)).toBe(200);
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    expect(await status(gateway, "/mcp/ledger", tokens)).toBe(200);
  });

  it.each([
    ["https://a.example/mcp", "https://a.example/mcp", true],
    ["https://a.example/mcp", "https://a.example/mcp/x", true],
    ["https://a.example/mcp", "https://a.example/mcpx", false],
    ["https://a.example/mcp", "https://b.example/mcp", false],
    ["https://a.example/mcp", "https://a.example:444/mcp", false],
    ["http://a.example/mcp", "https://a.example/mcp", false],
    ["https://a.example/mcp/x", "https://a.example/mcp", false],
    ["https://a.example/mcp/x", "https://a.example/mcp/X", true],
  ])("%s covers %s: %s", (audience, resource, expected) => {
    expect(covers(audience, resource)).toBe(expected);
  });

  it.each([
    ["https://a.example/mcp", "https://a.example/mcp"],
    ["https://A.EXAMPLE:443/mcp/Ledger", "https://a.example/mcp/Ledger"],
    ["https://a.example/mcp/", null],
    ["https://a.example/mcp/a/b", null],
    ["https://a.example/mcp?x", null],
    ["https://a.example/mcp#x", null],
    ["https://u:p@a.example/mcp", null],
    ["https://a.example/", null],
    ["https://b.example/mcp", null],
    ["/mcp", null],
    ["", null],
  ])("%s is the resource %s", (given, expected) => {
    expect(parseResource(given, "https://a.example")).toBe(expected);
  });
});

describe("a token", () => {
  it("is taken in the Authorization header only [P-52]", async () => {
    const { gateway, tokens } = await signedIn();
    const body = `access_token=${encodeURIComponent(tokens.access_token)}`;
    const form = { "Content-Type": "application/x-www-form-urlencoded" };
    for (const response of [
      await gateway.fetch(`/mcp?${body}`, { method: "POST" }),
      await gateway.fetch("/mcp", { method: "POST", headers: form, body }),
      await gateway.fetch("/mcp", { method: "POST", headers: { "x-api-key": tokens.access_token } }),
      await gateway.fetch("/mcp", { method: "POST", headers: { "x-bf-vk": tokens.access_token } }),
      await gateway.fetch("/mcp", { method: "POST", headers: { Cookie: `token=${tokens.access_token}` } }),
      await gateway.fetch(`/v1/servers?${body}`),
    ]) {
      expect(response.status).toBe(401);
    }
  });

  it("made with a key is the key: its tools, its name in the log, and no API", async () => {
    const { gateway, bearer } = await signedIn();
    for (const path of ["/v1/servers", "/v1/orgs/default", "/api/mcp/clients"]) {
      const response = await gateway.fetch(path, { headers: bearer });
      expect(await refusal(response)).toEqual({ status: 403, code: "forbidden" });
    }
  });

  it("of a refresh, or a code, opens nothing", async () => {
    const { gateway, tokens } = await signedIn();
    expect((await listTools(gateway, "/mcp", tokens.refresh_token)).status).toBe(401);
  });

  it("made with one key does not go with another", async () => {
    const { gateway, key, bearer } = await signedIn();
    const other = await createAgent(gateway, []);
    const send = (value: string) =>
      gateway.fetch("/mcp", { method: "GET", headers: { ...bearer, "x-api-key": value } });
    const refused = await send(other.key.value);
    expect(await refused.json()).toMatchObject({ error: { data: { code: "ambiguous_credentials" } } });
    expect((await send(key.value)).status).toBe(405);
  });

  it("has its org, and no header names another", async () => {
    const { gateway, bearer } = await signedIn();
    await createOrg("acme");
    const send = (org: string) => gateway.fetch("/mcp", { headers: { ...bearer, "X-Org-Id": org } });
    expect((await send("default")).status).toBe(405);
    for (const org of ["acme", "nowhere"]) {
      const response = await send(org);
      expect(response.headers.get("WWW-Authenticate")).toBeNull();
      expect(await response.json()).toMatchObject({ error: { data: { code: "forbidden", field: "X-Org-Id" } } });
    }
  });

  it("without the scope is told which one (RFC 6750 section 3.1)", async () => {
    const { gateway, tokens } = await signedIn();
    // The endpoints give no such token: this one is changed where it is stored.
    const [record] = (await env.OAUTH_KV.list({ prefix: "token:" })).keys;
    const stored = await env.OAUTH_KV.get<Record<string, unknown>>(record?.name ?? "", { type: "json" });
    await env.OAUTH_KV.put(record?.name ?? "", JSON.stringify({ ...stored, scope: ["other"] }));
    const response = await listTools(gateway, "/mcp/ledger", tokens.access_token);
    expect(response.status).toBe(403);
    expect(response.headers.get("WWW-Authenticate")).toBe(
      `Bearer resource_metadata="${ORIGIN}/.well-known/oauth-protected-resource/mcp/ledger", scope="mcp", error="insufficient_scope"`,
    );
    expect(await response.json()).toMatchObject({ error: { code: -32600, data: { code: "insufficient_scope" } } });
  });

  it("is good for an hour, however well it is remembered", async () => {
    const { gateway, tokens } = await signedIn();
    const start = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now: start });
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
    vi.setSystemTime(start + 3_590_000);
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
    vi.setSystemTime(start + 3_602_000);
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    vi.useRealTimers();
  });
});

describe("revocation (RFC 7009)", () => {
  it.each(["access_token", "refresh_token"] as const)("of the %s ends the whole grant at once", async (which) => {
    const { gateway, tokens, client, revoke } = await signedIn();
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
    const before = await generationOf("default");
    expect((await revoke(gateway, tokens[which])).status).toBe(200);
    expect(await generationOf("default")).toBe(before + 1);
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    const { refresh_token } = tokens;
    const grant = { grant_type: "refresh_token", client_id: client.client_id, refresh_token };
    expect((await askToken(gateway, grant)).status).toBe(400);
  });

  it("by another client, or of a token of nobody, changes nothing and says nothing", async () => {
    const { gateway, tokens } = await signedIn();
    const other = await registerClient(gateway);
    for (const token of [tokens.access_token, tokens.refresh_token, "nobody", `gra_${"0".repeat(26)}:x:y`]) {
      expect((await askToken(gateway, { client_id: other.client_id, token })).status).toBe(200);
    }
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
  });

  it("holds in other isolates within SNAPSHOT_TTL_MS, whatever KV still says [PS-7]", async () => {
    const { gateway, tokens, revoke } = await signedIn();
    const elsewhere = startGateway(offline);
    expect(await status(elsewhere, "/mcp", tokens)).toBe(200);
    const records = await Promise.all(
      (await env.OAUTH_KV.list()).keys.map(async ({ name }) => [name, (await env.OAUTH_KV.get(name)) ?? ""] as const),
    );
    await revoke(gateway, tokens.access_token);
    for (const [name, value] of records) await env.OAUTH_KV.put(name, value);
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now: now + 5_001 });
    expect(await status(elsewhere, "/mcp", tokens)).toBe(401);
    vi.useRealTimers();
  });

  it("comes with the key: switched off or deleted, its tokens are refused within the same bound [PS-7]", async () => {
    const { gateway, key, tokens } = await signedIn();
    const elsewhere = startGateway(offline);
    expect(await status(elsewhere, "/mcp", tokens)).toBe(200);
    await gateway.admin("PATCH", `/v1/virtual-keys/${key.virtual_key_id}`, { is_active: false });
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 5_001 });
    expect(await status(elsewhere, "/mcp", tokens)).toBe(401);
    vi.useRealTimers();
    await gateway.admin("PATCH", `/v1/virtual-keys/${key.virtual_key_id}`, { is_active: true });
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
    await gateway.admin("DELETE", `/v1/virtual-keys/${key.virtual_key_id}`);
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
  });
});

describe("a key that is rotated, or ends", () => {
  const rotate = (gateway: TestGateway, keyId: string, body: object) =>
    gateway.admin("POST", `/v1/virtual-keys/${keyId}/rotate`, body);

  it("takes the tokens that came of its old value along, at once", async () => {
    const { gateway, key, client, tokens } = await signedIn();
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
    const { value } = await accepted<{ value: string }>(await rotate(gateway, key.virtual_key_id, {}));
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    expect(await status(gateway, "/mcp", await tokensFor(gateway, client, value))).toBe(200);
  });

  it("takes them along at the end of the overlap", async () => {
    const { gateway, key, tokens } = await signedIn();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    await accepted(await rotate(gateway, key.virtual_key_id, { overlap_seconds: 60 }));
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
    vi.setSystemTime(Date.now() + 60_000);
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    vi.useRealTimers();
  });

  it("ends them at its own end", async () => {
    const { gateway, key, tokens } = await signedIn();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const expires_at = new Date(Date.now() + 60_000).toISOString();
    await accepted(await gateway.admin("PATCH", `/v1/virtual-keys/${key.virtual_key_id}`, { expires_at }));
    expect(await status(gateway, "/mcp", tokens)).toBe(200);
    vi.setSystemTime(Date.now() + 60_000);
    expect(await status(gateway, "/mcp", tokens)).toBe(401);
    vi.useRealTimers();
  });
});

describe("an outage", () => {
  it("of KV is told as one, and not as a bad token", async () => {
    const { tokens } = await signedIn();
    const OAUTH_KV = { get: () => Promise.reject(new Error("c4n4ry")) };
    const response = await listTools(startGateway(offline, { OAUTH_KV }), "/mcp", tokens.access_token);
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain("c4n4ry");
  });
});

describe("a principal made of a grant and of a key", () => {
  it("is as old as the older of the two, so that what has changed since is noticed", async () => {
    const value = { value_hash: "hash", previous_hash: null, previous_until: null, is_active: true, expires_at: null };
    const key = { ...value, virtual_key_id: "key_1", org_id: "default", name: "agent" } as VirtualKey;
    const grantor = { kind: "key", virtual_key_id: "key_1", org: "default", value_hash: "hash" } as const;
    const generationOfBoth = async (ofGrant: number, ofKey: number) => {
      const found: VerifiedKey = { key, rules: new Map(), generation: ofKey };
      const identity = createIdentity({
        adminKey: new Secret(""),
        defaultOrg: "default",
        keys: { findByHash: async () => found },
        members: { standing: () => Promise.reject(new Error()), orgsOf: async () => [] },
        provider: null,
        grants: { isOurs: () => true, verify: async () => ({ grantor, expiresAt: 1, generation: ofGrant }) },
        memory: new ExpiringMap(() => 0, 10),
        clock: () => 0,
      });
      return (await identity.agent(new Headers({ Authorization: "Bearer x" }), `${ORIGIN}/mcp`)).generation;
    };
    expect([await generationOfBoth(3, 5), await generationOfBoth(5, 3)]).toEqual([3, 3]);
  });
});
