/** How long a virtual key and each of its values open the doors: expiry, rotation, revocation, and what notes their use. */
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openUntil, type VirtualKey } from "../../src/access/virtual-key.ts";
import type { VirtualKeyView } from "../../src/access/virtual-keys.wire.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import { accepted, generationOf, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { AUDIENCE, ISSUER, metadataOf, NOW, newKey, sign } from "../support/identity-provider.ts";
import { resultOf, scriptedServer } from "../support/upstream.ts";

const PATH = "/v1/virtual-keys";
const START = Date.UTC(2031, 0, 2, 3, 4, 5);
const MINUTE = 60_000;

/** What all gateways of a test take for the time. */
let now = START;
const clock = () => now;

beforeEach(() => {
  now = START;
});
afterEach(() => {
  vi.restoreAllMocks();
});

const start = (vars: Record<string, unknown> = {}) => startGateway(offline, vars, { clock });
const create = async (gateway: TestGateway, body: Record<string, unknown> = {}) =>
  accepted<VirtualKeyView>(await gateway.admin("POST", PATH, { name: "agent", ...body }), 201);
const read = async (gateway: TestGateway, id: string) =>
  accepted<VirtualKeyView>(await gateway.admin("GET", `${PATH}/${id}`));
const patch = async (gateway: TestGateway, id: string, body: unknown) =>
  accepted<VirtualKeyView>(await gateway.admin("PATCH", `${PATH}/${id}`, body));
const rotate = async (gateway: TestGateway, id: string, body: unknown = {}) =>
  accepted<VirtualKeyView>(await gateway.admin("POST", `${PATH}/${id}/rotate`, body));

/** The status of a request with this value at an agent's door. */
async function knock(gateway: TestGateway, value: string, method = "ping"): Promise<number> {
  const headers = { "x-api-key": value, "Content-Type": "application/json" };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: {} });
  const response = await gateway.fetch("/mcp", { method: "POST", headers, body });
  await response.text();
  return response.status;
}

describe("a value", () => {
  const key: VirtualKey = {
    ...{ virtual_key_id: "key_1", org_id: "default", name: "agent", description: "", last4: "last" },
    ...{ value_hash: "present", previous_hash: "former", previous_until: 50, is_active: true, expires_at: null },
    ...{ last_used_at: null, group_id: null, created: 0, created_by: "ann", modified: 0, modified_by: "ann" },
  };

  it.each<[string, Partial<VirtualKey>, string, number | null]>([
    ["opens for good", {}, "present", Number.POSITIVE_INFINITY],
    ["opens until the key expires", { expires_at: 20 }, "present", 20],
    ["does not open from that instant on", { expires_at: 10 }, "present", null],
    ["does not open a key that is off", { is_active: false }, "present", null],
    ["of before opens to the end of the overlap", {}, "former", 50],
    ["of before does not outlive the key", { expires_at: 20 }, "former", 20],
    ["of before is dead from that instant on", { previous_until: 10 }, "former", null],
    ["of before is dead without an overlap", { previous_until: null }, "former", null],
    ["of before does not open a key that is off", { is_active: false }, "former", null],
    ["of another key does not open it", {}, "other", null],
  ])("%s", (_, changes, hash, until) => {
    expect(openUntil({ ...key, ...changes }, hash, 10)).toBe(until);
  });
});

describe("expires_at", () => {
  it("ends a key at its instant, also in an isolate that remembers it, and only until it is moved or cleared", async () => {
    const gateway = start();
    const { value, virtual_key_id } = await create(gateway, { expires_at: new Date(START + 1_000).toISOString() });
    now = START + 999;
    expect(await knock(gateway, value)).toBe(200);
    now = START + 1_000;
    expect(await knock(gateway, value)).toBe(401);
    await patch(gateway, virtual_key_id, { expires_at: new Date(START + 2_000).toISOString() });
    expect(await knock(gateway, value)).toBe(200);
    now = START + 2_000;
    expect(await knock(gateway, value)).toBe(401);
    await patch(gateway, virtual_key_id, { expires_at: null });
    expect(await knock(gateway, value)).toBe(200);
    await patch(gateway, virtual_key_id, { expires_at: "2001-01-01T00:00:00Z" });
    expect(await knock(gateway, value)).toBe(401);
  });
});

describe("POST /v1/virtual-keys/:virtual_key_id/rotate", () => {
  it("answers the record with another value, and moves nothing else", async () => {
    const gateway = start();
    const created = await create(gateway, { expires_at: "2041-01-01T00:00:00Z", is_active: false });
    now += 10;
    const rotated = await rotate(gateway, created.virtual_key_id, { overlap_seconds: 60 });
    expect(rotated).toEqual({
      ...created,
      value: expect.stringMatching(/^sk-pst-[A-Za-z0-9_-]{43}$/),
      previous_until: new Date(START + 10 + MINUTE).toISOString(),
      modified: new Date(START + 10).toISOString(),
    });
    expect(rotated.value).not.toBe(created.value);
    const masked = `sk-pst-****${rotated.value.slice(-4)}`;
    expect(await read(gateway, created.virtual_key_id)).toEqual({ ...rotated, value: masked });
    expect((await rotate(gateway, created.virtual_key_id)).previous_until).toBeNull();
  });

  it("ends the old value at once without an overlap", async () => {
    const gateway = start();
    const one = await create(gateway);
    expect(await knock(gateway, one.value)).toBe(200);
    for (const body of [{}, { overlap_seconds: 0 }]) {
      const two = await rotate(gateway, one.virtual_key_id, body);
      expect([await knock(gateway, one.value), await knock(gateway, two.value)]).toEqual([401, 200]);
    }
  });

  it("lets the old value work to the end of the overlap, and a second rotation ends the first old value", async () => {
    const gateway = start();
    const { value: one, virtual_key_id } = await create(gateway);
    const { value: two } = await rotate(gateway, virtual_key_id, { overlap_seconds: 604_800 });
    const open = async (...values: string[]) => {
      const answers: boolean[] = [];
      for (const value of values) answers.push((await knock(gateway, value)) === 200);
      return answers;
    };
    expect(await open(one, two)).toEqual([true, true]);
    now += 604_800_000 - 1;
    expect(await open(one, two)).toEqual([true, true]);
    now += 1;
    expect(await open(one, two)).toEqual([false, true]);
    const { value: three } = await rotate(gateway, virtual_key_id, { overlap_seconds: 60 });
    expect(await open(one, two, three)).toEqual([false, true, true]);
    const { value: four } = await rotate(gateway, virtual_key_id, { overlap_seconds: 60 });
    expect(await open(one, two, three, four)).toEqual([false, false, true, true]);
    await rotate(gateway, virtual_key_id);
    expect(await open(one, two, three, four)).toEqual([false, false, false, false]);
  });

  it("refuses an overlap that is none, and changes nothing", async () => {
    const gateway = start();
    const { virtual_key_id } = await create(gateway);
    const before = await stored();
    for (const overlap_seconds of [-1, 604_801, 1.5, "60", null, true]) {
      const response = await gateway.admin("POST", `${PATH}/${virtual_key_id}/rotate`, { overlap_seconds });
      const expected = { overlap_seconds, status: 400, code: "invalid_request", field: "overlap_seconds" };
      expect({ overlap_seconds, ...(await refusal(response)) }).toEqual(expected);
    }
    expect(await stored()).toEqual(before);
  });

  it("gives each of those who rotate at once a value of their own, of which the last works", async () => {
    const gateway = start();
    const { virtual_key_id } = await create(gateway);
    const rotated = await Promise.all([1, 2, 3].map(() => rotate(gateway, virtual_key_id)));
    expect(new Set(rotated.map(({ value }) => value)).size).toBe(3);
    const statuses: number[] = [];
    for (const { value } of rotated) statuses.push(await knock(gateway, value));
    expect(statuses.toSorted()).toEqual([200, 401, 401]);
  });
});

describe("the value of a key", () => {
  it("is shown by creation and rotation, kept as a hash, ended by rotation, switch and expiry, and its use noted [PS-8]", async () => {
    const gateway = start();
    const { value, virtual_key_id } = await create(gateway);
    const kept = () =>
      env.DB.prepare("SELECT value_hash, last4, previous_hash FROM virtual_keys").first<Record<string, unknown>>();
    expect(value).toMatch(/^sk-pst-[A-Za-z0-9_-]{43}$/);
    expect(await kept()).toEqual({ value_hash: sha256Hex(value), last4: value.slice(-4), previous_hash: null });
    expect(await knock(gateway, value)).toBe(200);
    expect(await read(gateway, virtual_key_id)).toMatchObject({
      value: `sk-pst-****${value.slice(-4)}`,
      last_used_at: "2031-01-02T03:04:00.000Z",
    });
    const { value: second } = await rotate(gateway, virtual_key_id, { overlap_seconds: 1 });
    expect(await kept()).toEqual({
      value_hash: sha256Hex(second),
      last4: second.slice(-4),
      previous_hash: sha256Hex(value),
    });
    expect([await knock(gateway, value), await knock(gateway, second)]).toEqual([200, 200]);
    now += 1_000;
    expect([await knock(gateway, value), await knock(gateway, second)]).toEqual([401, 200]);
    await patch(gateway, virtual_key_id, { is_active: false });
    expect(await knock(gateway, second)).toBe(401);
    await patch(gateway, virtual_key_id, { is_active: true, expires_at: new Date(now + 1).toISOString() });
    expect(await knock(gateway, second)).toBe(200);
    now += 1;
    expect(await knock(gateway, second)).toBe(401);
  });

  it("is in no other answer, log line, call row or table [T-15]", async () => {
    const lines: string[] = [];
    for (const level of ["info", "warn", "error", "log", "debug"] as const) {
      vi.spyOn(console, level).mockImplementation((...args) => void lines.push(args.join(" ")));
    }
    const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}'] });
    const gateway = startGateway(upstream.network);
    const { server_id } = await register(gateway, { enabled: true });
    const created = await create(gateway, { servers: [{ server_id, tools_to_execute: ["*"] }] });
    const rotated = await rotate(gateway, created.virtual_key_id, { overlap_seconds: 60 });
    const answers: string[] = [];
    const record = async (response: Promise<Response>) => void answers.push(await (await response).text());
    const params = { name: "docs__search", arguments: {} };
    for (const value of [created.value, rotated.value, `${rotated.value}x`]) {
      for (const method of ["tools/list", "tools/call"]) {
        const headers = { Authorization: `Bearer ${value}`, "Content-Type": "application/json" };
        const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
        await record(gateway.fetch("/mcp", { method: "POST", headers, body }));
      }
      await record(gateway.fetch("/v1/servers", { headers: { "x-bf-vk": value } }));
    }
    const path = `${PATH}/${created.virtual_key_id}`;
    await record(gateway.admin("PATCH", path, { description: "x" }));
    for (const at of [PATH, path, "/v1/calls", "/v1/servers", "/api/mcp/clients", "/api/governance/virtual-keys"]) {
      await record(gateway.admin("GET", at));
    }
    await record(gateway.admin("DELETE", path));
    expect(answers.length).toBe(17);
    const sent = upstream.seen.map(({ url, text, headers }) => [url, text, ...headers].join("\n"));
    const everything = JSON.stringify([answers, lines, sent, await stored()]);
    for (const value of [created.value, rotated.value]) {
      expect(everything).not.toContain(value.slice("sk-pst-".length, -4));
      const masked = `sk-pst-****${value.slice(-4)}`;
      expect(everything.includes(masked)).toBe(value === rotated.value);
    }
  });
});

describe("last_used_at", () => {
  const usedAt = () => storedValue<number>("SELECT last_used_at FROM virtual_keys");

  it("is the minute of the last request that the key opened, and of none that it did not", async () => {
    const gateway = start();
    const { value, virtual_key_id } = await create(gateway);
    await read(gateway, virtual_key_id);
    await knock(gateway, `${value}x`);
    await gateway.fetch("/v1/servers", { headers: { "x-api-key": value } });
    expect(await usedAt()).toBeNull();
    for (const method of ["ping", "tools/list", "tools/call"]) {
      await knock(gateway, value, method);
      expect(await usedAt()).toBe(Math.floor(now / MINUTE) * MINUTE);
      now += MINUTE;
    }
    await patch(gateway, virtual_key_id, { is_active: false });
    const before = await usedAt();
    await knock(gateway, value);
    expect(await usedAt()).toBe(before);
  });

  it("is written once for a key and a minute, by all isolates together", async () => {
    const gateways = [start(), start()];
    const { value } = await create(start());
    await env.DB.batch([
      env.DB.prepare("CREATE TABLE written (at INTEGER)"),
      env.DB.prepare(
        `CREATE TRIGGER note AFTER UPDATE OF last_used_at ON virtual_keys
          BEGIN INSERT INTO written VALUES (NEW.last_used_at); END`,
      ),
    ]);
    const written = () => storedValue<number>("SELECT COUNT(*) FROM written");
    for (let round = 1; round <= 3; round++) {
      for (const gateway of gateways) for (let at = 0; at < 3; at++) await knock(gateway, value);
      expect(await written()).toBe(round);
      now += MINUTE;
    }
    // An isolate whose clock is behind does not turn it back.
    now = START;
    await knock(start(), value);
    expect(await written()).toBe(3);
  });

  it("is asked of the database once for a minute, behind the answer, and its failure harms nothing", async () => {
    const gateway = start();
    const { value } = await create(gateway);
    await knock(gateway, value);
    now += MINUTE;
    const prepare = vi.spyOn(env.DB, "prepare");
    const touches = () => prepare.mock.calls.filter(([query]) => query.includes('set "last_used_at"')).length;
    for (let at = 0; at < 5; at++) await knock(gateway, value);
    expect(touches()).toBe(1);
    prepare.mockRestore();
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    await env.DB.prepare(
      "CREATE TRIGGER broken BEFORE UPDATE OF last_used_at ON virtual_keys BEGIN SELECT RAISE(ABORT, 'no'); END",
    ).run();
    now += MINUTE;
    expect(await knock(gateway, value)).toBe(200);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining("key_use_not_noted"));
  });

  it("is written after the server has been called, never before", async () => {
    const order: string[] = [];
    const upstream = scriptedServer({
      ...{ era: "modern", tools: ['{"name":"search"}'] },
      call: (seen) => {
        order.push("call");
        return resultOf(seen, '{"content":[]}');
      },
    });
    const gateway = startGateway(upstream.network, {}, { clock });
    const { server_id } = await register(gateway, { enabled: true });
    const { value } = await create(gateway, { servers: [{ server_id, tools_to_execute: ["*"] }] });
    const prepare = env.DB.prepare.bind(env.DB);
    vi.spyOn(env.DB, "prepare").mockImplementation((query) => {
      if (query.includes('set "last_used_at"')) order.push("use");
      return prepare(query);
    });
    const headers = { "x-api-key": value, "Content-Type": "application/json" };
    const params = { name: "docs__search", arguments: {} };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
    expect((await gateway.fetch("/mcp", { method: "POST", headers, body })).status).toBe(200);
    expect(order).toEqual(["call", "use"]);
  });

  it("raises no generation and moves no modified", async () => {
    const gateway = start();
    const { value, virtual_key_id } = await create(gateway);
    const before = [await generationOf("default"), await generationOf()];
    const { modified, modified_by } = await read(gateway, virtual_key_id);
    now += MINUTE;
    await knock(gateway, value);
    expect(await usedAt()).not.toBeNull();
    expect([await generationOf("default"), await generationOf()]).toEqual(before);
    expect(await read(gateway, virtual_key_id)).toMatchObject({ modified, modified_by });
  });
});

describe("a revoked key", () => {
  const TTL = 5_000;
  const ACME = { "X-Org-Id": "acme" };

  it.each<[what: string, method: string, path: (key: string) => string, body?: unknown]>([
    ["that is switched off", "PATCH", (key) => key, { is_active: false }],
    ["that is given an end that is past", "PATCH", (key) => key, { expires_at: new Date(START).toISOString() }],
    ["that is rotated", "POST", (key) => `${key}/rotate`, {}],
    ["that is deleted", "DELETE", (key) => key],
    ["whose org is deleted", "DELETE", () => "/v1/orgs/acme"],
  ])("%s is refused at once where that was done, and elsewhere within SNAPSHOT_TTL_MS [T-22, PS-7]", async (...row) => {
    const [, method, pathOf, body] = row;
    const [here, there] = [start(), start()];
    await accepted(await here.admin("POST", "/v1/orgs", { org_id: "acme", name: "Acme" }), 201);
    const created = await here.admin("POST", PATH, { name: "agent" }, ACME);
    const { value, virtual_key_id } = await accepted<VirtualKeyView>(created, 201);
    for (const gateway of [here, there]) expect(await knock(gateway, value, "tools/list")).toBe(200);
    await accepted(await here.admin(method, pathOf(`${PATH}/${virtual_key_id}`), body, ACME));
    expect(await knock(here, value, "tools/list")).toBe(401);
    // Fresh memory is believed until its time is over: that is why a call needs no database.
    now += TTL / 2 - 1;
    expect(await knock(there, value, "tools/list")).toBe(200);
    now = START + TTL;
    expect(await knock(there, value, "tools/list")).toBe(401);
  });

  it("whose overlap or life ends is refused at that instant everywhere, although nobody writes [PS-7]", async () => {
    const [here, there] = [start(), start()];
    const { value, virtual_key_id } = await create(here);
    const { value: second } = await rotate(here, virtual_key_id, { overlap_seconds: 1 });
    await patch(here, virtual_key_id, { expires_at: new Date(START + 2_000).toISOString() });
    const seen = async () => [
      await knock(here, value),
      await knock(there, value),
      await knock(here, second),
      await knock(there, second),
    ];
    expect(await seen()).toEqual([200, 200, 200, 200]);
    now = START + 999;
    expect(await seen()).toEqual([200, 200, 200, 200]);
    now = START + 1_000;
    expect(await seen()).toEqual([401, 401, 200, 200]);
    now = START + 2_000;
    expect(await seen()).toEqual([401, 401, 401, 401]);
  });

  it("of a member who is taken out opens nothing for them any more, and goes on by itself [PS-7]", async () => {
    now = NOW;
    const signer = await newKey();
    const network = async ({ url }: Request) =>
      Response.json(url.endsWith("/jwks") ? { keys: [signer.jwk] } : metadataOf(ISSUER));
    const [here, there] = [1, 2].map(() =>
      startGateway(network, { OIDC_ISSUER: ISSUER, OIDC_AUDIENCE: AUDIENCE }, { clock }),
    );
    if (here === undefined || there === undefined) throw new Error("two gateways");
    await accepted(await here.admin("PUT", "/v1/orgs/default/members/ada", { role: "member" }));
    await register(here, { enabled: true, allow_on_all_virtual_keys: true, allowed_tools: { search: true } });
    await env.DB.prepare(
      `UPDATE server_tools SET known = 1, approved_definition = '{"name":"search"}', approved_hash = 'h'`,
    ).run();
    await env.DB.prepare("UPDATE generations SET value = value + 1").run();
    now += TTL;
    const { value } = await create(here);
    const token = { Authorization: `Bearer ${await sign(signer)}`, "Content-Type": "application/json" };
    const listed = async (gateway: TestGateway, headers: Record<string, string>) => {
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
      const response = await gateway.fetch("/mcp", { method: "POST", headers: { ...token, ...headers }, body });
      return (await response.text()).includes("docs__search");
    };
    const both = { "x-bf-vk": value };
    const alone = { Authorization: `Bearer ${value}` };
    for (const gateway of [here, there]) {
      for (const headers of [{}, both, alone]) expect(await listed(gateway, headers)).toBe(true);
    }
    await accepted(await here.admin("DELETE", "/v1/orgs/default/members/ada"));
    for (const headers of [{}, both]) expect(await listed(here, headers)).toBe(false);
    now += TTL;
    for (const headers of [{}, both]) expect(await listed(there, headers)).toBe(false);
    for (const gateway of [here, there]) expect(await listed(gateway, alone)).toBe(true);
  });

  it("loses an assignment the same way", async () => {
    const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}'] });
    const [here, there] = [1, 2].map(() => startGateway(upstream.network, {}, { clock }));
    if (here === undefined || there === undefined) throw new Error("two gateways");
    const { server_id } = await register(here, { enabled: true });
    const { value, virtual_key_id } = await create(here, { servers: [{ server_id, tools_to_execute: ["*"] }] });
    const lists = async (gateway: TestGateway) => {
      const headers = { "x-api-key": value, "Content-Type": "application/json" };
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
      return (await (await gateway.fetch("/mcp", { method: "POST", headers, body })).text()).includes("docs__search");
    };
    expect([await lists(here), await lists(there)]).toEqual([true, true]);
    await patch(here, virtual_key_id, { servers: [] });
    expect(await lists(here)).toBe(false);
    now = START + TTL;
    expect(await lists(there)).toBe(false);
  });
});
