import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { d1VirtualKeyStore } from "../../src/access/virtual-keys.store.ts";
import type { VirtualKeyView } from "../../src/access/virtual-keys.wire.ts";
import { sha256Hex } from "../../src/platform/hash.ts";
import { accepted, createOrg, generationOf, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { startWithUsers } from "../support/users.ts";

const PATH = "/v1/virtual-keys";
const ACME = { "X-Org-Id": "acme" };

const create = async (gateway: TestGateway, body: Record<string, unknown> = {}, headers = {}) =>
  accepted<VirtualKeyView>(await gateway.admin("POST", PATH, { name: "agent", ...body }, headers), 201);
const read = async (gateway: TestGateway, id: string, headers = {}) =>
  accepted<VirtualKeyView>(await gateway.admin("GET", `${PATH}/${id}`, undefined, headers));
const patch = async (gateway: TestGateway, id: string, body: unknown, headers = {}) =>
  accepted<VirtualKeyView>(await gateway.admin("PATCH", `${PATH}/${id}`, body, headers));

const createGroup = async (gateway: TestGateway, group_id: string, org = "default") =>
  accepted(await gateway.admin("POST", `/v1/orgs/${org}/groups`, { group_id, name: group_id }), 201);

const NOT_FOUND = { status: 404, code: "not_found" };

describe("POST /v1/virtual-keys", () => {
  it("answers the whole record with its defaults and its value", async () => {
    const key = await create(startGateway(offline));
    expect(key).toEqual({
      virtual_key_id: expect.stringMatching(/^key_[0-9a-hjkmnp-tv-z]{26}$/),
      org_id: "default",
      name: "agent",
      description: "",
      value: expect.stringMatching(/^sk-pst-[A-Za-z0-9_-]{43}$/),
      previous_until: null,
      is_active: true,
      expires_at: null,
      last_used_at: null,
      group_id: null,
      servers: [],
      created: expect.stringMatching(/Z$/),
      created_by: "admin-key",
      modified: key.created,
      modified_by: "admin-key",
    });
  });

  it("answers the whole record with everything given", async () => {
    const gateway = startGateway(offline);
    const [a, b] = [await register(gateway, { name: "a" }), await register(gateway, { name: "b" })];
    const servers = [
      { server_id: b.server_id, tools_to_execute: ["search", "read/file"] },
      { server_id: a.server_id, tools_to_execute: [] },
    ];
    await createGroup(gateway, "desk");
    const given = {
      ...{ name: " Desk  agent ", description: "For the desk.", is_active: false, servers },
      ...{ expires_at: "2031-01-02T03:04:05Z", group_id: "desk" },
    };
    const key = await create(gateway, given);
    expect(key).toMatchObject({ name: "Desk  agent", description: "For the desk.", is_active: false });
    expect(key).toMatchObject({ expires_at: "2031-01-02T03:04:05.000Z", group_id: "desk" });
    expect(key.servers).toEqual(servers.toSorted((one, other) => (one.server_id < other.server_id ? -1 : 1)));
  });

  it("shows the value once, and stores only its hash and its end", async () => {
    const gateway = startGateway(offline);
    const { value, virtual_key_id } = await create(gateway);
    const masked = `sk-pst-****${value.slice(-4)}`;
    const listed = await accepted<{ rows: VirtualKeyView[] }>(await gateway.admin("GET", PATH));
    expect(listed.rows.map((row) => row.value)).toEqual([masked]);
    expect((await read(gateway, virtual_key_id)).value).toBe(masked);
    expect((await patch(gateway, virtual_key_id, { description: "x" })).value).toBe(masked);
    expect(await storedValue("SELECT value_hash FROM virtual_keys")).toBe(sha256Hex(value));
    expect(JSON.stringify(await stored())).not.toContain(value.slice("sk-pst-".length, -4));
  });

  it("makes another value for every key", async () => {
    const gateway = startGateway(offline);
    const values = new Set<string>();
    for (let i = 0; i < 10; i++) values.add((await create(gateway, { name: `agent ${i}` })).value);
    expect(values.size).toBe(10);
  });

  const missing = { server_id: "srv_missing", tools_to_execute: ["*"] };
  const rule = (...tools_to_execute: unknown[]) => [{ server_id: "held", tools_to_execute }];

  it("refuses what breaks a rule by its field, at first and later, and stores nothing [RG-17]", async () => {
    const table: [fields: Record<string, unknown>, field: string][] = [
      [{ name: "" }, "name"],
      [{ name: " " }, "name"],
      [{ name: "a\nb" }, "name"],
      [{ name: "a".repeat(129) }, "name"],
      [{ name: 1 }, "name"],
      [{ description: null }, "description"],
      [{ description: "a".repeat(1_001) }, "description"],
      [{ is_active: "true" }, "is_active"],
      [{ is_active: null }, "is_active"],
      [{ expires_at: "tomorrow" }, "expires_at"],
      [{ expires_at: "2031-02-30T00:00:00Z" }, "expires_at"],
      [{ expires_at: "2031-01-02T03:04:05+01:00" }, "expires_at"],
      [{ expires_at: "2031-01-02" }, "expires_at"],
      [{ expires_at: 1_900_000_000_000 }, "expires_at"],
      [{ expires_at: "" }, "expires_at"],
      [{ group_id: "none" }, "group_id"],
      [{ group_id: "theirs" }, "group_id"],
      [{ group_id: "" }, "group_id"],
      [{ group_id: 1 }, "group_id"],
      [{ servers: null }, "servers"],
      [{ servers: {} }, "servers"],
      [{ servers: [missing] }, "servers"],
      [{ servers: [...rule("*"), missing] }, "servers"],
      [{ servers: [...rule("*"), ...rule("a")] }, "servers"],
      [{ servers: [{ server_id: "held" }] }, "servers.0.tools_to_execute"],
      [{ servers: [{ tools_to_execute: [] }] }, "servers.0.server_id"],
      [{ servers: rule("*", "a") }, "servers.0.tools_to_execute"],
      [{ servers: rule("a", "a") }, "servers.0.tools_to_execute"],
      [{ servers: rule("a", "A") }, "servers.0.tools_to_execute"],
      [{ servers: rule("") }, "servers.0.tools_to_execute"],
      [{ servers: rule(" ") }, "servers.0.tools_to_execute"],
      [{ servers: rule(1) }, "servers.0.tools_to_execute.0"],
      [{ servers: rule("a".repeat(257)) }, "servers.0.tools_to_execute.0"],
    ];
    const gateway = startGateway(offline);
    await register(gateway, { server_id: "held" });
    await createOrg("acme");
    await createGroup(gateway, "theirs", "acme");
    const { virtual_key_id } = await create(gateway, { name: "held", servers: rule("*") });
    const before = await stored();
    for (const [fields, field] of table) {
      const expected = { fields, status: 400, code: "invalid_request", field };
      const created = await gateway.admin("POST", PATH, { name: "agent", ...fields });
      expect({ fields, ...(await refusal(created)) }).toEqual(expected);
      const changed = await gateway.admin("PATCH", `${PATH}/${virtual_key_id}`, { description: "changed", ...fields });
      expect({ fields, ...(await refusal(changed)) }).toEqual(expected);
    }
    const nameless = await gateway.admin("POST", PATH, {});
    expect(await refusal(nameless)).toEqual({ status: 400, code: "invalid_request", field: "name" });
    expect(await stored()).toEqual(before);
  });

  it.each(["agent", "AGENT", " Agent "])("refuses the name of another key of the org: %o", async (name) => {
    const gateway = startGateway(offline);
    await create(gateway);
    const before = await stored();
    const response = await gateway.admin("POST", PATH, { name });
    expect(await refusal(response)).toEqual({ status: 409, code: "conflict", field: "name" });
    expect(await stored()).toEqual(before);
  });

  it("gives one name to one of those who ask for it at once", async () => {
    const gateway = startGateway(offline);
    const before = await generationOf("default");
    const names = ["agent", "Agent", "AGENT"];
    const answers = await Promise.all(names.map((name) => gateway.admin("POST", PATH, { name })));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409]);
    expect(await generationOf("default")).toBe(before + 1);
  });
});

describe("PATCH /v1/virtual-keys/:virtual_key_id", () => {
  it.each([
    [{}, {}],
    [{ name: " Other " }, { name: "Other" }],
    [{ name: "AGENT" }, { name: "AGENT" }],
    [{ description: "" }, { description: "" }],
    [{ is_active: false }, { is_active: false }],
    [{ expires_at: "2033-01-01T00:00:00.5Z" }, { expires_at: "2033-01-01T00:00:00.500Z" }],
    [{ expires_at: "2001-01-01T00:00:00Z" }, { expires_at: "2001-01-01T00:00:00.000Z" }],
    [{ expires_at: null }, { expires_at: null }],
    [{ group_id: "night" }, { group_id: "night" }],
    [{ group_id: null }, { group_id: null }],
    [{ servers: [] }, { servers: [] }],
    [{ servers: [{ server_id: "b", tools_to_execute: [] }] }, { servers: [{ server_id: "b", tools_to_execute: [] }] }],
  ])("changes by %o what it names and nothing else", async (body, changed) => {
    const gateway = startGateway(offline);
    for (const server_id of ["a", "b"]) await register(gateway, { server_id, name: server_id });
    const servers = [
      { server_id: "a", tools_to_execute: ["*"] },
      { server_id: "b", tools_to_execute: ["search"] },
    ];
    for (const group_id of ["day", "night"]) await createGroup(gateway, group_id);
    const more = { expires_at: "2031-01-02T03:04:05Z", group_id: "day" };
    const { virtual_key_id } = await create(gateway, { description: "Old.", servers, ...more });
    const before = await read(gateway, virtual_key_id);
    const after = await patch(gateway, virtual_key_id, body);
    expect(after).toEqual({ ...before, ...changed, modified: after.modified });
    expect(await read(gateway, virtual_key_id)).toEqual(after);
  });

  it("refuses the name of another key, and changes nothing", async () => {
    const gateway = startGateway(offline);
    await create(gateway, { name: "other" });
    const { virtual_key_id } = await create(gateway);
    const before = await stored();
    const body = { name: "OTHER", is_active: false, servers: [] };
    const response = await gateway.admin("PATCH", `${PATH}/${virtual_key_id}`, body);
    expect(await refusal(response)).toEqual({ status: 409, code: "conflict", field: "name" });
    expect(await stored()).toEqual(before);
  });
});

describe("the servers of a key", () => {
  const assign = (server_id: string) => ({ servers: [{ server_id, tools_to_execute: ["*"] }] });

  it("are those that its org sees; of others nobody can tell whether they exist", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    await register(gateway, { server_id: "all", name: "all" });
    await register(gateway, { server_id: "theirs", name: "theirs", org_ids: ["acme"] });
    const { virtual_key_id } = await create(gateway, assign("all"));
    const before = await stored();
    const answers = async (server_id: string) => {
      const bodies = [
        await gateway.admin("POST", PATH, { name: "other", ...assign(server_id) }),
        await gateway.admin("PATCH", `${PATH}/${virtual_key_id}`, { name: "changed", ...assign(server_id) }),
      ].map((response) => response.json<Record<string, unknown>>());
      return (await Promise.all(bodies)).map(({ request_id: _, ...body }) => body);
    };
    const refusedBoth = await answers("theirs");
    expect(refusedBoth).toMatchObject(Array(2).fill({ status: 400, code: "invalid_request", field: "servers" }));
    expect(await answers("missing")).toEqual(refusedBoth);
    expect(await stored()).toEqual(before);
    expect((await create(gateway, assign("theirs"), ACME)).servers).toHaveLength(1);
    await accepted(await gateway.admin("PUT", "/v1/servers/theirs/org-ids", { org_ids: [] }));
    expect((await patch(gateway, virtual_key_id, assign("theirs"))).servers).toMatchObject([{ server_id: "theirs" }]);
  });

  it("are bound to the org in the store, whatever a caller gives it", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    await register(gateway, { server_id: "all", name: "all" });
    await register(gateway, { server_id: "theirs", name: "theirs", org_ids: ["acme"] });
    const { virtual_key_id } = await create(gateway, assign("all"));
    const keys = d1VirtualKeyStore(env.DB);
    const change = { modified: 1, modified_by: "eve" };
    const before = await stored();
    expect(await keys.get("acme", virtual_key_id)).toBeNull();
    expect(await keys.assignments("acme", [virtual_key_id])).toEqual(new Map());
    expect(await keys.list("acme", { page: 0, page_size: 9 })).toEqual({ rows: [], total: 0 });
    expect(await keys.find("acme", null, { limit: null, offset: 0 })).toEqual({ rows: [], total: 0 });
    expect((await keys.visibleServers("default")).map(({ server_id }) => server_id)).toEqual(["all", "gateway"]);
    expect(await keys.update("acme", virtual_key_id, { name: "x", ...change }, [])).toBe(false);
    // Not even that a server is hidden from them is told of a key that is not theirs.
    const hidden = [{ server_id: "missing", tools_to_execute: [] }];
    expect(await keys.update("acme", virtual_key_id, change, hidden)).toBe(false);
    expect(await keys.rotate("acme", virtual_key_id, { value_hash: "h", last4: "last", ...change }, null)).toBe(false);
    await keys.touch("acme", virtual_key_id, 1);
    expect(await keys.remove("acme", virtual_key_id)).toBe(false);
    expect(await stored()).toEqual(before);
  });
});

describe("an org admin", () => {
  it("has the keys of their org, for the servers that it sees, and no others", async () => {
    const gateway = await startWithUsers();
    await createOrg("acme");
    for (const [user, role] of [
      ["ann", "org_admin"],
      ["bob", "member"],
    ]) {
      await accepted(await gateway.admin("PUT", `/v1/orgs/acme/members/${user}`, { role }));
    }
    await register(gateway, { server_id: "hidden", name: "hidden", org_ids: ["default"] });
    await register(gateway, { server_id: "theirs", name: "theirs", org_ids: ["acme"] });
    const ours = await create(gateway, { name: "ours" });
    const assign = (server_id: string) => ({ servers: [{ server_id, tools_to_execute: ["*"] }] });
    const as = (user: string, method: string, path: string, body?: unknown, headers = {}) =>
      gateway.as(user, method, `${PATH}${path}`, body, headers);
    const key = await accepted<VirtualKeyView>(await as("ann", "POST", "", { name: "desk", ...assign("theirs") }), 201);
    expect(key).toMatchObject({ org_id: "acme", created_by: "ann" });
    const at = `/${key.virtual_key_id}`;
    await accepted(await as("ann", "PATCH", at, { is_active: true }));
    expect(await accepted(await as("ann", "POST", `${at}/rotate`, {}))).toMatchObject({ modified_by: "ann" });
    const before = await stored();
    for (const server_id of ["hidden", "missing"]) {
      const refused = { status: 400, code: "invalid_request", field: "servers" };
      expect(await refusal(await as("ann", "POST", "", { name: "x", ...assign(server_id) }))).toEqual(refused);
      expect(await refusal(await as("ann", "PATCH", at, assign(server_id)))).toEqual(refused);
    }
    const listed = await accepted<{ rows: VirtualKeyView[] }>(await as("ann", "GET", ""));
    expect(listed.rows.map(({ name }) => name)).toEqual(["desk"]);
    const theirOwn = `/${ours.virtual_key_id}`;
    for (const [method, path, body] of [
      ["GET", theirOwn],
      ["PATCH", theirOwn, {}],
      ["DELETE", theirOwn],
      ["POST", `${theirOwn}/rotate`, {}],
    ] as const) {
      expect(await refusal(await as("ann", method, path, body))).toEqual(NOT_FOUND);
      const headers = { "X-Org-Id": "default" };
      expect(await refusal(await as("ann", method, path, body, headers))).toMatchObject({ status: 403 });
      expect(await refusal(await as("bob", method, path, body))).toEqual({ status: 403, code: "forbidden" });
    }
    const governance = await gateway.as("ann", "GET", "/api/governance/virtual-keys");
    expect(await refusal(governance)).toEqual({ status: 403, code: "forbidden" });
    expect(await stored()).toEqual(before);
    expect(await accepted(await as("ann", "DELETE", at))).toEqual({ deleted: true });
  });
});

describe("the group of a key", () => {
  it("goes with the group, and does not come back with another of its id", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    for (const org of ["default", "acme"]) await createGroup(gateway, "desk", org);
    const ours = await create(gateway, { group_id: "desk" });
    const theirs = await create(gateway, { group_id: "desk" }, ACME);
    await accepted(await gateway.admin("DELETE", "/v1/orgs/default/groups/desk"));
    await createGroup(gateway, "desk");
    expect((await read(gateway, ours.virtual_key_id)).group_id).toBeNull();
    expect((await read(gateway, theirs.virtual_key_id, ACME)).group_id).toBe("desk");
  });
});

describe("GET /v1/virtual-keys", () => {
  it("lists the keys of the org by name, in pages", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    for (const name of ["b", "A", "c"]) await create(gateway, { name });
    await create(gateway, { name: "hidden" }, ACME);
    const page = await accepted<{ rows: VirtualKeyView[] }>(await gateway.admin("GET", `${PATH}?page_size=2`));
    expect({ ...page, rows: page.rows.map(({ name }) => name) }).toEqual({
      rows: ["A", "b"],
      total_rows: 3,
      page: 0,
      page_size: 2,
      filters: {},
      sort: { by: "name", direction: "asc" },
    });
    const last = await accepted<{ rows: VirtualKeyView[] }>(await gateway.admin("GET", `${PATH}?page_size=2&page=1`));
    expect(last.rows.map(({ name }) => name)).toEqual(["c"]);
  });
});

describe("DELETE /v1/virtual-keys/:virtual_key_id", () => {
  it("deletes a key once, with its assignments", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    const { virtual_key_id } = await create(gateway, { servers: [{ server_id, tools_to_execute: ["*"] }] });
    const path = `${PATH}/${virtual_key_id}`;
    expect(await accepted(await gateway.admin("DELETE", path))).toEqual({ deleted: true });
    expect(await stored()).toMatchObject({ virtual_keys: [], virtual_key_servers: [] });
    for (const method of ["DELETE", "GET"]) expect(await refusal(await gateway.admin(method, path))).toEqual(NOT_FOUND);
    const changed = await gateway.admin("PATCH", path, { name: "again" });
    expect(await refusal(changed)).toEqual(NOT_FOUND);
    expect(await refusal(await gateway.admin("POST", `${path}/rotate`, {}))).toEqual(NOT_FOUND);
  });
});

describe("a key of another org", () => {
  it("is not found, not changed, not deleted, and does not occupy a name", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    await register(gateway, { server_id: "held" });
    const servers = [{ server_id: "held", tools_to_execute: ["*"] }];
    const theirs = await create(gateway, { servers }, ACME);
    expect(theirs.org_id).toBe("acme");
    const path = `${PATH}/${theirs.virtual_key_id}`;
    const before = await stored();
    for (const [method, body] of [
      ["GET"],
      ["PATCH", { name: "stolen" }],
      ["PATCH", { servers: [] }],
      ["PATCH", { servers: [{ server_id: "missing", tools_to_execute: [] }] }],
      ["DELETE"],
    ] as const) {
      expect(await refusal(await gateway.admin(method, path, body))).toEqual(NOT_FOUND);
    }
    expect(await refusal(await gateway.admin("POST", `${path}/rotate`, {}))).toEqual(NOT_FOUND);
    expect(await stored()).toEqual(before);
    expect((await create(gateway)).name).toBe(theirs.name);
    expect(await read(gateway, theirs.virtual_key_id, ACME)).toMatchObject({ name: "agent", servers });
    expect((await patch(gateway, theirs.virtual_key_id, { name: "Other" }, ACME)).name).toBe("Other");
    expect(await accepted(await gateway.admin("DELETE", path, undefined, ACME))).toEqual({ deleted: true });
  });
});

describe("the generation of the org", () => {
  it("is raised by one with each write of its keys, by no other org's, and by none that is refused", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    const generations = async () => [await generationOf("default"), await generationOf("acme"), await generationOf()];
    const [mine = 0, theirs = 0, registry = 0] = await generations();
    const { virtual_key_id } = await create(gateway);
    expect(await generations()).toEqual([mine + 1, theirs, registry]);
    await patch(gateway, virtual_key_id, {});
    await patch(gateway, virtual_key_id, { servers: [] });
    expect(await generations()).toEqual([mine + 3, theirs, registry]);
    await create(gateway, {}, ACME);
    expect(await generations()).toEqual([mine + 3, theirs + 1, registry]);
    const missing = { servers: [{ server_id: "none", tools_to_execute: [] }] };
    await gateway.admin("POST", PATH, { name: "AGENT" });
    await gateway.admin("POST", PATH, { name: "b", ...missing });
    await gateway.admin("PATCH", `${PATH}/${virtual_key_id}`, missing);
    await gateway.admin("PATCH", `${PATH}/none`, { name: "c", servers: [] });
    await gateway.admin("PATCH", `${PATH}/${virtual_key_id}`, { name: "d" }, ACME);
    await gateway.admin("DELETE", `${PATH}/none`);
    await gateway.admin("DELETE", `${PATH}/${virtual_key_id}`, undefined, ACME);
    await gateway.admin("POST", `${PATH}/${virtual_key_id}/rotate`, {}, ACME);
    await gateway.admin("POST", `${PATH}/${virtual_key_id}/rotate`, { overlap_seconds: -1 });
    await gateway.admin("PATCH", `${PATH}/${virtual_key_id}`, { group_id: "none" });
    expect(await generations()).toEqual([mine + 3, theirs + 1, registry]);
    await accepted(await gateway.admin("POST", `${PATH}/${virtual_key_id}/rotate`, {}));
    expect(await generations()).toEqual([mine + 4, theirs + 1, registry]);
    await accepted(await gateway.admin("DELETE", `${PATH}/${virtual_key_id}`));
    expect(await generations()).toEqual([mine + 5, theirs + 1, registry]);
  });
});
