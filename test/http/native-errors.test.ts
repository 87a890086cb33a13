/** Every error of the native API (requirements.md B.3): its status, its code, and its problem document. */
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { FAILURES, type FailureCode } from "../../src/failure/gateway-error.ts";
import { createAgent } from "../support/agent.ts";
import { accepted, createOrg, offline, register } from "../support/api.ts";
import { ADMIN, startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

beforeEach(() => {
  for (const level of ["error", "warn"] as const) vi.spyOn(console, level).mockImplementation(() => undefined);
});

const JSON_TYPE = { "Content-Type": "application/json" };
const CONFIG = { config: { api_key: "k3y" } };

/** A request that meets the error. */
type Provoke = () => Promise<Response>;

const failingServer = (first: () => Promise<Response> | Response) =>
  scriptedServer({ era: "modern", tools: ['{"name":"search"}'], first });

/** Discovers a server that begins to fail when it is registered. */
async function discover(first: () => Promise<Response> | Response, fields: Record<string, unknown> = {}) {
  const upstream = failingServer(() => new Response(null, { status: 503 }));
  const gateway = startGateway(upstream.network);
  const { server_id } = await register(gateway, { enabled: true, ...fields });
  upstream.change({ first });
  return gateway.admin("POST", `/v1/servers/${server_id}/discover`);
}

const ROWS: readonly [code: FailureCode, status: number, field: string | undefined, provoke: Provoke][] = [
  [
    ...(["invalid_request", 400, "name"] as const),
    () => startGateway(offline).admin("POST", "/v1/servers", { name: "a b", server_url: "https://docs.example" }),
  ],
  [
    ...(["invalid_json", 400, undefined] as const),
    () =>
      startGateway(offline).fetch("/v1/servers", { method: "POST", headers: { ...ADMIN, ...JSON_TYPE }, body: "{" }),
  ],
  [
    ...(["unknown_field", 400, "nom"] as const),
    () => startGateway(offline).admin("PATCH", "/v1/servers/any", { nom: "docs" }),
  ],
  [
    ...(["read_only", 400, undefined] as const),
    () => startGateway(offline).admin("PATCH", "/v1/servers/gateway", { display_name: "Mine" }),
  ],
  [
    ...(["org_required", 400, "X-Org-Id"] as const),
    async () => {
      const gateway = await startWithUsers();
      for (const org of ["acme", "other"]) {
        await createOrg(org);
        await accepted(await gateway.admin("PUT", `/v1/orgs/${org}/members/ann`, { role: "member" }));
      }
      return gateway.as("ann", "GET", "/v1/servers");
    },
  ],
  [
    ...(["ambiguous_credentials", 400, undefined] as const),
    async () => {
      const gateway = startGateway(offline);
      const keys = [await createAgent(gateway, []), await createAgent(gateway, [])].map(({ key }) => key.value);
      return gateway.fetch("/v1/servers", { headers: { "x-api-key": `${keys[0]}`, "x-bf-vk": `${keys[1]}` } });
    },
  ],
  [...(["unauthorized", 401, undefined] as const), () => startGateway(offline).fetch("/v1/servers")],
  [
    ...(["forbidden", 403, undefined] as const),
    async () => {
      const gateway = startGateway(offline);
      const { key } = await createAgent(gateway, []);
      return gateway.fetch("/v1/servers", { headers: { "x-api-key": key.value } });
    },
  ],
  [...(["not_found", 404, undefined] as const), () => startGateway(offline).admin("GET", "/v1/servers/none")],
  [...(["method_not_allowed", 405, undefined] as const), () => startGateway(offline).admin("PUT", "/v1/servers")],
  [
    ...(["conflict", 409, "name"] as const),
    async () => {
      const gateway = startGateway(offline);
      await register(gateway);
      return gateway.admin("POST", "/v1/servers", { name: "DOCS", server_url: "https://docs.example", enabled: false });
    },
  ],
  [
    ...(["body_too_large", 413, undefined] as const),
    () => startGateway(offline).admin("POST", "/v1/servers", { name: "a".repeat(4 * 1024 * 1024) }),
  ],
  [
    ...(["unsupported_media_type", 415, undefined] as const),
    () => startGateway(offline).fetch("/v1/servers", { method: "POST", headers: ADMIN, body: "name=docs" }),
  ],
  [
    ...(["headers_too_large", 431, "x-a"] as const),
    () => startGateway(offline).admin("GET", "/v1/servers", undefined, { "X-A": "a".repeat(8_193) }),
  ],
  [
    ...(["encryption_key_missing", 500, undefined] as const),
    () =>
      startGateway(offline, { ENCRYPTION_KEYS: "" }).admin("POST", "/v1/servers", {
        ...{ name: "docs", server_url: "https://docs.example", enabled: false },
        ...CONFIG,
      }),
  ],
  [
    ...(["sealed_payload_invalid", 500, undefined] as const),
    async () => {
      const gateway = startGateway(offline);
      const { server_id } = await register(gateway, CONFIG);
      await env.DB.prepare("UPDATE servers SET config_sealed = 'k1.AAAA.AAAA'").run();
      return gateway.admin("GET", `/v1/servers/${server_id}`);
    },
  ],
  [
    ...(["internal", 500, undefined] as const),
    async () => {
      const gateway = startGateway(offline);
      const { server_id } = await register(gateway);
      await env.DB.prepare("UPDATE servers SET state = 'n0nsense'").run();
      return gateway.admin("GET", `/v1/servers/${server_id}`);
    },
  ],
  [
    ...(["upstream_failed", 502, undefined] as const),
    () => discover(() => new Response("c4n4ry", { status: 403, headers: { "WWW-Authenticate": "c4n4ry" } })),
  ],
  [
    ...(["unavailable", 503, undefined] as const),
    async () => {
      await env.DB.prepare("ALTER TABLE orgs RENAME TO elsewhere").run();
      return startGateway(offline).fetch("/v1/health");
    },
  ],
  [
    ...(["upstream_timeout", 504, undefined] as const),
    () => discover(() => new Promise<Response>(() => undefined), { timeout_ms: 1_000 }),
  ],
];

describe("an error of the native API", () => {
  it.each(ROWS)("%s is %i, as a problem document, field %s [RB-40]", async (code, status, field, provoke) => {
    const response = await provoke();
    expect(response.status).toBe(status);
    expect(response.headers.get("Content-Type")).toBe("application/problem+json");
    const body = await response.json();
    expect(body).toEqual({
      type: "about:blank",
      title: FAILURES[code].title,
      status,
      detail: expect.stringMatching(/^[^{}]+\.$/),
      code,
      ...(field === undefined ? {} : { field }),
      request_id: response.headers.get("X-Request-Id"),
    });
    expect(JSON.stringify([...response.headers, body])).not.toContain("c4n4ry");
  });

  it("is one of the rows of B.3, but for what only other surfaces know [RB-40]", () => {
    const elsewhere = ["invalid_state", "auth_required", "budget_exceeded", "connect_failed", "bridge_missing"];
    // Ours besides B.3: pages of links, scopes of our own tokens, what a client accepts, limits of requests, and loops.
    const ours = ["link_failed", "insufficient_scope", "not_acceptable", "rate_limited", "loop_detected"];
    const rows = ROWS.map(([code]) => code);
    expect([...rows, ...elsewhere, ...ours].toSorted()).toEqual(Object.keys(FAILURES).toSorted());
  });
});
