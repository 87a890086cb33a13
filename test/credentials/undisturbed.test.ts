/** What the credentials of one server, or of one moment, must not do to everything else. */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { credentialName } from "../../src/credentials/owner.ts";
import { createAgent } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { linkWithKey, type ProtectedWorld, protectedWorld, triedAgent } from "../support/protected.ts";

const CALL = { name: "docs__search", arguments: {} };
const HOUR = 3_600_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2030, 0, 1) }));
afterEach(() => void vi.useRealTimers());

const later = (ms: number) => void vi.setSystemTime(Date.now() + ms);
const renewals = ({ as }: ProtectedWorld) =>
  as.to("token").filter(({ params }) => params["grant_type"] === "refresh_token").length;

it.each(["modern", "legacy"] as const)(
  "initialize, server/discover and lists are answered while a renewal hangs: a call of a %s client [R-2]",
  async (era) => {
    const gate = { isAsked: false, mayGo: true };
    // Asked again and again: a promise of the test must not be waited for in an object.
    const before = async (endpoint: string) => {
      if (endpoint !== "token") return;
      gate.isAsked = true;
      while (!gate.mayGo) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const world = protectedWorld({}, {}, { clock: () => Date.now(), before });
    const agent = await triedAgent(world);
    expect((await linkWithKey(world, agent)).status).toBe(200);
    later(HOUR);
    Object.assign(gate, { isAsked: false, mayGo: false });
    let isAnswered = false;
    const calling = agent[era]("/mcp", "tools/call", CALL).finally(() => {
      isAnswered = true;
    });
    await vi.waitFor(() => expect(gate.isAsked).toBe(true), 10_000);
    for (const door of ["/mcp", "/mcp/docs"]) {
      await agent.initialize(door);
      expect((await agent.modern(door, "server/discover")).status).toBe(200);
      expect(await (await agent.modern(door, "tools/list")).text()).toContain("search");
      expect(await (await agent.legacy(door, "tools/list")).text()).toContain("search");
    }
    expect(isAnswered).toBe(false);
    gate.mayGo = true;
    expect(await (await calling).text()).toContain('"content":[]');
  },
);

it("a token without expires_in is not renewed on every call, and without a refresh token is used until a 401 [R-4]", async () => {
  const world = protectedWorld();
  world.as.behaviour.expiresIn = undefined;
  world.as.behaviour.lifetimeS = (10 * HOUR) / 1000;
  const agent = await triedAgent(world);
  expect((await linkWithKey(world, agent)).status).toBe(200);
  const calls = async (count: number) => {
    for (let n = 0; n < count; n++) {
      expect(await (await agent.modern("/mcp", "tools/call", CALL)).text()).toContain('"content":[]');
    }
  };
  await calls(3);
  later(HOUR);
  await calls(5);
  expect(renewals(world), "the hour that is assumed").toBe(1);

  world.as.behaviour.givesRefreshTokens = false;
  const other = await createAgent(world.gateway, [{ server_id: agent.server_id, tools_to_execute: ["*"] }]);
  expect((await linkWithKey(world, other)).status).toBe(200);
  for (const hours of [1, 4, 4]) {
    later(hours * HOUR);
    expect(await (await other.modern("/mcp", "tools/call", CALL)).text()).toContain('"content":[]');
  }
  later(2 * HOUR);
  expect(await (await other.modern("/mcp", "tools/call", CALL)).text()).toContain("/connect/");
  expect(renewals(world)).toBe(1);
});

it("linking one server anew leaves the tokens of all others alone [R-5]", async () => {
  const world = protectedWorld();
  const docs = await triedAgent(world);
  const wiki = await triedAgent(world, { name: "wiki" });
  const both = [docs, wiki].map(({ server_id }) => ({ server_id, tools_to_execute: ["*"] }));
  const agent = await createAgent(world.gateway, both);
  const onWiki = { name: "wiki__search", arguments: {} };
  expect((await linkWithKey(world, agent)).status).toBe(200);
  expect((await linkWithKey(world, agent, "wiki__search")).status).toBe(200);
  const rowsOf = async (serverId: string) =>
    (await env.DB.prepare("SELECT * FROM tokens WHERE server_id = ? ORDER BY token_id").bind(serverId).all()).results;
  const [ofDocs, ofWiki] = [await rowsOf(docs.server_id), await rowsOf(wiki.server_id)];
  expect([ofDocs.length, ofWiki.length]).toEqual([1, 1]);
  later(HOUR);
  world.as.failNext("token", "invalid_grant");
  expect(await (await agent.modern("/mcp", "tools/call", CALL)).text()).toContain("/connect/");
  expect((await linkWithKey(world, agent)).status).toBe(200);
  expect(await rowsOf(docs.server_id)).not.toEqual(ofDocs);
  expect(await rowsOf(wiki.server_id)).toEqual(ofWiki);
  expect(await (await agent.modern("/mcp", "tools/call", onWiki)).text()).toContain('"content":[]');
  expect(await (await agent.modern("/mcp", "tools/call", CALL)).text()).toContain('"content":[]');
});

it("a credential that died is shown as such before the next call [R-6]", async () => {
  const world = protectedWorld();
  const agent = await triedAgent(world);
  expect((await linkWithKey(world, agent)).status).toBe(200);
  expect(await (await agent.modern("/mcp", "tools/call", CALL)).text()).toContain('"content":[]');
  const owner = { org_id: "default", user_id: `key:${agent.key.virtual_key_id}` };
  const object = env.CREDENTIAL.getByName(credentialName(agent.server_id, owner));
  const path = `/v1/servers/${agent.server_id}/tokens`;
  const shown = async () => (await accepted<{ rows: unknown[] }>(await world.gateway.admin("GET", path))).rows;
  expect(await shown()).toMatchObject([{ user_id: owner.user_id, token_status: "valid" }]);
  const at = await runInDurableObject(object, (_, { storage }) => storage.getAlarm());
  vi.setSystemTime(at ?? 0);
  world.as.failNext("token", "invalid_grant");
  const calls = world.upstream.calls().length;
  expect(await runDurableObjectAlarm(object)).toBe(true);
  expect(await shown()).toMatchObject([{ user_id: owner.user_id, token_status: "refresh_failed" }]);
  expect(world.upstream.calls()).toHaveLength(calls);
});
