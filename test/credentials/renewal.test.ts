/** The life of an upstream token: lent, renewed once, kept through whatever goes wrong on the way. */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Credential } from "../../src/credentials/credential.object.ts";
import type { LeaseAnswer } from "../../src/credentials/lease.ts";
import { credentialName, SERVER_ITSELF } from "../../src/credentials/owner.ts";
import type { Agent } from "../support/agent.ts";
import {
  linkServer,
  linkWithKey,
  type ProtectedWorld,
  protectedAgent,
  protectedWorld,
  SEARCH,
  triedAgent,
} from "../support/protected.ts";
import { resultOf, type Seen } from "../support/upstream.ts";

const CALL = { name: "docs__search", arguments: {} };
const START = Date.UTC(2030, 0, 1);
const HOUR = 3_600_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: START }));
afterEach(() => void vi.useRealTimers());

const later = (ms: number) => void vi.setSystemTime(Date.now() + ms);

/** A server of per-user accounts, and an agent whose key has linked one. */
async function linked(world: ProtectedWorld, fields: Record<string, unknown> = {}) {
  const agent = await triedAgent(world, fields);
  expect((await linkWithKey(world, agent)).status).toBe(200);
  const owner = { org_id: "default", user_id: `key:${agent.key.virtual_key_id}` };
  const object = env.CREDENTIAL.getByName(credentialName(agent.server_id, owner));
  return { agent, owner, object };
}

/** What a call came to: whether it succeeded, and how often server and token endpoint were asked for it. */
async function call(world: ProtectedWorld, agent: Agent, params: Record<string, unknown> = CALL) {
  const [calls, tokens] = [world.upstream.calls().length, world.as.to("token").length];
  const response = await agent.modern("/mcp", "tools/call", params);
  const text = await response.text();
  const body = text.startsWith("{") ? text : (/^data: (.*)$/m.exec(text)?.[1] ?? "");
  const { isError = false } = (JSON.parse(body) as { result?: { isError?: boolean } }).result ?? {};
  const sent = world.upstream.calls().length - calls;
  return { ok: !isError && !body.includes("/connect/"), sent, renewed: world.as.to("token").length - tokens, body };
}

const rowOf = async (serverId: string, userId: string) =>
  env.DB.prepare("SELECT * FROM tokens WHERE server_id = ? AND user_id = ?").bind(serverId, userId).first();

describe("a token in use", () => {
  it("is taken from memory while it is good for 300 s more, and renewed from then on [CN-24, CN-27, T-18]", async () => {
    const world = protectedWorld();
    const { agent } = await linked(world);
    later(HOUR - 301_000);
    expect(await call(world, agent)).toMatchObject({ ok: true, sent: 1, renewed: 0 });
    later(1_000);
    expect(await call(world, agent)).toMatchObject({ ok: true, sent: 1, renewed: 1 });
    expect(await call(world, agent)).toMatchObject({ ok: true, sent: 1, renewed: 0 });
    const refreshed = world.as.to("token").at(-1)?.params;
    expect(refreshed).toMatchObject({ grant_type: "refresh_token", resource: "https://docs.example/mcp" });
  });

  it("is renewed once for a hundred calls at its end, by a server that punishes reuse [T-18, CN-23, P-61, R-1]", async () => {
    const world = protectedWorld();
    const { agent, owner } = await linked(world);
    later(HOUR);
    const before = world.as.to("token").length;
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, id) => agent.modern("/mcp", "tools/call", CALL, { id: `c${id}` })),
    );
    const texts = await Promise.all(all.map((response) => response.text()));
    expect(texts.filter((text) => /"result":\{"content"/.test(text))).toHaveLength(100);
    expect(world.as.to("token").length - before).toBe(1);
    expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ version: 2, refresh_failed: 0 });
  });

  it("is renewed by the alarm before anybody has to wait, once for each time it was used", async () => {
    const world = protectedWorld();
    const { agent, object } = await linked(world);
    expect(await call(world, agent)).toMatchObject({ ok: true });
    const at = await runInDurableObject(object, (_, { storage }) => storage.getAlarm());
    expect(at).toBe(START + HOUR - 330_000);
    vi.setSystemTime(at ?? 0);
    const before = world.as.to("token").length;
    expect(await runDurableObjectAlarm(object)).toBe(true);
    expect(world.as.to("token").length - before).toBe(1);
    // Nobody has asked for the new one.
    expect(await runInDurableObject(object, (_, { storage }) => storage.getAlarm())).toBeNull();
    later(60_000);
    expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 0 });
  });

  it("whose life nobody states is renewed after an hour, and shown without an end [CN-21]", async () => {
    const world = protectedWorld();
    world.as.behaviour.expiresIn = undefined;
    world.as.behaviour.lifetimeS = 10 * HOUR;
    const { agent, owner } = await linked(world);
    expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ expires_at: null });
    later(HOUR - 301_000);
    expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 0 });
    later(1_000);
    expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 1 });
  });

  it("keeps its refresh token where the renewal brings none [CN-22]", async () => {
    const world = protectedWorld();
    world.as.behaviour.rotates = false;
    const { agent } = await linked(world);
    for (let hour = 0; hour < 3; hour++) {
      later(HOUR);
      expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 1 });
    }
    const used = world.as.to("token").filter(({ params }) => params["grant_type"] === "refresh_token");
    expect(new Set(used.map(({ params }) => params["refresh_token"])).size).toBe(1);
  });

  it("without a refresh token is used to its end, and then linked anew [CN-18, CN-11]", async () => {
    const world = protectedWorld();
    world.as.behaviour.givesRefreshTokens = false;
    const { agent } = await linked(world);
    later(HOUR - 1_000);
    expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 0 });
    later(1_000);
    const ended = await call(world, agent);
    expect(ended).toMatchObject({ ok: false, sent: 0, renewed: 0 });
    expect(ended.body).toContain("/connect/");
  });
});

describe("a renewal", () => {
  it("that the authorization server refuses for good means linking anew [PS-56, T-20, RB-20, R-3]", async () => {
    const world = protectedWorld();
    const { agent, owner } = await linked(world);
    later(HOUR);
    world.as.failNext("token", "invalid_grant");
    const refused = await call(world, agent);
    expect(refused).toMatchObject({ ok: false, sent: 0, renewed: 1 });
    expect(refused.body).toContain("/connect/");
    expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ refresh_failed: 1 });
    // Nobody asks in vain again.
    expect(await call(world, agent)).toMatchObject({ ok: false, sent: 0, renewed: 0 });
    expect((await linkWithKey(world, agent)).status).toBe(200);
    expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ refresh_failed: 0 });
    expect(await call(world, agent)).toMatchObject({ ok: true });
  });

  it.each([
    ["500", 500],
    ["429", 429],
    ["a broken connection", "break"],
    ["an answer that is none", () => Response.json({ error: "odd" })],
  ] as const)(
    "that fails with %s keeps the token and goes on with it to its end [PS-56, CN-20, T-20, R-3]",
    async (_, fault) => {
      const world = protectedWorld();
      const { agent, owner } = await linked(world);
      later(HOUR - 200_000);
      world.as.failAlways("token", fault);
      expect(await call(world, agent)).toMatchObject({ ok: true, sent: 1 });
      later(200_000);
      const ended = await call(world, agent);
      expect(ended).toMatchObject({ ok: false, sent: 0 });
      expect(ended.body).toContain("cannot renew the credential now");
      expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ refresh_failed: 0, version: 1 });
      world.as.failAlways("token", null);
      later(10_000);
      expect(await call(world, agent)).toMatchObject({ ok: true, sent: 1, renewed: 1 });
    },
  );

  it("whose answer is lost is asked for once more, and no token is lost with it [CN-22]", async () => {
    const world = protectedWorld();
    world.as.behaviour.rotates = false;
    const { agent } = await linked(world);
    later(HOUR);
    world.as.failNext("token", "drop");
    expect(await call(world, agent)).toMatchObject({ ok: true, sent: 1, renewed: 2 });
  });

  it("is asked for once more by a call whose object has ended in the middle of it [PS-56]", async () => {
    const world = protectedWorld();
    const { agent } = await linked(world);
    later(HOUR);
    vi.spyOn(Credential.prototype, "lease").mockImplementationOnce(async function (this: Credential) {
      (this as unknown as { readonly ctx: DurableObjectState }).ctx.abort("moved");
      return new Promise<LeaseAnswer>(() => {});
    });
    expect(await call(world, agent)).toMatchObject({ ok: true, sent: 1, renewed: 1 });
  });

  it("registers anew where the client is forgotten, and says when that does not help [PS-56, R-3]", async () => {
    const world = protectedWorld();
    const { agent, owner } = await linked(world);
    const [former] = world.as.clients.keys();
    world.as.clients.clear();
    later(HOUR);
    const refused = await call(world, agent);
    // The new client may not use what the old one was given.
    expect(refused).toMatchObject({ ok: false, sent: 0, renewed: 2 });
    expect(world.as.to("registration")).toHaveLength(2);
    expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ refresh_failed: 1 });
    const { client_id } = await (await world.gateway.admin("GET", `/v1/servers/${agent.server_id}`)).json<{
      client_id: string;
    }>();
    expect([...world.as.clients.keys()]).toEqual([client_id]);
    expect(client_id).not.toBe(former);
    expect((await linkWithKey(world, agent)).status).toBe(200);
    expect(await call(world, agent)).toMatchObject({ ok: true });
  });
});

describe("a renewal that something overtakes", () => {
  /** Holds requests for tokens back until the test lets them go. */
  const holdAt = async (gate: { isAsked: boolean; mayGo: boolean }, endpoint: string) => {
    if (endpoint !== "token") return;
    gate.isAsked = true;
    // Asked again and again: a promise of the test must not be waited for in an object.
    while (!gate.mayGo) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it("leaves nothing of a token that was deleted meanwhile [PS-57]", async () => {
    const gate = { isAsked: false, mayGo: true };
    const world = protectedWorld({}, {}, { clock: () => Date.now(), before: (endpoint) => holdAt(gate, endpoint) });
    const { agent, owner } = await linked(world);
    later(HOUR);
    Object.assign(gate, { isAsked: false, mayGo: false });
    const calling = call(world, agent);
    await vi.waitFor(() => expect(gate.isAsked).toBe(true), 10_000);
    await env.DB.prepare("DELETE FROM tokens WHERE user_id = ?").bind(owner.user_id).run();
    gate.mayGo = true;
    await calling;
    expect(await call(world, agent)).toMatchObject({ ok: false, sent: 0 });
    const left = await env.TOKENS.list({ prefix: "tok:" });
    expect(left.keys.filter(({ name }) => name.endsWith(":2"))).toEqual([]);
    expect(world.as.isGood(world.as.issued.at(-1)?.access_token ?? "")).toBe(false);
  });

  it("does not take the place of an account that was linked meanwhile", async () => {
    const gate = { isAsked: false, mayGo: true };
    const world = protectedWorld({}, {}, { clock: () => Date.now(), before: (endpoint) => holdAt(gate, endpoint) });
    const { agent, owner } = await linked(world);
    const { token_id: former } = (await rowOf(agent.server_id, owner.user_id)) as { token_id: string };
    later(HOUR);
    Object.assign(gate, { isAsked: false, mayGo: false });
    const calling = call(world, agent);
    await vi.waitFor(() => expect(gate.isAsked).toBe(true), 10_000);
    const value = {
      access_token: "another",
      refresh_token: null,
      token_type: "Bearer",
      expires_in: 3_600,
      scopes: null,
    };
    const client = {
      ...{ issuer: "https://as.example", token_endpoint: "https://as.example/token", client_id: "x" },
      ...{ client_secret: null, token_auth_method: null, revocation_endpoint: null, resource: "" },
    };
    const object = env.CREDENTIAL.getByName(credentialName(agent.server_id, owner));
    await object.authorize({ answer: value, client, scopes: [] });
    gate.mayGo = true;
    await calling;
    const row = (await rowOf(agent.server_id, owner.user_id)) as { token_id: string; version: number };
    expect(row.token_id).not.toBe(former);
    expect(await object.lease({ refused: null, subjectToken: null })).toMatchObject({
      token: { token_id: row.token_id, version: 1, access_token: "another" },
    });
  });
});

describe("a stored token", () => {
  it("is never taken from a former version that KV still has [T-19]", async () => {
    const world = protectedWorld();
    const { agent, owner, object } = await linked(world);
    const former = await env.TOKENS.list({ prefix: "tok:" });
    const values = await Promise.all(former.keys.map(async ({ name }) => [name, await env.TOKENS.get(name)] as const));
    later(HOUR);
    expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 1 });
    const { token_id } = (await rowOf(agent.server_id, owner.user_id)) as { token_id: string };
    // KV as it was a minute ago, and an object that has lost its own copy.
    await env.TOKENS.delete(`tok:${token_id}:2`);
    for (const [name, value] of values) await env.TOKENS.put(name, value ?? "");
    await runInDurableObject(object, (_, { storage }) => storage.sql.exec("DELETE FROM hot"));
    later(HOUR);
    const before = world.shown.length;
    const behind = await call(world, agent);
    expect(behind).toMatchObject({ ok: false, sent: 0, renewed: 0 });
    expect(behind.body).toContain("cannot renew the credential now");
    expect(world.shown.length).toBe(before);
  });

  it("is read back from KV and D1 by an object that has lost everything", async () => {
    const world = protectedWorld();
    const { agent, object } = await linked(world);
    await runInDurableObject(object, (_, { storage }) => storage.sql.exec("DELETE FROM hot"));
    later(HOUR);
    expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 1 });
  });

  it("does not open in another owner's row [PS-50, T-12, CN-1]", async () => {
    const world = protectedWorld();
    const { agent, owner, object } = await linked(world);
    const { token_id } = (await rowOf(agent.server_id, owner.user_id)) as { token_id: string };
    await env.DB.prepare("UPDATE tokens SET user_id = 'mallory' WHERE token_id = ?").bind(token_id).run();
    const mallory = { org_id: "default", user_id: "mallory" };
    const other = env.CREDENTIAL.getByName(credentialName(agent.server_id, mallory));
    expect(await other.lease({ refused: null, subjectToken: null })).toEqual({ ok: false, why: "unreadable" });
    expect(await object.lease({ refused: null, subjectToken: null })).toEqual({ ok: false, why: "none" });
  });

  it("reaches KV and D1 later when they refuse while it comes, and is used all the same [PS-34]", async () => {
    const world = protectedWorld();
    const { agent, owner, object } = await linked(world);
    await env.DB.exec("CREATE TRIGGER refuse BEFORE UPDATE ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END");
    later(HOUR);
    expect(await call(world, agent)).toMatchObject({ ok: true, renewed: 1 });
    expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ version: 1 });
    await env.DB.exec("DROP TRIGGER refuse");
    later(10_000);
    expect(await runDurableObjectAlarm(object)).toBe(true);
    expect(await rowOf(agent.server_id, owner.user_id)).toMatchObject({ version: 2 });
  });
});

describe("a server that refuses a token", () => {
  const refuses = (times: number) => {
    let left = times;
    return protectedWorld({
      call: () =>
        left-- > 0
          ? new Response(null, { status: 401 })
          : Response.json({ jsonrpc: "2.0", id: 1, result: { content: [] } }),
    });
  };

  it("is asked again once, with a renewed one [CN-10, PS-31]", async () => {
    const world = refuses(1);
    const { agent } = await linked(world);
    expect(await call(world, agent)).toMatchObject({ ok: true, sent: 2, renewed: 1 });
  });

  it("for ever gets two calls and one renewal for each, and the owner a link [CN-10, T-25]", async () => {
    const world = refuses(99);
    const { agent } = await linked(world);
    for (let time = 0; time < 2; time++) {
      const refused = await call(world, agent);
      expect(refused).toMatchObject({ ok: false, sent: 2, renewed: 1 });
      expect(refused.body).toContain("/connect/");
    }
  });

  it("is not asked again without a refresh token [CN-11]", async () => {
    const world = refuses(99);
    world.as.behaviour.givesRefreshTokens = false;
    const { agent } = await linked(world);
    expect(await call(world, agent)).toMatchObject({ ok: false, sent: 1, renewed: 0 });
  });

  it("is told of nobody's account where everybody shares one [PS-59]", async () => {
    const world = refuses(99);
    const agent = await protectedAgent(world, { auth_type: "oauth" });
    const before = await call(world, { ...agent }, CALL);
    expect(before.body).not.toContain("/connect/");
    expect((await linkServer(world, agent.server_id)).status).toBe(200);
    const refused = await call(world, agent);
    expect(refused).toMatchObject({ ok: false, sent: 2, renewed: 1 });
    expect(refused.body).toContain("docs is not connected; ask an admin");
    expect(
      await env.CREDENTIAL.getByName(credentialName(agent.server_id, SERVER_ITSELF)).lease({
        refused: null,
        subjectToken: null,
      }),
    ).toMatchObject({ ok: true });
  });

  const LOOKUP = JSON.stringify({
    name: "lookup",
    inputSchema: { type: "object" },
    annotations: { readOnlyHint: true },
  });
  const good = (seen: Seen) => resultOf(seen, '{"content":[]}');
  const status = (code: number) => () => new Response(null, { status: code });
  const broken = () => Promise.reject(new Error("Network connection lost."));
  const cut = () => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("data: {")),
      pull: (controller) => controller.error(new Error("the connection broke")),
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };

  it.each<[string, string, readonly ((seen: Seen) => Response | Promise<Response>)[], boolean, number, number]>([
    ["401 once", "search", [status(401), good], true, 2, 1],
    ["401 twice", "search", [status(401), status(401), good], false, 2, 1],
    ["401 and then 502", "search", [status(401), status(502), good], false, 2, 1],
    ["502 and then 401", "search", [status(502), status(401), good], false, 2, 0],
    ["502 before headers, once", "search", [status(502), good], true, 2, 0],
    ["502 twice", "search", [status(502), status(502), good], false, 2, 0],
    ["a connection that breaks", "search", [broken, good], false, 1, 0],
    ["the same for a tool that only reads", "lookup", [broken, good], true, 2, 0],
    ["a stream cut after its first byte", "search", [cut, good], false, 1, 0],
    ["the same for a tool that only reads", "lookup", [cut, good], true, 2, 0],
    ["403", "search", [status(403), good], false, 1, 0],
  ])(
    "is asked, with %s by %s, as often as the rules say [CN-7, CN-8, PS-31, T-24, T-25, R-27]",
    async (_, tool, answers, ok, sent, renewed) => {
      let turn = 0;
      const world = protectedWorld({
        tools: [SEARCH, LOOKUP],
        call: (seen) => (answers[turn++] ?? good)(seen),
      });
      const { agent } = await linked(world);
      later(1_000);
      expect(await call(world, agent, { name: `docs__${tool}`, arguments: {} })).toMatchObject({ ok, sent, renewed });
      expect(await agent.rows()).toMatchObject([
        { ok, attempts: sent },
        { ok: false, attempts: 0 },
      ]);
    },
  );
});
