/** What every answer of the JSON API has in common. */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { createAgent } from "../support/agent.ts";
import { offline, register } from "../support/api.ts";
import { ADMIN, startGateway } from "../support/gateway.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe("a refusal", () => {
  it.each([
    [
      "POST",
      "/v1/servers",
      { name: "a b", server_url: "https://docs.example" },
      400,
      "Invalid request",
      "invalid_request",
      "name",
    ],
    ["PATCH", "/v1/servers/any", { nom: "docs" }, 400, "Unknown field", "unknown_field", "nom"],
    ["GET", "/v1/servers/none", undefined, 404, "Not found", "not_found", undefined],
    ["GET", "/v1/nothing", undefined, 404, "Not found", "not_found", undefined],
    ["PUT", "/v1/servers", undefined, 405, "Method not allowed", "method_not_allowed", undefined],
    ["DELETE", "/v1/servers/none", undefined, 404, "Not found", "not_found", undefined],
  ])("is a problem document: %s %s %o [PS-70]", async (method, path, body, status, title, code, field) => {
    const response = await startGateway(offline).admin(method, path, body);
    expect(response.status).toBe(status);
    expect(response.headers.get("Content-Type")).toBe("application/problem+json");
    expect(await response.json()).toEqual({
      type: "about:blank",
      title,
      status,
      detail: expect.stringMatching(/^[^{}]+\.$/),
      code,
      ...(field === undefined ? {} : { field }),
      request_id: expect.stringMatching(UUID),
    });
  });

  it("has the request id of its header, another for every request [PS-70]", async () => {
    const gateway = startGateway(offline);
    const ids = new Set<string>();
    for (const path of ["/v1/servers/none", "/v1/servers/none", "/v1/nothing"]) {
      const response = await gateway.admin("GET", path);
      const { request_id } = await response.json<{ request_id: string }>();
      expect(response.headers.get("X-Request-Id")).toBe(request_id);
      ids.add(request_id);
    }
    expect(ids.size).toBe(3);
  });

  it("does not repeat what was sent", async () => {
    const gateway = startGateway(offline);
    const canary = "c4n4ry";
    const docs = { name: "docs", server_url: "https://docs.example/mcp" };
    for (const body of [
      { ...docs, name: `${canary} !` },
      { ...docs, auth_type: canary },
      { ...docs, server_url: `ftp://${canary}` },
      { ...docs, config: { headers: { "X-A": `${canary}\n` } } },
      { ...docs, config: { headers: { [`${canary}\n`]: "a" } } },
      { ...docs, allowed_tools: { a: canary } },
      { ...docs, allowed_tools: [canary] },
      { ...docs, enabled: canary },
    ]) {
      const response = await gateway.admin("POST", "/v1/servers", body);
      expect(response.status).toBe(400);
      expect(await response.text()).not.toContain(canary);
    }
  });

  it("says nothing of its cause when the cause is a bug", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    await env.DB.prepare("UPDATE servers SET state = 'n0nsense'").run();
    const response = await gateway.admin("GET", `/v1/servers/${server_id}`);
    expect(await response.json()).toEqual({
      type: "about:blank",
      title: "Internal error",
      status: 500,
      detail: "Something went wrong in the gateway.",
      code: "internal",
      request_id: response.headers.get("X-Request-Id"),
    });
  });

  it("is logged with its cause and request id when it is ours, and not at all when it is the client's", async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway);
    await gateway.admin("GET", "/v1/servers/none");
    await gateway.admin("POST", "/v1/servers", { name: 1 });
    expect([...errors.mock.calls, ...warnings.mock.calls]).toEqual([]);
    await env.DB.prepare("UPDATE servers SET state = 'n0nsense'").run();
    const response = await gateway.admin("GET", `/v1/servers/${server_id}`);
    expect(errors.mock.calls.map(([line]) => JSON.parse(line))).toEqual([
      {
        event: "request_failed",
        requestId: response.headers.get("X-Request-Id"),
        code: "internal",
        method: "GET",
        path: `/v1/servers/${server_id}`,
        ...{ principal: "admin-key", org: "default", address: null },
        causes: [expect.stringContaining("Something went wrong"), expect.stringContaining("ZodError")],
      },
    ]);
  });
});

describe("every answer", () => {
  const HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-request-id": expect.stringMatching(UUID),
  };

  it("forbids caching and guessing, and names its request", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    const json = { "Content-Type": "application/json", Authorization: `Bearer ${key.value}` };
    const ping = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
    const asked: [path: string, init: RequestInit, status: number][] = [
      ["/v1/health", {}, 200],
      ["/v1/servers", { headers: ADMIN }, 200],
      ["/v1/servers", { method: "HEAD", headers: ADMIN }, 200],
      ["/v1/servers", { method: "POST", headers: ADMIN, body: "{}" }, 415],
      ["/v1/servers", { method: "PUT", headers: ADMIN }, 405],
      ["/v1/servers", {}, 401],
      ["/v1/servers", { headers: { "x-api-key": key.value } }, 403],
      ["/v1/servers/none", { headers: ADMIN }, 404],
      ["/v1/servers", { headers: { ...ADMIN, "X-A": "a".repeat(8_193) } }, 431],
      ["/v1/nothing", {}, 404],
      ["/mcp", { method: "POST" }, 401],
      ["/mcp", { method: "POST", headers: json, body: ping }, 200],
      ["/mcp", { method: "POST", headers: json, body: "{" }, 400],
      ["/mcp", { method: "GET", headers: json }, 405],
      ["/mcp", { method: "POST", headers: { ...json, Origin: "https://evil.example" }, body: ping }, 403],
      ["/mcp/no_slug", { method: "POST" }, 404],
    ];
    for (const [path, init, status] of asked) {
      const response = await gateway.fetch(path, init);
      expect({ path, status: response.status, ...Object.fromEntries(response.headers) }).toMatchObject({
        path,
        status,
        ...HEADERS,
      });
    }
  });

  it.each(["/", "/nothing", "/v2/servers", "/mcp/docs/more"])(
    "does so too where there is nothing: %s",
    async (path) => {
      const response = await startGateway(offline).fetch(path);
      expect(response.status).toBe(404);
      expect(Object.fromEntries(response.headers)).toMatchObject(HEADERS);
    },
  );

  it("does so too when the gateway is configured in a way it cannot read", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const response = await startGateway(offline, { JOURNAL_MODE: "perhaps" }).admin("GET", "/v1/servers");
    expect(response.status).toBe(500);
    expect(Object.fromEntries(response.headers)).toMatchObject(HEADERS);
  });
});

describe("GET /v1/health", () => {
  it("is 503 when the database refuses, or has no schema", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    await env.DB.prepare("ALTER TABLE orgs RENAME TO elsewhere").run();
    const response = await startGateway(offline).fetch("/v1/health");
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: "unavailable", status: 503 });
  });
});
