/** Omitted, null and empty are three things: what each list and map of the two APIs takes each of them for. */
import { describe, expect, it } from "vitest";
import { accepted, createOrg } from "../support/api.ts";
import { bifrostOf, HTTP, tool } from "../support/bifrost.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const KEYS = "/api/governance/virtual-keys";
const SERVER = { name: "Docs", server_url: "https://docs.example/mcp" };
const REFUSED = Symbol("refused");

async function start() {
  const upstream = scriptedServer({ era: "modern", tools: [tool("search"), tool("erase")] });
  const gateway = startGateway(upstream.network);
  const bifrost = bifrostOf(gateway);
  await createOrg("acme");
  /** Sends a body, and reads what there is then; refused, where the gateway refuses it for this field. */
  const sent = async (method: string, path: string, body: Record<string, unknown>, read: () => Promise<unknown>) => {
    const response = await gateway.admin(method, path, body);
    const answer = await response.json<{ field?: string }>();
    if (response.status === 400 && Object.keys(body).includes(answer.field ?? "")) return REFUSED;
    expect({ status: response.status < 300, answer }).toMatchObject({ status: true });
    return read();
  };
  const native = async () =>
    (await accepted<{ rows: Record<string, unknown>[] }>(await gateway.admin("GET", "/v1/servers"))).rows.find(
      ({ display_name }) => display_name === "Docs",
    ) ?? {};
  const client = async () => (await bifrost.own())[0] ?? { config: {}, vk_configs: [] };
  return { gateway, sent, native, client };
}

type Started = Awaited<ReturnType<typeof start>>;

/** What a field of a request becomes: by omitting it, by null and by empty, in this order. */
interface Row {
  readonly field: string;
  readonly on: string;
  readonly empty: unknown;
  /** Makes what is changed, with a value that is neither; absent on create. */
  readonly before?: (world: Started) => Promise<unknown>;
  readonly send: (world: Started, fields: Record<string, unknown>) => Promise<unknown>;
  readonly becomes: readonly [omitted: unknown, nothing: unknown, empty: unknown];
}

const ALL_HEADERS = { "X-A": "a" };
const shownHeaders = { "X-A": "*" };

const created = ({ gateway }: Started, fields: Record<string, unknown>) =>
  gateway.admin("POST", "/v1/servers", { server_id: "docs", ...SERVER, ...fields });
const createdKey = async ({ gateway }: Started, fields: Record<string, unknown>) =>
  accepted<{ virtual_key: { id: string } }>(await gateway.admin("POST", KEYS, { name: "agent", ...fields }));
const assigned = [{ mcp_client_name: "Docs", tools_to_execute: ["*"] }];
const shownKey = async ({ gateway }: Started) => {
  const list = await gateway.admin("GET", KEYS);
  const { virtual_keys } = await accepted<{ virtual_keys: { mcp_configs: { tools_to_execute: string[] }[] }[] }>(list);
  return virtual_keys[0]?.mcp_configs.map(({ tools_to_execute }) => tools_to_execute);
};

const update = (field: string) => (world: Started, fields: Record<string, unknown>) =>
  world.sent("PUT", "/api/mcp/client/docs", fields, async () => {
    const { config, vk_configs } = await world.client();
    return field === "vk_configs" ? vk_configs.length : (config as Record<string, unknown>)[field];
  });
const nativeCreate = (field: string) => (world: Started, fields: Record<string, unknown>) =>
  world.sent(
    "POST",
    "/v1/servers",
    { ...SERVER, enabled: false, ...fields },
    async () => (await world.native())[field],
  );
const nativeChange = (field: string) => (world: Started, fields: Record<string, unknown>) =>
  world.sent("PATCH", "/v1/servers/docs", fields, async () => (await world.native())[field]);

const ROWS: readonly Row[] = [
  {
    ...{ field: "tools_to_execute", on: "create (BF-18)", empty: [] },
    send: (world, fields) =>
      world.sent("POST", "/api/mcp/client", { ...HTTP, ...fields }, async () => {
        const { config } = await world.client();
        return (config as Record<string, unknown>)["tools_to_execute"];
      }),
    becomes: [[], [], []],
  },
  {
    ...{ field: "tools_to_execute", on: "update (BF-18)", empty: [] },
    before: (world) => created(world, { allowed_tools: { search: true } }),
    send: update("tools_to_execute"),
    becomes: [["search"], ["search"], []],
  },
  {
    ...{ field: "headers", on: "update (BF-34)", empty: {} },
    before: (world) => created(world, { config: { headers: ALL_HEADERS } }),
    send: update("headers"),
    becomes: [shownHeaders, shownHeaders, {}],
  },
  {
    ...{ field: "vk_configs", on: "update (BF-33)", empty: [] },
    before: async (world) => {
      await created(world, {});
      await createdKey(world, { mcp_configs: assigned });
    },
    send: update("vk_configs"),
    becomes: [1, 1, 0],
  },
  {
    ...{ field: "mcp_configs", on: "create of a key (BF-50)", empty: [] },
    before: (world) => created(world, {}),
    send: async (world, fields) => {
      await createdKey(world, fields);
      return shownKey(world);
    },
    becomes: [[], [], []],
  },
  {
    ...{ field: "mcp_configs", on: "update of a key (BF-50)", empty: [] },
    before: (world) => created(world, {}),
    send: async (world, fields) => {
      const { virtual_key } = await createdKey(world, { mcp_configs: assigned });
      return world.sent("PUT", `${KEYS}/${virtual_key.id}`, fields, () => shownKey(world));
    },
    becomes: [[["*"]], [["*"]], []],
  },
  {
    ...{ field: "allowed_tools", on: "create (RB-12)", empty: {} },
    send: nativeCreate("tool_mode"),
    becomes: ["unset", "unset", "list"],
  },
  {
    ...{ field: "allowed_tools", on: "change (RB-12)", empty: {} },
    before: (world) => created(world, { allowed_tools: ["*"] }),
    send: nativeChange("tool_mode"),
    becomes: ["all", "unset", "list"],
  },
  {
    ...{ field: "org_ids", on: "create (RB-31)", empty: [] },
    send: nativeCreate("org_ids"),
    becomes: [[], REFUSED, []],
  },
  {
    ...{ field: "org_ids", on: "change (RB-31)", empty: [] },
    before: (world) => created(world, { org_ids: ["acme"] }),
    send: nativeChange("org_ids"),
    becomes: [["acme"], REFUSED, []],
  },
  { ...{ field: "config", on: "create (RG-12)", empty: {} }, send: nativeCreate("config"), becomes: [{}, {}, {}] },
  {
    ...{ field: "config", on: "change (RG-12)", empty: {} },
    before: (world) => created(world, { config: { headers: ALL_HEADERS } }),
    send: nativeChange("config"),
    becomes: [{ headers: ALL_HEADERS }, {}, {}],
  },
];

const GIVEN = ["omitted", "null", "empty"] as const;
const CASES = ROWS.flatMap((row) => GIVEN.map((given, at) => ({ ...row, given, expected: row.becomes[at] })));

describe("a list or map that may be left out", () => {
  it.each(CASES)("is what its rule says: $given $field on $on [T-29]", async ({ field, empty, given, ...row }) => {
    const world = await start();
    await row.before?.(world);
    const fields = { omitted: {}, null: { [field]: null }, empty: { [field]: empty } };
    expect(await row.send(world, fields[given])).toEqual(row.expected);
  });
});
