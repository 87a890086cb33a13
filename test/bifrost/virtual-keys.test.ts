import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import type { VirtualKeyView } from "../../src/access/virtual-keys.wire.ts";
import { accepted, createOrg, generationOf, offline, register, stored } from "../support/api.ts";
import { bifrostOf, expectBifrost, refused } from "../support/bifrost.ts";
import { ADMIN, startGateway, type TestGateway } from "../support/gateway.ts";

const PATH = "/api/governance/virtual-keys";

interface Key {
  readonly id: string;
  readonly name: string;
  readonly value: string;
  readonly mcp_configs: readonly { id: number; mcp_client_name: string; tools_to_execute: string[] }[];
}

/** A gateway with the servers `docs` ("Docs") and `mail-in` ("Mail"), and requests of an admin to this surface. */
async function start(org = "default") {
  const gateway = startGateway(offline);
  await register(gateway, { server_id: "srv_docs", name: "docs", display_name: "Docs" });
  await register(gateway, { server_id: "srv_mail", name: "mail-in", display_name: "Mail" });
  return { gateway, ...keysOf(gateway, org) };
}

function keysOf(gateway: TestGateway, org = "default") {
  const send = async (method: string, path: string, body?: unknown): Promise<Response> => {
    const response = await gateway.admin(method, path, body, { "X-Org-Id": org });
    await expectBifrost(method, path, response);
    return response;
  };
  const written = async (response: Response) =>
    (await accepted<{ message: string; virtual_key: Key }>(response)).virtual_key;
  return {
    send,
    create: async (body: Record<string, unknown> = {}) => written(await send("POST", PATH, { name: "agent", ...body })),
    update: async (id: string, body: unknown) => written(await send("PUT", `${PATH}/${id}`, body)),
    read: async (id: string) => (await accepted<{ virtual_key: Key }>(await send("GET", `${PATH}/${id}`))).virtual_key,
    list: async (query = "") => {
      const { virtual_keys, ...counts } = await accepted<{ virtual_keys: Key[] }>(await send("GET", PATH + query));
      return { names: virtual_keys.map(({ name }) => name), ...counts };
    },
  };
}

const assign = (mcp_client_name: string, ...tools_to_execute: string[]) => ({ mcp_client_name, tools_to_execute });
/** What a key shows of its assignments, without their ids. */
const configsOf = ({ mcp_configs }: Key) => mcp_configs.map(({ id: _, ...config }) => config);

const NOT_FOUND = { status: 404, code: "not_found", message: "Virtual key not found" };

beforeEach(() => createOrg("acme"));

describe("POST /api/governance/virtual-keys", () => {
  it("answers the message and the key, its value whole this once [BF-50]", async () => {
    const { send, read, list } = await start();
    const response = await send("POST", PATH, { name: " Desk " });
    const body = await accepted<{ message: string; virtual_key: Key }>(response);
    expect(body).toEqual({
      message: "Virtual key created successfully",
      virtual_key: {
        id: expect.stringMatching(/^key_/),
        name: "Desk",
        description: "",
        value: expect.stringMatching(/^sk-pst-[A-Za-z0-9_-]{43}$/),
        is_active: true,
        provider_configs: [],
        mcp_configs: [],
      },
    });
    const { id, value } = body.virtual_key;
    const masked = { ...body.virtual_key, value: `sk-pst-****${value.slice(-4)}` };
    expect(await read(id)).toEqual(masked);
    expect(await accepted(await send("GET", PATH))).toMatchObject({ virtual_keys: [masked] });
    expect(await accepted(await send("PUT", `${PATH}/${id}`, {}))).toMatchObject({ virtual_key: masked });
    expect(await list()).toEqual({ names: ["Desk"], count: 1, total_count: 1, limit: 1, offset: 0 });
  });

  it("takes everything it knows, and drops what it does not [BF-50]", async () => {
    const { create } = await start();
    const key = await create({
      ...{
        description: "For the desk.",
        is_active: false,
        provider_configs: [{ provider: "x" }],
        value: "sk-pst-mine",
      },
      ...{ team_id: null, customer_id: null, budget: null, rate_limit: null, unknown: 1 },
      mcp_configs: [{ id: 99, ...assign("Docs", "search"), unknown: 1 }, assign("MAIL-IN")],
    });
    expect(key).toMatchObject({ description: "For the desk.", is_active: false, provider_configs: [] });
    expect(key.value).not.toBe("sk-pst-mine");
    expect(configsOf(key)).toEqual([assign("Docs", "search"), assign("Mail")]);
    expect(new Set(key.mcp_configs.map(({ id }) => id)).size).toBe(2);
  });

  it.each([[{}], [{ name: null }], [{ name: "" }], [{ name: "  " }]])("asks for a name: %o [BF-50]", async (body) => {
    const { send } = await start();
    const before = await stored();
    expect(await refused(await send("POST", PATH, body))).toEqual({
      ...{ status: 400, code: "invalid_request", field: "name", message: "Virtual key name is required" },
    });
    expect(await stored()).toEqual(before);
  });

  it("refuses the name of another key of the org, ignoring case, and of no other org's [BF-50]", async () => {
    const { gateway, send, create } = await start();
    const { id } = await create();
    const other = await create({ name: "other" });
    const before = await stored();
    const answer = { status: 409, code: "conflict", field: "name" };
    expect(await refused(await send("POST", PATH, { name: "AGENT" }))).toMatchObject(answer);
    expect(await refused(await send("PUT", `${PATH}/${other.id}`, { name: "Agent" }))).toMatchObject(answer);
    expect(await stored()).toEqual(before);
    expect((await keysOf(gateway, "acme").create()).id).not.toBe(id);
  });

  it("refuses what breaks a rule by its field, at first and later, and stores nothing", async () => {
    const { gateway, send, create } = await start();
    await register(gateway, { name: "twin", display_name: "mail-in" });
    await register(gateway, { name: "hidden", display_name: "Hidden", org_ids: ["acme"] });
    const { id } = await create({ name: "held", mcp_configs: [assign("Docs", "*")] });
    const before = await stored();
    const table: [fields: Record<string, unknown>, field: string, message?: string][] = [
      [{ team_id: "t" }, "team_id", "team_id is not supported"],
      [{ customer_id: "" }, "customer_id", "customer_id is not supported"],
      [{ budget: {} }, "budget", "budget is not supported"],
      [{ rate_limit: 0 }, "rate_limit", "rate_limit is not supported"],
      [{ name: "a\nb" }, "name"],
      [{ name: 5 }, "name"],
      [{ description: "a".repeat(1_001) }, "description"],
      [{ is_active: "true" }, "is_active"],
      [{ mcp_configs: {} }, "mcp_configs"],
      [{ mcp_configs: [{ mcp_client_name: "Docs" }] }, "mcp_configs.0.tools_to_execute"],
      [{ mcp_configs: [{ tools_to_execute: [] }] }, "mcp_configs.0.mcp_client_name"],
      [{ mcp_configs: [assign("Docs", "*", "a")] }, "mcp_configs.0.tools_to_execute"],
      [{ mcp_configs: [assign("Docs"), assign("")] }, "mcp_configs.1.mcp_client_name"],
      [{ mcp_configs: [assign("Docs"), assign("none")] }, "mcp_configs.1.mcp_client_name"],
      [{ mcp_configs: [assign("Hidden")] }, "mcp_configs.0.mcp_client_name"],
      [{ mcp_configs: [assign("mail-in")] }, "mcp_configs.0.mcp_client_name"],
      [{ mcp_configs: [assign("Docs"), assign("docs")] }, "mcp_configs"],
    ];
    for (const [fields, field, message] of table) {
      const expected = { fields, status: 400, code: "invalid_request", field, ...(message && { message }) };
      const created = await refused(await send("POST", PATH, { name: "agent", ...fields }));
      expect({ fields, ...created }).toMatchObject(expected);
      const changed = await refused(await send("PUT", `${PATH}/${id}`, { description: "changed", ...fields }));
      expect({ fields, ...changed }).toMatchObject(expected);
    }
    expect(await stored()).toEqual(before);
  });
});

describe("PUT /api/governance/virtual-keys/:vk_id", () => {
  it("changes what it names and nothing else [BF-50]", async () => {
    const { send, create, read } = await start();
    const { id } = await create({ description: "Old.", mcp_configs: [assign("Docs", "*")] });
    const before = await read(id);
    const changes: [body: Record<string, unknown>, changed: Record<string, unknown>][] = [
      [{}, {}],
      [{ name: null, description: null, is_active: null, mcp_configs: null }, {}],
      [{ name: "Other" }, { name: "Other" }],
      [{ description: "" }, { description: "" }],
      [{ is_active: false }, { is_active: false }],
    ];
    let expected: Key = before;
    for (const [body, changed] of changes) {
      expected = { ...expected, ...changed };
      expect(await accepted(await send("PUT", `${PATH}/${id}`, body))).toEqual({
        message: "Virtual key updated successfully",
        virtual_key: expected,
      });
    }
    expect(await read(id)).toEqual(expected);
  });

  it("replaces all assignments by mcp_configs, keeps them without, and clears them with none [BF-50]", async () => {
    const { create, update, read } = await start();
    const { id } = await create({ mcp_configs: [assign("Docs", "*"), assign("Mail", "send")] });
    const shown = async (body: Record<string, unknown>) => configsOf(await update(id, body));
    expect(await shown({})).toEqual([assign("Docs", "*"), assign("Mail", "send")]);
    expect(await shown({ mcp_configs: null })).toEqual([assign("Docs", "*"), assign("Mail", "send")]);
    expect(await shown({ mcp_configs: [assign("mail")] })).toEqual([assign("Mail")]);
    // What was shown can be sent back.
    expect(await shown({ mcp_configs: (await read(id)).mcp_configs })).toEqual([assign("Mail")]);
    expect(await shown({ mcp_configs: [] })).toEqual([]);
  });
});

describe("DELETE /api/governance/virtual-keys/:vk_id", () => {
  it("deletes a key once [BF-50]", async () => {
    const { send, create, list } = await start();
    const { id } = await create({ mcp_configs: [assign("Docs", "*")] });
    const path = `${PATH}/${id}`;
    expect(await accepted(await send("DELETE", path))).toEqual({ message: "Virtual key deleted successfully" });
    expect(await stored()).toMatchObject({ virtual_keys: [], virtual_key_servers: [] });
    expect(await refused(await send("DELETE", path))).toEqual(NOT_FOUND);
    expect(await refused(await send("GET", path))).toEqual(NOT_FOUND);
    // That there is none is said before what else is wrong.
    const body = { mcp_configs: [assign("none")], team_id: "t" };
    expect(await refused(await send("PUT", path, body))).toEqual(NOT_FOUND);
    expect(await list()).toMatchObject({ names: [], limit: 0 });
  });
});

describe("GET /api/governance/virtual-keys", () => {
  it("is the envelope in order of creation, whole or in pages, searched by a part of the name [BF-50]", async () => {
    const { create, list, gateway } = await start();
    for (const name of ["c", "École", "a", "Desk", "b"]) await create({ name });
    await keysOf(gateway, "acme").create({ name: "theirs" });
    await env.DB.prepare("UPDATE virtual_keys SET created = CASE name WHEN 'b' THEN 1 ELSE 2 END").run();
    const all = ["b", "c", "École", "a", "Desk"];
    const counts = { total_count: 5, offset: 0 };
    expect(await list()).toEqual({ names: all, count: 5, limit: 5, ...counts });
    expect(await list("?limit=0")).toEqual({ names: all, count: 5, limit: 25, ...counts });
    expect(await list("?limit=101")).toMatchObject({ limit: 100 });
    expect(await list("?limit=2&offset=1")).toEqual({
      names: ["c", "École"],
      count: 2,
      limit: 2,
      total_count: 5,
      offset: 1,
    });
    expect(await list("?offset=9")).toEqual({ names: [], count: 0, limit: 25, total_count: 5, offset: 9 });
    expect(await list("?search=%C3%A9C")).toMatchObject({ names: ["École"], total_count: 1 });
    expect(await list("?search=e&limit=1&offset=1")).toMatchObject({ names: ["Desk"], total_count: 2 });
    expect(await list("?search=%25")).toMatchObject({ names: [], total_count: 0 });
    expect(await list("?search=")).toMatchObject({ names: all, limit: 25 });
  });

  it.each(["limit", "offset"])("refuses a %s that is no number, or a negative one [BF-50]", async (field) => {
    const { send } = await start();
    const answer = { status: 400, code: "invalid_request", field };
    for (const [text, rule] of [
      ["a", "a number"],
      ["1.5", "a number"],
      ["-1", "non-negative"],
    ]) {
      expect(await refused(await send("GET", `${PATH}?${field}=${text}`))).toEqual({
        ...answer,
        message: `Invalid ${field} parameter: must be ${rule}`,
      });
    }
  });
});

describe("a key of another org", () => {
  it("is not found, not changed and not deleted", async () => {
    const { gateway, send, list } = await start();
    const theirs = await keysOf(gateway, "acme").create({ mcp_configs: [assign("Docs", "*")] });
    const before = await stored();
    for (const [method, body] of [["GET"], ["PUT", { name: "stolen", mcp_configs: [] }], ["DELETE"]] as const) {
      expect(await refused(await send(method, `${PATH}/${theirs.id}`, body))).toEqual(NOT_FOUND);
    }
    expect(await list()).toMatchObject({ names: [] });
    expect(await stored()).toEqual(before);
    expect(await keysOf(gateway, "acme").list()).toMatchObject({ names: ["agent"] });
    const response = await gateway.fetch(PATH, { headers: { ...ADMIN, "X-Org-Id": "nowhere" } });
    expect(await refused(response)).toMatchObject({ status: 404, field: "X-Org-Id" });
  });
});

describe("assignments", () => {
  it("are the same rows here, in vk_configs and natively [BF-50]", async () => {
    const { gateway, create, update, read } = await start();
    const bifrost = bifrostOf(gateway);
    const { id } = await create({ mcp_configs: [assign("Docs", "a")] });
    const everywhere = async () => {
      const native = await accepted<VirtualKeyView>(await gateway.admin("GET", `/v1/virtual-keys/${id}`));
      const { vk_configs } = await bifrost.client("srv_docs");
      return [
        configsOf(await read(id)).find(({ mcp_client_name }) => mcp_client_name === "Docs")?.tools_to_execute,
        native.servers.find(({ server_id }) => server_id === "srv_docs")?.tools_to_execute,
        vk_configs.find(({ virtual_key_id }) => virtual_key_id === id)?.["tools_to_execute"],
      ];
    };
    const same = (tools?: string[]) => [tools, tools, tools];
    expect(await everywhere()).toEqual(same(["a"]));
    await update(id, { mcp_configs: [assign("Docs", "b"), assign("Mail", "*")] });
    expect(await everywhere()).toEqual(same(["b"]));
    await bifrost.update("srv_docs", { vk_configs: [{ virtual_key_id: id, tools_to_execute: [] }] });
    expect(await everywhere()).toEqual(same([]));
    expect(configsOf(await read(id))).toEqual([assign("Docs"), assign("Mail", "*")]);
    const servers = [{ server_id: "srv_docs", tools_to_execute: ["*"] }];
    await accepted(await gateway.admin("PATCH", `/v1/virtual-keys/${id}`, { servers }));
    expect(await everywhere()).toEqual(same(["*"]));
    await update(id, { mcp_configs: [] });
    expect(await everywhere()).toEqual(same(undefined));
  });

  it("raise the generation of the key's org with each write, and with none that is refused", async () => {
    const { send, create, update } = await start();
    const generations = async () => [await generationOf("default"), await generationOf("acme"), await generationOf()];
    const [mine = 0, theirs = 0, registry = 0] = await generations();
    const { id } = await create();
    await update(id, {});
    await send("POST", PATH, { name: "agent" });
    await send("PUT", `${PATH}/${id}`, { mcp_configs: [assign("none")] });
    await send("DELETE", `${PATH}/none`);
    expect(await generations()).toEqual([mine + 2, theirs, registry]);
    await send("DELETE", `${PATH}/${id}`);
    expect(await generations()).toEqual([mine + 3, theirs, registry]);
  });

  it("keep what only the native API has when they are changed here", async () => {
    const { gateway, create, update } = await start();
    const { id } = await create();
    const native = async (body?: unknown) =>
      accepted<VirtualKeyView>(
        await gateway.admin(body === undefined ? "GET" : "PATCH", `/v1/virtual-keys/${id}`, body),
      );
    await native({ expires_at: "2041-01-01T00:00:00Z" });
    await update(id, { name: "Other", mcp_configs: [] });
    expect(await native()).toMatchObject({ name: "Other", expires_at: "2041-01-01T00:00:00.000Z" });
  });
});
