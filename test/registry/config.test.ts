import { describe, expect, it } from "vitest";
import { accepted, offline, refusal, register, stored } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const DOCS = { name: "docs", server_url: "https://docs.example/mcp", enabled: false };
const SECRET = { headers: { "X-Api-Key": "s3cret" }, note: "kept" };

describe("config", () => {
  it.each([
    [{ headers: { "X-Api-Key": "a", Authorization: "Bearer b" } }],
    [{ headers: { "!#$%&'*+.^_`|~09": "" } }],
    [{ headers: { "X-A": "\tvisible ~ text " } }],
    [{ headers: { "X-Host": "h", Hosts: "h", "XMcp-A": "x", Keep: "k" } }],
    [{ api_key: "k3y" }],
    [{ team: { of: ["any", 1, null, { depth: true }] }, empty: "" }],
  ])("may be %o [RG-12]", async (config) => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { config });
    expect(await accepted(await gateway.admin("GET", `/v1/servers/${server_id}`))).toMatchObject({ config });
    const changed = await gateway.admin("PATCH", `/v1/servers/${server_id}`, { config });
    expect(await accepted(changed)).toMatchObject({ config });
  });

  it("may not be anything else, nor hold headers that cannot be sent or are not the admin's [RG-12]", async () => {
    const table: [config: unknown, field: string][] = [
      ["a text", "config"],
      [1, "config"],
      [true, "config"],
      [[], "config"],
      [[{ headers: {} }], "config"],
      [{ note: "a".repeat(64 * 1024) }, "config"],
      [{ note: "é".repeat(32 * 1024) }, "config"],
      [{ headers: null }, "config.headers"],
      [{ headers: [] }, "config.headers"],
      [{ headers: "X-A: b" }, "config.headers"],
      [{ headers: { "": "a" } }, "config.headers"],
      [{ headers: { "X A": "a" } }, "config.headers"],
      [{ headers: { "X-A:": "a" } }, "config.headers"],
      [{ headers: { "X-A\r\nX-B": "a" } }, "config.headers"],
      [{ headers: { é: "a" } }, "config.headers"],
      [{ headers: { "X-A": 1 } }, "config.headers.X-A"],
      [{ headers: { "X-A": null } }, "config.headers.X-A"],
      [{ headers: { "X-A": ["a"] } }, "config.headers.X-A"],
      [{ headers: { "X-A": "a\r\nX-B: c" } }, "config.headers.X-A"],
      [{ headers: { "X-A": "a\nb" } }, "config.headers.X-A"],
      [{ headers: { "X-A": "a\u0000b" } }, "config.headers.X-A"],
      [{ headers: { "X-B": "b", Host: "evil.example" } }, "config.headers.Host"],
      [{ headers: { host: "a" } }, "config.headers.host"],
      [{ headers: { "Content-Length": "1" } }, "config.headers.Content-Length"],
      [{ headers: { Connection: "close" } }, "config.headers.Connection"],
      [{ headers: { "Keep-Alive": "a" } }, "config.headers.Keep-Alive"],
      [{ headers: { "Proxy-Authorization": "a" } }, "config.headers.Proxy-Authorization"],
      [{ headers: { "Proxy-Authenticate": "a" } }, "config.headers.Proxy-Authenticate"],
      [{ headers: { TE: "a" } }, "config.headers.TE"],
      [{ headers: { Trailer: "a" } }, "config.headers.Trailer"],
      [{ headers: { "Transfer-Encoding": "chunked" } }, "config.headers.Transfer-Encoding"],
      [{ headers: { Upgrade: "a" } }, "config.headers.Upgrade"],
      [{ headers: { "Mcp-Session-Id": "a" } }, "config.headers.Mcp-Session-Id"],
      [{ headers: { "mcp-anything": "a" } }, "config.headers.mcp-anything"],
      [{ api_key: 1 }, "config.api_key"],
      [{ api_key: null }, "config.api_key"],
      [{ api_key: " " }, "config.api_key"],
      [{ api_key: "a\nb" }, "config.api_key"],
    ];
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { name: "held", config: SECRET });
    const before = await stored();
    for (const [config, field] of table) {
      const expected = { config, status: 400, code: "invalid_request", field };
      const created = await gateway.admin("POST", "/v1/servers", { ...DOCS, config });
      expect({ config, ...(await refusal(created)) }).toEqual(expected);
      const changed = await gateway.admin("PATCH", `/v1/servers/${server_id}`, { config });
      expect({ config, ...(await refusal(changed)) }).toEqual(expected);
    }
    expect(await stored()).toEqual(before);
  });

  it("may have 64 KiB [RG-12]", async () => {
    const overhead = JSON.stringify({ note: "" }).length;
    const config = { note: "a".repeat(64 * 1024 - overhead) };
    const response = await startGateway(offline).admin("POST", "/v1/servers", { ...DOCS, config });
    expect(response.status).toBe(201);
  });

  it.each([
    [undefined, SECRET],
    [null, {}],
    [{}, {}],
    [{ api_key: "k3y" }, { api_key: "k3y" }],
    [{ headers: {} }, { headers: {} }],
  ])("of %o replaces what is stored by %o, whole [RG-12, RG-20]", async (config, shown) => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { config: SECRET });
    const body = config === undefined ? { display_name: "Docs" } : { config };
    const changed = await gateway.admin("PATCH", `/v1/servers/${server_id}`, body);
    expect(await accepted<{ config: unknown }>(changed)).toHaveProperty("config", shown);
  });

  it.each(["undefined", "null", "{}"])("of %s at first is {} [RG-12]", async (given) => {
    const config = given === "undefined" ? {} : { config: JSON.parse(given) };
    expect((await register(startGateway(offline), config)).config).toEqual({});
  });
});

describe("static credentials", () => {
  const upstream = () => scriptedServer({ era: "modern", tools: [] });
  const sent = (server: ReturnType<typeof upstream>, name: string) =>
    server.seen.map(({ headers }) => headers.get(name));

  it("go with every request, as headers and as a bearer", async () => {
    const server = upstream();
    await register(startGateway(server.network), {
      enabled: true,
      config: { headers: { "X-Api-Key": "s3cret" }, api_key: "k3y" },
    });
    expect(server.seen.length).toBeGreaterThan(1);
    expect(new Set(sent(server, "X-Api-Key"))).toEqual(new Set(["s3cret"]));
    expect(new Set(sent(server, "Authorization"))).toEqual(new Set(["Bearer k3y"]));
  });

  it("let an Authorization header of the admin beat the key", async () => {
    const server = upstream();
    const config = { headers: { authorization: "Basic YQ==" }, api_key: "k3y" };
    await register(startGateway(server.network), { enabled: true, config });
    expect(new Set(sent(server, "Authorization"))).toEqual(new Set(["Basic YQ=="]));
  });

  it("are kept and not sent when the server needs none", async () => {
    const server = upstream();
    const config = { headers: { "X-Api-Key": "s3cret" }, api_key: "k3y" };
    const shown = await register(startGateway(server.network), { enabled: true, auth_type: "none", config });
    expect(shown.config).toEqual(config);
    expect(new Set(sent(server, "X-Api-Key"))).toEqual(new Set([null]));
    expect(new Set(sent(server, "Authorization"))).toEqual(new Set([null]));
  });

  it("are sent in their new form after a change", async () => {
    const server = upstream();
    const gateway = startGateway(server.network);
    const { server_id } = await register(gateway, { enabled: true, config: { headers: { "X-Api-Key": "old" } } });
    server.seen.length = 0;
    await accepted(
      await gateway.admin("PATCH", `/v1/servers/${server_id}`, { config: { headers: { "X-Api-Key": "new" } } }),
    );
    expect(new Set(sent(server, "X-Api-Key"))).toEqual(new Set(["new"]));
  });
});
