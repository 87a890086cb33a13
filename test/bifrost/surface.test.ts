/** What every answer of the Bifrost surface has in common, and the routes that only act. */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { agentOf, createAgent } from "../support/agent.ts";
import { offline, register, stored, storedValue } from "../support/api.ts";
import { bifrostOf, expectBifrost, refused, tool } from "../support/bifrost.ts";
import { ADMIN, startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const NOT_FOUND = { status: 404, code: "not_found", message: "MCP client not found" };

describe("a refusal", () => {
  it("has Bifrost's body, whatever is refused under /api [BF-45]", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    const json = { ...ADMIN, "Content-Type": "application/json" };
    const asked: [method: string, path: string, init: RequestInit, status: number, code: string][] = [
      ["GET", "/api/mcp/clients", {}, 401, "unauthorized"],
      ["GET", "/api/mcp/clients", { headers: { Authorization: "Bearer nobody" } }, 401, "unauthorized"],
      ["GET", "/api/mcp/clients", { headers: { "x-bf-vk": key.value } }, 403, "forbidden"],
      ["GET", "/api/mcp/clients", { headers: { ...ADMIN, "x-bf-vk": key.value } }, 400, "ambiguous_credentials"],
      ["GET", "/api/mcp/clients", { headers: { ...ADMIN, "X-Org-Id": "nowhere" } }, 404, "not_found"],
      ["GET", "/api/mcp/clients", { headers: { ...ADMIN, "X-A": "a".repeat(8_193) } }, 431, "headers_too_large"],
      ["GET", "/api/nothing", { headers: ADMIN }, 404, "not_found"],
      ["GET", "/api", { headers: ADMIN }, 404, "not_found"],
      ["PATCH", "/api/mcp/client/any", { headers: ADMIN }, 405, "method_not_allowed"],
      ["POST", "/api/mcp/client", { headers: ADMIN, body: "{}" }, 415, "unsupported_media_type"],
      ["POST", "/api/mcp/client", { headers: json, body: `"${"a".repeat(4 << 20)}"` }, 413, "body_too_large"],
      ["POST", "/api/mcp/client", { headers: json, body: "{" }, 400, "invalid_json"],
      ["POST", "/api/mcp/client", { headers: json, body: "{}" }, 400, "invalid_request"],
      ["PUT", "/api/mcp/client/none", { headers: json, body: "{}" }, 404, "not_found"],
    ];
    for (const [method, path, init, status, code] of asked) {
      const response = await gateway.fetch(path, { method, ...init });
      await expectBifrost(method, path, response);
      expect(response.headers.get("WWW-Authenticate")).toBe(status === 401 ? "Bearer" : null);
      expect({ path, ...(await refused(response)) }).toMatchObject({ path, status, code });
    }
  });

  it("says what a path takes [BF-45, PS-73]", async () => {
    const gateway = startGateway(offline);
    for (const [path, allowed] of [
      ["/api/mcp/clients", "GET"],
      ["/api/mcp/client", "POST"],
      ["/api/mcp/client/any", "PUT, DELETE"],
      ["/api/mcp/client/any/reconnect", "POST"],
      ["/api/mcp/client/any/complete-oauth", "POST"],
      ["/api/oauth/config/any", "DELETE"],
      ["/api/oauth/config/any/status", "GET"],
    ] as const) {
      const response = await gateway.fetch(path, { method: "PATCH", headers: ADMIN });
      expect(response.headers.get("Allow")).toBe(allowed);
      expect(await refused(response)).toMatchObject({ status: 405, code: "method_not_allowed" });
    }
  });

  it.each([
    ["{", /^Invalid request format: The body is not JSON\.$/],
    ["", /^Invalid request format: /],
    ['{"name":"a","name":"b"}', /^Invalid request format: The body has the same member twice\.$/],
    [`${"[".repeat(70)}${"]".repeat(70)}`, /^Invalid request format: The body nests more than 64 levels\.$/],
    ["[]", /^Invalid request format: /],
    ["5", /^Invalid request format: /],
  ])("calls a body that is none an invalid format, in words of ours: %o [BF-24]", async (body, message) => {
    const gateway = startGateway(offline);
    await register(gateway, { server_id: "docs" });
    const before = await stored();
    for (const [method, path] of [
      ["PUT", "/api/mcp/client/docs"],
      ["POST", "/api/mcp/client"],
    ] as const) {
      const headers = { ...ADMIN, "Content-Type": "application/json" };
      const response = await gateway.fetch(path, { method, headers, body });
      expect(await refused(response)).toMatchObject({ status: 400, message: expect.stringMatching(message) });
    }
    expect(await stored()).toEqual(before);
  });

  it("does not repeat what was sent", async () => {
    const bifrost = bifrostOf(startGateway(offline));
    const canary = "c4n4ry";
    for (const body of [
      { name: canary, connection_type: canary },
      { name: "a", connection_type: "http", connection_string: `ftp://${canary}` },
      { name: "a", connection_type: "http", connection_string: "https://a.example", headers: { "X-A": `${canary}\n` } },
      { name: "a", connection_type: "http", connection_string: "https://a.example", headers: { [`${canary}\n`]: "a" } },
      { name: "a", connection_type: "http", connection_string: "https://a.example", auth_type: canary },
    ]) {
      const response = await bifrost.create(body);
      expect(response.status).toBe(400);
      expect(await response.text()).not.toContain(canary);
    }
  });

  it("says nothing of its cause when the cause is a bug, and names its request [BF-45]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const gateway = startGateway(offline);
    await register(gateway);
    await env.DB.prepare("UPDATE servers SET state = 'n0nsense'").run();
    const response = await gateway.admin("GET", "/api/mcp/clients");
    expect(await response.json()).toEqual({
      is_bifrost_error: false,
      status_code: 500,
      error: { message: "Something went wrong in the gateway." },
      extra_fields: { code: "internal", request_id: response.headers.get("X-Request-Id") },
    });
  });
});

describe("every answer", () => {
  it("forbids caching and guessing, and names its request", async () => {
    const gateway = startGateway(offline);
    for (const [path, status] of [
      ["/api/mcp/clients", 200],
      ["/api/nothing", 404],
    ] as const) {
      const response = await gateway.admin("GET", path);
      expect({ status: response.status, ...Object.fromEntries(response.headers) }).toMatchObject({
        status,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-request-id": expect.stringMatching(/^[0-9a-f-]{36}$/),
      });
    }
  });
});

describe("DELETE /api/mcp/client/:id", () => {
  it("removes the server with its tools, keys, contexts and place in the allowlist; then it is gone [BF-42]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search")] });
    const gateway = startGateway(upstream.network);
    const { server_id } = await agentOf(gateway, { name: "docs" });
    await gateway.admin("PUT", `/v1/servers/${server_id}/contexts/default`, { context: "ours" });
    const bifrost = bifrostOf(gateway);
    const response = await bifrost.remove(server_id);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "success", message: "MCP client removed successfully" });
    for (const table of [
      "servers WHERE server_id <> 'gateway'",
      "server_tools WHERE server_id <> 'gateway'",
      "virtual_key_servers WHERE server_id <> 'gateway'",
      "server_contexts",
    ]) {
      expect(await storedValue(`SELECT COUNT(*) FROM ${table}`), table).toBe(0);
    }
    expect(await storedValue("SELECT mode FROM allowlist_events ORDER BY rowid DESC")).toBe("delete");
    const before = await stored();
    expect(await refused(await bifrost.remove(server_id))).toEqual(NOT_FOUND);
    expect(await stored()).toEqual(before);
  });
});

describe("POST /api/mcp/client/:id/reconnect", () => {
  it("connects anew and reads the tools [BF-43]", async () => {
    const upstream = scriptedServer({ era: "modern", tools: [tool("search")] });
    const bifrost = bifrostOf(startGateway(upstream.network));
    await bifrost.created({});
    upstream.change({ tools: [tool("search"), tool("later")] });
    const response = await bifrost.reconnect("docs");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "success", message: "MCP client reconnected successfully" });
    expect((await bifrost.client("docs")).tools.map(({ name }) => name)).toEqual(["later", "search"]);
  });

  it("says why that failed, in words of ours [BF-43]", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const upstream = scriptedServer({ era: "modern", tools: [] });
    const bifrost = bifrostOf(startGateway(upstream.network));
    await bifrost.created({});
    upstream.change({ first: () => new Response("c4n4ry", { status: 503 }) });
    expect(await refused(await bifrost.reconnect("docs"))).toEqual({
      status: 500,
      code: "connect_failed",
      message: "Failed to reconnect MCP client: The server answered with HTTP 503.",
    });
    expect((await bifrost.client("docs")).state).toBe("error");
  });

  it("refuses what cannot be connected to by anybody [BF-43]", async () => {
    const gateway = startGateway(() => Promise.reject(new Error("was contacted")));
    const bifrost = bifrostOf(gateway);
    await register(gateway, { server_id: "off" });
    await register(gateway, { server_id: "own", name: "own", auth_type: "per_user_oauth", enabled: true });
    await bifrost.created({
      client_id: "files",
      name: "Files",
      connection_type: "stdio",
      stdio_config: { command: "x" },
    });
    expect(await refused(await bifrost.reconnect("off"))).toEqual({
      status: 400,
      code: "invalid_request",
      message: "cannot reconnect a disabled MCP client: enable the client first",
    });
    expect(await refused(await bifrost.reconnect("own"))).toMatchObject({ status: 400, code: "invalid_request" });
    expect(await refused(await bifrost.reconnect("files"))).toEqual({
      status: 500,
      code: "connect_failed",
      message: "Failed to reconnect MCP client: The server is waiting for a bridge.",
    });
    expect(await refused(await bifrost.reconnect("none"))).toEqual(NOT_FOUND);
  });
});
