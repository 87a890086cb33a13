/** Writes that D1 refuses, in part or whole, and writes that meet others (RG-17, T-28). */
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { accepted, offline, refusal, register, stored, storedValue } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";

beforeEach(() => {
  vi.spyOn(console, "error").mockImplementation(() => {});
});

/** The database with another `batch`, or with neither `batch` nor `prepare`. */
function database(batch: ((statements: D1PreparedStatement[]) => Promise<unknown>) | null): D1Database {
  const down = () => {
    throw new Error("D1_ERROR: storage operation exceeded timeout");
  };
  return new Proxy(env.DB, {
    get(db, key) {
      if (key === "batch") return batch ?? down;
      if (key === "prepare" && batch === null) return down;
      const value: unknown = Reflect.get(db, key);
      return typeof value === "function" ? value.bind(db) : value;
    },
  });
}

const failing = () => env.DB.prepare("INSERT INTO nowhere VALUES (1)");

/** How a batch may fail; D1 rolls back whatever it has done of it. */
const OUTAGES: [name: string, database: D1Database][] = [
  ["does not answer", database(null)],
  ["refuses a batch", database(() => Promise.reject(new Error("D1_ERROR: overloaded")))],
  ["fails at the end of a batch", database((statements) => env.DB.batch([...statements, failing()]))],
  [
    "fails in the middle of a batch",
    database(([first, ...rest]) => env.DB.batch([...(first === undefined ? [] : [first]), failing(), ...rest])),
  ],
];

describe.each(OUTAGES)("a database that %s", (_, DB) => {
  const unavailable = { status: 503, code: "unavailable" };

  it("leaves nothing behind of a write, and the answer is 503 [T-28]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { name: "held", allowed_tools: { a: true } });
    const servers = [{ server_id, tools_to_execute: ["*"] }];
    const key = await accepted<{ virtual_key_id: string }>(
      await gateway.admin("POST", "/v1/virtual-keys", { name: "held", servers }),
      201,
    );
    const before = await stored();
    const broken = startGateway(offline, { DB });
    const server = { name: "docs", server_url: "https://docs.example/mcp", enabled: true, allowed_tools: { b: true } };
    const writes: [method: string, path: string, body?: unknown][] = [
      ["POST", "/v1/servers", server],
      ["POST", "/v1/servers", { ...server, config: { api_key: "k3y" } }],
      ["PATCH", `/v1/servers/${server_id}`, { name: "other", allowed_tools: { a: false, b: true } }],
      ["PATCH", `/v1/servers/${server_id}`, { allowed_tools: ["*"] }],
      ["DELETE", `/v1/servers/${server_id}`],
      ["POST", "/v1/virtual-keys", { name: "new", servers }],
      ["PATCH", `/v1/virtual-keys/${key.virtual_key_id}`, { name: "other", servers: [] }],
      ["DELETE", `/v1/virtual-keys/${key.virtual_key_id}`],
    ];
    for (const [method, path, body] of writes) {
      const response = await broken.admin(method, path, body);
      expect({ method, path, ...(await refusal(response)) }).toEqual({ method, path, ...unavailable });
    }
    expect(await stored()).toEqual(before);
    const [, , [method, path, body] = ["", ""]] = writes;
    expect((await gateway.admin(method, path, body)).status).toBe(200);
  });
});

describe("a database that does not answer", () => {
  it("makes reads 503, and no credential valid or invalid", async () => {
    const gateway = startGateway(offline, { DB: database(null) });
    for (const path of ["/v1/servers", "/v1/servers/a", "/v1/servers/a/tools", "/v1/virtual-keys", "/v1/calls"]) {
      expect(await refusal(await gateway.admin("GET", path))).toEqual({ status: 503, code: "unavailable" });
    }
    const response = await gateway.fetch("/v1/servers", { headers: { Authorization: "Bearer sk-pst-anything" } });
    expect(await refusal(response)).toEqual({ status: 503, code: "unavailable" });
    const door = { method: "POST", headers: { Authorization: "Bearer sk-pst-anything" } };
    expect((await gateway.fetch("/mcp", door)).status).toBe(503);
  });
});

describe("a change that another one overtakes", () => {
  it.each([
    ["the endpoint", { server_url: "https://docs.example/new" }],
    ["the secrets", { config: { api_key: "for docs.example" } }],
  ])("of %s never brings the secrets of one origin to another", async (_, body) => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { config: { api_key: "old" } });
    const moved = { server_url: "https://other.example/mcp", config: { api_key: "for other.example" } };
    let batches = 0;
    const DB = database(async (statements) => {
      // The first says who is asking; by the second the record has been read.
      if (++batches === 2) {
        await accepted(await gateway.admin("PATCH", `/v1/servers/${server_id}`, moved));
      }
      return env.DB.batch(statements);
    });
    await startGateway(offline, { DB }).admin("PATCH", `/v1/servers/${server_id}`, body);
    const after = await accepted<{ server_url: string; config: { api_key?: string } }>(
      await gateway.admin("GET", `/v1/servers/${server_id}`),
    );
    const { api_key } = after.config;
    if (api_key !== undefined) expect(api_key).toBe(`for ${new URL(after.server_url).host}`);
    expect(await storedValue("SELECT COUNT(*) FROM servers WHERE connection_type <> 'inprocess'")).toBe(1);
  });
});
