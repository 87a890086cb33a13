/** Secrets of servers at rest: sealed in D1, open in answers (RG-2, PS-50). */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { createAgent } from "../support/agent.ts";
import { accepted, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const CONFIG = { headers: { "X-Api-Key": "c4n4ry-one" }, api_key: "c4n4ry-two", note: "c4n4ry-three" };
const OLD = `k1:${btoa("a key for tests, 32 bytes long!!!")}`;
const NEW = `k2:${btoa("another key, 32 bytes and longer!")}`;

const sealedOf = (serverId: string) =>
  storedValue<string>("SELECT config_sealed FROM servers WHERE server_id = ?", serverId);

describe("config at rest", () => {
  it("holds no plain text, and comes back the same from every answer [RG-2, RG-12]", async () => {
    const gateway = startGateway(offline);
    const created = await register(gateway, { config: CONFIG });
    const path = `/v1/servers/${created.server_id}`;
    const listed = await accepted<{ rows: ServerView[] }>(await gateway.admin("GET", "/v1/servers?name=docs"));
    const read = await accepted<ServerView>(await gateway.admin("GET", path));
    const changed = await accepted<ServerView>(await gateway.admin("PATCH", path, { display_name: "Docs" }));
    expect([created, listed.rows[0], read, changed].map((server) => server?.config)).toEqual(Array(4).fill(CONFIG));
    expect(await sealedOf(created.server_id)).toMatch(/^k1\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]+$/);
    const everything = JSON.stringify(await stored());
    expect(everything).not.toMatch(/c4n4ry|X-Api-Key/);
    expect(everything).not.toContain(btoa("c4n4ry-one").slice(0, -4));
  });

  it("looks different each time, so that equal secrets cannot be told [PS-50]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { config: CONFIG });
    const sealed = new Set<string | null>();
    for (let i = 0; i < 5; i++) {
      await accepted(await gateway.admin("PATCH", `/v1/servers/${server_id}`, { config: CONFIG }));
      sealed.add(await sealedOf(server_id));
    }
    expect(sealed.size).toBe(5);
  });

  it.each([
    ["without a ring", ""],
    ["with a ring that cannot be read", "k1:short"],
    ["with a ring of which one key cannot be read", `${OLD},k2`],
  ])("is not written %s, at first or later [RG-2, PS-50, T-12]", async (_, ENCRYPTION_KEYS) => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { server_id } = await register(startGateway(offline), { name: "held" });
    const gateway = startGateway(offline, { ENCRYPTION_KEYS });
    const before = await stored();
    const body = { name: "docs", server_url: "https://docs.example/mcp", enabled: false, config: CONFIG };
    const answers = [
      await gateway.admin("POST", "/v1/servers", body),
      await gateway.admin("PATCH", `/v1/servers/${server_id}`, { config: CONFIG, display_name: "Changed" }),
    ];
    for (const answer of answers)
      expect(await refusal(answer)).toEqual({ status: 500, code: "encryption_key_missing" });
    expect(await stored()).toEqual(before);
  });

  it("needs no ring as long as there is nothing to seal", async () => {
    const gateway = startGateway(offline, { ENCRYPTION_KEYS: "" });
    expect(await register(gateway, { config: {} })).toMatchObject({ config: {} });
  });

  it("opens with an old key of the ring, and a write seals with the newest [PS-50, T-12]", async () => {
    const { server_id } = await register(startGateway(offline), { config: CONFIG });
    const rotated = startGateway(offline, { ENCRYPTION_KEYS: ` ${NEW} , ${OLD} ` });
    const path = `/v1/servers/${server_id}`;
    expect(await accepted(await rotated.admin("GET", path))).toMatchObject({ config: CONFIG });
    expect(await sealedOf(server_id)).toMatch(/^k1\./);
    await accepted(await rotated.admin("PATCH", path, { config: CONFIG }));
    expect(await sealedOf(server_id)).toMatch(/^k2\./);
    const withoutOld = startGateway(offline, { ENCRYPTION_KEYS: NEW });
    expect(await accepted(await withoutOld.admin("GET", path))).toMatchObject({ config: CONFIG });
  });

  it.each([
    ["its key is no longer in the ring", (sealed: string) => sealed.replace("k1.", "k9.")],
    [
      "a byte has changed",
      (sealed: string) => sealed.slice(0, -6) + (sealed.at(-6) === "A" ? "B" : "A") + sealed.slice(-5),
    ],
    ["it was cut", (sealed: string) => sealed.slice(0, -8)],
    ["it has another nonce", (sealed: string) => sealed.replace(/\.[^.]+\./, ".AAAAAAAAAAAAAAAA.")],
    ["it is plain text", () => JSON.stringify(CONFIG)],
    ["it is empty", () => ""],
  ])("does not open when %s, and the answer tells nothing of it [RG-2, PS-50]", async (_, damage) => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { config: CONFIG });
    const sealed = (await sealedOf(server_id)) ?? "";
    await env.DB.prepare("UPDATE servers SET config_sealed = ?").bind(damage(sealed)).run();
    const response = await gateway.admin("GET", `/v1/servers/${server_id}`);
    expect(await response.clone().text()).not.toMatch(/c4n4ry|k1|k9/);
    expect(await refusal(response)).toEqual({ status: 500, code: "sealed_payload_invalid" });
  });

  it("can be replaced where it does not open, and by nothing else be written over", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { config: { api_key: "c4n4ry" } });
    await env.DB.prepare("UPDATE servers SET config_sealed = 'k1.AAAA.AAAA'").run();
    const before = await stored();
    const patch = (body: unknown) => gateway.admin("PATCH", `/v1/servers/${server_id}`, body);
    expect(await refusal(await patch({ display_name: "D" }))).toEqual({ status: 500, code: "sealed_payload_invalid" });
    expect(await stored()).toEqual(before);
    const replaced = await accepted<{ config: unknown }>(await patch({ config: { api_key: "another" } }));
    expect(replaced.config).toEqual({ api_key: "another" });
  });

  it("keeps a list that it is in from being shown, and no other write from being made [RG-2]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const broken = await register(gateway, { name: "broken", config: { api_key: "c4n4ry" } });
    const whole = await register(gateway, { name: "whole", config: CONFIG });
    const damage = () =>
      env.DB.prepare("UPDATE servers SET config_sealed = 'k1.AAAA.AAAA' WHERE server_id = ?")
        .bind(broken.server_id)
        .run();
    await damage();
    const list = async (path: string) => gateway.admin("GET", path);
    for (const path of ["/v1/servers", "/v1/servers?name=broken", "/api/mcp/clients"]) {
      expect(await refusal(await list(path))).toEqual({ status: 500, code: "sealed_payload_invalid" });
    }
    const others = await accepted<{ rows: ServerView[] }>(await list("/v1/servers?name=whole"));
    expect(others.rows.map(({ config }) => config)).toEqual([CONFIG]);
    await accepted(await gateway.admin("PATCH", `/v1/servers/${whole.server_id}`, { display_name: "W" }));
    const path = `/v1/servers/${broken.server_id}`;
    for (const config of [{ api_key: "another" }, {}, null]) {
      const replaced = await accepted<ServerView>(await gateway.admin("PATCH", path, { config }));
      expect(replaced.config).toEqual(config ?? {});
      expect((await list("/v1/servers")).status).toBe(200);
      await damage();
    }
    expect(await accepted(await gateway.admin("DELETE", path))).toEqual({ deleted: true });
    expect((await list("/v1/servers")).status).toBe(200);
  });

  it("does not open in another row [PS-50, T-12]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const rich = await register(gateway, { config: CONFIG });
    const poor = await register(gateway, { name: "poor", config: { api_key: "own" } });
    await env.DB.prepare("UPDATE servers SET config_sealed = ? WHERE server_id = ?")
      .bind(await sealedOf(rich.server_id), poor.server_id)
      .run();
    const response = await gateway.admin("GET", `/v1/servers/${poor.server_id}`);
    expect(await refusal(response)).toEqual({ status: 500, code: "sealed_payload_invalid" });
    expect(await accepted(await gateway.admin("GET", `/v1/servers/${rich.server_id}`))).toMatchObject({
      config: CONFIG,
    });
  });

  it("is not sent to the server of another row either, also when it was used before [T-12]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const server = scriptedServer({ era: "modern", tools: ['{"name":"search"}'] });
    const gateway = startGateway(server.network);
    const rich = await register(gateway, { enabled: true, config: CONFIG });
    const elsewhere = { name: "poor", server_url: "https://poor.example/mcp", config: { api_key: "own" } };
    const poor = await register(gateway, { ...elsewhere, enabled: true });
    const agent = await createAgent(gateway, [
      { server_id: rich.server_id, tools_to_execute: ["*"] },
      { server_id: poor.server_id, tools_to_execute: ["*"] },
    ]);
    await agent.modern("/mcp", "tools/call", { name: "docs__search" });
    expect(server.calls().map(({ headers }) => headers.get("X-Api-Key"))).toEqual(["c4n4ry-one"]);
    await env.DB.prepare("UPDATE servers SET config_sealed = ? WHERE server_id = ?")
      .bind(await sealedOf(rich.server_id), poor.server_id)
      .run();
    await accepted(await gateway.admin("PATCH", `/v1/servers/${rich.server_id}`, { display_name: "Changed" }));
    server.seen.length = 0;
    await agent.modern("/mcp", "tools/call", { name: "poor__search" });
    expect(JSON.stringify(server.seen.map(({ url, headers }) => [url, ...headers]))).not.toContain("c4n4ry");
  });
});
