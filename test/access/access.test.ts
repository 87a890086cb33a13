/** Who gets past the front of each operation, generated from the operations themselves (style.md section 11.4). */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { createApp, operations } from "../../src/app.ts";
import { createAgent } from "../support/agent.ts";
import { createOrg, offline, refusal, stored } from "../support/api.ts";
import { ADMIN, startGateway } from "../support/gateway.ts";

const specs = operations.map(({ spec }) => spec);
const guarded = specs.filter(({ needs }) => needs !== "anyone" && needs !== "agent");
const agentDoors = specs.filter(({ needs }) => needs === "agent");

/** Routes that are no operations of the JSON API: middleware, the doors of agents, and what people see in a browser. */
const PAGES = ["GET /openapi.json", "GET /docs", "GET /docs/docs.css"];
const SIGN_IN = ["GET /oauth/authorize", "POST /oauth/authorize", "GET /oauth/callback", "GET /oauth/page.css"];
const TICKET = "/connect/:ticket{[A-Za-z0-9_-]{43}}";
const LINKING = [...[`GET ${TICKET}`, `POST ${TICKET}`, "GET /connect/callback", "GET /oauth/client-metadata.json"]];
const BIFROST = ["GET /api/oauth/callback"];
const RESOURCE = "/.well-known/oauth-protected-resource";
const DOORS = [
  ...["/*", "/v1/*", "/api/*", "/mcp", "/mcp/:server"],
  ...[RESOURCE, `${RESOURCE}/mcp`, `${RESOURCE}/mcp/:server`],
  ...["/.well-known/oauth-authorization-server", "/oauth/token", "/oauth/register"],
  "/connect/*",
  ...[...PAGES, ...SIGN_IN, ...LINKING, ...BIFROST].map((route) => route.replace(/^\w+ /, "")),
];

const concrete = (path: string) => path.replaceAll(/:\w+/g, "any");

/** A body that knows whether anybody has begun to read it. */
function watchedBody() {
  let isRead = false;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        isRead = true;
        controller.enqueue(new TextEncoder().encode("{}"));
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return { body, isRead: () => isRead };
}

describe.each(guarded)("$method $path", ({ method, path, body: takesBody }) => {
  const url = concrete(path);
  const hasBody = takesBody !== undefined;

  it("asks for a credential before it reads the body", async () => {
    const gateway = startGateway(offline);
    const { body, isRead } = watchedBody();
    const headers = { "Content-Type": "application/json" };
    const response = await gateway.fetch(url, { method, headers, ...(hasBody ? { body } : {}) });
    expect(response.headers.get("WWW-Authenticate")).toBe("Bearer");
    expect(await refusal(response)).toEqual({ status: 401, code: "unauthorized" });
    expect(isRead()).toBe(false);
  });

  it("refuses credentials that are none, or not for this door", async () => {
    const gateway = startGateway(offline);
    const wrong: Record<string, string>[] = [
      { Authorization: "Bearer nobody" },
      { Authorization: "Bearer sk-pst-nobody" },
      { Authorization: `Bearer ${env.ADMIN_KEY}x` },
      { Authorization: `Bearer ${env.ADMIN_KEY.toUpperCase()}` },
      { Authorization: `Basic ${env.ADMIN_KEY}` },
      { Authorization: env.ADMIN_KEY },
      { Authorization: "Bearer " },
      { "x-api-key": env.ADMIN_KEY },
    ];
    for (const headers of wrong) {
      const response = await gateway.fetch(url, { method, headers });
      const challenge = response.headers.get("WWW-Authenticate");
      const answer = await refusal(response);
      expect({ headers, challenge, ...answer }).toEqual({
        headers,
        challenge: "Bearer",
        status: 401,
        code: "unauthorized",
      });
    }
  });

  it("is closed to virtual keys, in whichever header they come", async () => {
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    const before = await stored();
    for (const headers of [
      { Authorization: `Bearer ${key.value}` },
      { "x-bf-vk": key.value },
      { "x-api-key": key.value },
    ]) {
      const response = await gateway.fetch(url, { method, headers });
      expect(await refusal(response)).toEqual({ status: 403, code: "forbidden" });
    }
    expect(await stored()).toEqual(before);
  });

  it("refuses two credentials that differ", async () => {
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    const response = await gateway.fetch(url, { method, headers: { ...ADMIN, "x-api-key": key.value } });
    expect(await refusal(response)).toEqual({ status: 400, code: "ambiguous_credentials" });
  });

  it("refuses an org that does not exist", async () => {
    const response = await startGateway(offline).fetch(url, { method, headers: { ...ADMIN, "X-Org-Id": "nowhere" } });
    // Where the path names the org, no header does.
    const field = path.includes(":org_id") ? {} : { field: "X-Org-Id" };
    expect(await refusal(response)).toEqual({ status: 404, code: "not_found", ...field });
  });

  it("lets the admin past", async () => {
    const gateway = startGateway(offline);
    await createOrg("acme");
    for (const headers of [ADMIN, { ...ADMIN, "X-Org-Id": "acme" }, { Authorization: `bearer ${env.ADMIN_KEY}` }]) {
      const { status } = await gateway.fetch(url, { method, headers });
      expect([200, 404, 415, 501]).toContain(status);
    }
  });
});

describe.each([...Map.groupBy(specs, ({ path }) => path)])("%s", (path, group) => {
  it("answers every other method with 405 and what it allows [PS-73]", async () => {
    const allowed = group.map(({ method }) => method as string);
    const known = allowed.includes("GET") ? [...allowed, "HEAD"] : allowed;
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      if (known.includes(method)) continue;
      const response = await startGateway(offline).fetch(concrete(path), { method, headers: ADMIN });
      expect(response.headers.get("Allow")?.split(", ").toSorted()).toEqual(allowed.toSorted());
      expect(response.status).toBe(405);
      if (method !== "HEAD") expect(await refusal(response)).toEqual({ status: 405, code: "method_not_allowed" });
    }
  });
});

describe("GET /v1/health", () => {
  it("answers anybody, whatever credential comes along", async () => {
    for (const headers of [{}, { Authorization: "Bearer nobody" }]) {
      const response = await startGateway(offline).fetch("/v1/health", { headers });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ status: "ok" });
    }
  });

  it.each([
    ["ok", {}],
    ["failed", { ENCRYPTION_KEYS: "" }],
  ])("shows admins of the platform its parts, encryption %s", async (encryption, vars) => {
    const response = await startGateway(offline, vars).admin("GET", "/v1/health");
    expect(response.status).toBe(200);
    const parts = { database: "ok", tokens: "ok", grants: "ok", encryption };
    expect(await response.json()).toEqual({ status: "ok", parts });
  });
});

describe.each(agentDoors)("$method $path", ({ method, path }) => {
  it("asks for a credential before it reads the body [T-14]", async () => {
    const gateway = startGateway(offline);
    const wrong: Record<string, string>[] = [
      {},
      ADMIN,
      { "x-api-key": env.ADMIN_KEY },
      { ...ADMIN, "x-api-key": env.ADMIN_KEY },
      { Authorization: "Bearer nobody" },
      { Authorization: "Bearer " },
      { Authorization: `Basic ${env.ADMIN_KEY}` },
    ];
    for (const credential of wrong) {
      const { body, isRead } = watchedBody();
      const headers = { "Content-Type": "application/json", ...credential };
      const response = await gateway.fetch(path, { method, headers, body });
      expect(response.headers.get("WWW-Authenticate")).toBe("Bearer");
      expect({ credential, ...(await refusal(response)) }).toEqual({ credential, status: 401, code: "unauthorized" });
      expect(isRead()).toBe(false);
    }
  });

  it("lets a virtual key in, in whichever header it comes, and refuses two that differ", async () => {
    const gateway = startGateway(offline);
    const [{ key }, other] = [await createAgent(gateway, []), await createAgent(gateway, [])];
    const places = [
      { Authorization: `Bearer ${key.value}` },
      { "x-bf-vk": key.value },
      { "x-api-key": key.value },
      { Authorization: `Bearer ${key.value}`, "x-bf-vk": key.value, "x-api-key": key.value },
    ];
    for (const headers of places) {
      expect(await refusal(await gateway.fetch(path, { method, headers }))).toMatchObject({ status: 415 });
    }
    const two = { "x-bf-vk": key.value, "x-api-key": other.key.value };
    const response = await gateway.fetch(path, { method, headers: two });
    expect(await refusal(response)).toEqual({ status: 400, code: "ambiguous_credentials" });
  });
});

describe("ADMIN_KEY", () => {
  it.each(["/mcp", "/mcp/docs"])("opens no agent door: %s", async (path) => {
    for (const method of ["POST", "GET", "DELETE"]) {
      const response = await startGateway(offline).fetch(path, { method, headers: ADMIN });
      expect(response.status).toBe(401);
      expect(response.headers.get("WWW-Authenticate")).toMatch(/^Bearer/);
    }
  });

  it("opens nothing where none is configured, not even to an empty one", async () => {
    const gateway = startGateway(offline, { ADMIN_KEY: "" });
    for (const headers of [{ Authorization: "Bearer " }, { Authorization: "Bearer" }, ADMIN]) {
      expect((await gateway.fetch("/v1/servers", { headers })).status).toBe(401);
    }
  });
});

describe("the app", () => {
  it("has no route but its operations and the doors", () => {
    const routes = createApp().routes;
    const routed = routes.filter(({ method }) => method !== "ALL").map(({ method, path }) => `${method} ${path}`);
    const known = [
      ...PAGES,
      ...SIGN_IN,
      ...LINKING,
      ...BIFROST,
      ...specs.map(({ method, path }) => `${method} ${path}`),
    ];
    expect(routed.toSorted()).toEqual(known.toSorted());
    const others = new Set(routes.filter(({ method }) => method === "ALL").map(({ path }) => path));
    expect([...others].toSorted()).toEqual([...new Set([...DOORS, ...specs.map(({ path }) => path)])].toSorted());
  });

  it("lets nobody in without asking, but at the health check", () => {
    const open = specs.filter(({ needs }) => needs === "anyone").map(({ method, path }) => `${method} ${path}`);
    expect(open).toEqual(["GET /v1/health"]);
  });
});

describe("a refusal", () => {
  it("is logged with who, what and why, and never with the credential", async () => {
    const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    const requests = [
      { Authorization: "Bearer guess-me-not" },
      { Authorization: `Bearer ${key.value}` },
      { Authorization: "Bearer sk-pst-guessed", "x-api-key": key.value },
    ];
    for (const headers of requests) {
      await gateway.fetch("/v1/servers?name=x", { headers: { ...headers, "CF-Connecting-IP": "192.0.2.7" } });
    }
    await gateway.fetch("/mcp", { method: "POST", headers: { Authorization: "Bearer guess-me-not" } });
    const lines = warnings.mock.calls.map(([line]) => JSON.parse(line));
    const what = { event: "access_refused", requestId: expect.any(String), method: "GET", path: "/v1/servers" };
    const nobody = { principal: null, org: null, address: "192.0.2.7" };
    const known = { principal: `key:${key.virtual_key_id}`, org: "default", address: "192.0.2.7" };
    expect(lines).toEqual([
      { ...what, code: "unauthorized", ...nobody, why: "A valid credential is required." },
      { ...what, code: "forbidden", ...known, why: "A virtual key opens the agent doors only." },
      { ...what, code: "ambiguous_credentials", ...nobody, why: "The request carries two different keys." },
      {
        ...{ ...what, method: "POST", path: "/mcp" },
        ...{ code: "unauthorized", ...nobody, address: null, why: "A valid credential is required." },
      },
    ]);
    expect(JSON.stringify(lines)).not.toMatch(/guess|sk-pst/);
  });
});
