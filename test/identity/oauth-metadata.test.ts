/** What the doors say of themselves to a client that has no credential, and how they refuse it. */
import { createExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { createApp } from "../../src/app.ts";
import { agentOf, createAgent } from "../support/agent.ts";
import { offline } from "../support/api.ts";
import { ADMIN, startGateway } from "../support/gateway.ts";
import { ORIGIN } from "../support/oauth.ts";

const RESOURCE = "/.well-known/oauth-protected-resource";
const SERVER = "/.well-known/oauth-authorization-server";

describe("the metadata of a door", () => {
  it.each([
    [RESOURCE, "/mcp"],
    [`${RESOURCE}/mcp`, "/mcp"],
    [`${RESOURCE}/mcp/ledger`, "/mcp/ledger"],
    [`${RESOURCE}/mcp/Ledger`, "/mcp/Ledger"],
    [`${RESOURCE}/mcp/${"a".repeat(63)}`, `/mcp/${"a".repeat(63)}`],
  ])("%s names %s, whether or not there is such a server [P-53, R-7]", async (path, door) => {
    const response = await startGateway(offline).fetch(path);
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toBe("application/json");
    expect(response.headers.get("Access-Control-Allow-Origin")).toBe("*");
    expect(await response.json()).toEqual({
      resource: `${ORIGIN}${door}`,
      authorization_servers: [ORIGIN],
      scopes_supported: ["mcp"],
      bearer_methods_supported: ["header"],
    });
  });

  it("says the same of a server that exists and of one that does not", async () => {
    const gateway = startGateway(offline);
    await agentOf(gateway, { name: "ledger", enabled: false });
    const told = async (name: string) => {
      const response = await gateway.fetch(`${RESOURCE}/mcp/${name}`);
      const headers = [...response.headers].filter(([header]) => header !== "x-request-id");
      return { headers, status: response.status, body: (await response.text()).replaceAll(name, "NAME") };
    };
    expect(await told("ledger")).toEqual(await told("nobody"));
  });

  it("names the operator's issuer too where its tokens are accepted", async () => {
    const vars = { OIDC_ISSUER: "https://id.example", OIDC_AUDIENCE: `${ORIGIN}/mcp` };
    const response = await startGateway(offline, vars).fetch(`${RESOURCE}/mcp`);
    expect(await response.json()).toMatchObject({ authorization_servers: [ORIGIN, "https://id.example"] });
  });

  it.each(["/mcp/", "/mcp/a_b", `/mcp/${"a".repeat(64)}`, "/mcp/a/b", "/v1"])("is not there for %s", async (path) => {
    expect((await startGateway(offline).fetch(`${RESOURCE}${path}`)).status).toBe(404);
  });

  it("is for pages of every origin to read, and for nobody to write", async () => {
    const gateway = startGateway(offline);
    const preflight = await gateway.fetch(`${RESOURCE}/mcp`, {
      method: "OPTIONS",
      headers: { Origin: "https://page.example", "Access-Control-Request-Method": "GET" },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("Access-Control-Allow-Origin")).toBe("*");
    expect(preflight.headers.get("Access-Control-Allow-Headers")).toBe("MCP-Protocol-Version");
    const post = await gateway.fetch(`${RESOURCE}/mcp`, { method: "POST" });
    expect({ status: post.status, allow: post.headers.get("Allow") }).toEqual({
      status: 405,
      allow: "GET, HEAD, OPTIONS",
    });
    expect(await post.json()).toMatchObject({ error: "invalid_request" });
    const head = await gateway.fetch(`${RESOURCE}/mcp`, { method: "HEAD" });
    expect({ status: head.status, body: await head.text() }).toEqual({ status: 200, body: "" });
  });
});

describe("the metadata of the authorization server", () => {
  it("is whole (RFC 8414)", async () => {
    const response = await startGateway(offline).fetch(SERVER);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      issuer: ORIGIN,
      authorization_endpoint: `${ORIGIN}/oauth/authorize`,
      token_endpoint: `${ORIGIN}/oauth/token`,
      registration_endpoint: `${ORIGIN}/oauth/register`,
      revocation_endpoint: `${ORIGIN}/oauth/token`,
      protected_resources: [`${ORIGIN}/mcp`],
      scopes_supported: ["mcp"],
      response_types_supported: ["code"],
      response_modes_supported: ["query"],
      grant_types_supported: ["authorization_code", "refresh_token"],
      token_endpoint_auth_methods_supported: expect.arrayContaining(["none", "client_secret_basic"]),
      token_endpoint_auth_signing_alg_values_supported: ["RS256", "ES256"],
      code_challenge_methods_supported: ["S256"],
      authorization_response_iss_parameter_supported: true,
      client_id_metadata_document_supported: true,
    });
  });

  it("is for pages of every origin to read", async () => {
    const headers = { Origin: "https://page.example" };
    for (const method of ["GET", "OPTIONS"]) {
      const response = await startGateway(offline).fetch(SERVER, { method, headers });
      expect(response.headers.get("Access-Control-Allow-Origin")).toBe("https://page.example");
    }
  });

  it("is not given over plain http, but on this machine", async () => {
    const ask = (origin: string) =>
      createApp().fetch(new Request(`${origin}${SERVER}`), { ...env } as unknown as Env, createExecutionContext());
    expect((await ask("http://gateway.example")).status).toBe(400);
    const local = await ask("http://127.0.0.1:8787");
    expect(await local.json()).toMatchObject({ issuer: "http://127.0.0.1:8787" });
  });
});

describe("a request without a good credential", () => {
  const bodies = {
    modern: { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list" },
    legacy: {},
  };
  const credentials: [string, Record<string, string>][] = [
    ["none", {}],
    ["an unknown key", { Authorization: "Bearer sk-pst-nobody" }],
    ["an unknown key in x-api-key", { "x-api-key": "sk-pst-nobody" }],
    ["an unknown key in x-bf-vk", { "x-bf-vk": "sk-pst-nobody" }],
    ["a token of nobody", { Authorization: "Bearer nobody" }],
    [
      "a token that looks like ours",
      { Authorization: `Bearer gra_${"0".repeat(26)}:${"a".repeat(16)}:${"b".repeat(32)}` },
    ],
    ["ADMIN_KEY", ADMIN],
    ["another scheme", { Authorization: "Basic abc" }],
  ];

  describe.each(["/mcp", "/mcp/ledger", "/mcp/Ledger"])("at %s", (path) => {
    it.each(credentials)("is told where to sign in: %s [BF-63, P-53, T-41]", async (_, headers) => {
      const gateway = startGateway(offline);
      const asked = Object.keys(headers).length === 0 ? "" : ', error="invalid_token"';
      for (const method of ["POST", "GET", "DELETE"]) {
        for (const era of Object.values(bodies)) {
          const body = method === "POST" ? '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}' : null;
          const all = { "Content-Type": "application/json", ...era, ...headers };
          const response = await gateway.fetch(path, { method, headers: all, body });
          expect({ method, status: response.status, told: response.headers.get("WWW-Authenticate") }).toEqual({
            method,
            status: 401,
            told: `Bearer resource_metadata="${ORIGIN}${RESOURCE}${path}", scope="mcp"${asked}`,
          });
        }
      }
    });
  });

  it("is the only one that GET has something to say to [T-41]", async () => {
    const gateway = startGateway(offline);
    const { key } = await createAgent(gateway, []);
    for (const path of ["/mcp", "/mcp/ledger"]) {
      for (const Accept of ["text/event-stream", "application/json", "*/*"]) {
        const response = await gateway.fetch(path, { headers: { Authorization: `Bearer ${key.value}`, Accept } });
        expect({ status: response.status, body: await response.text() }).toEqual({ status: 405, body: "" });
      }
    }
  });

  it("sees the challenge from a page, too", async () => {
    const response = await startGateway(offline).fetch("/mcp", { method: "POST", headers: { Origin: ORIGIN } });
    expect(response.headers.get("Access-Control-Expose-Headers")).toContain("WWW-Authenticate");
  });
});
