/** Registering as a client: what is sent, what is taken, and what an admin is told. */
import { describe, expect, it } from "vitest";
import { registerClient } from "../../src/credentials/registration.ts";
import { guardedFetch } from "../../src/platform/guarded-fetch.ts";
import { authorizationServer } from "../support/authorization-server.ts";

const REDIRECTS = ["https://gateway.example/connect/callback", "https://gateway.example/api/oauth/callback"];

interface Wish {
  readonly registration_endpoint?: string | null;
  readonly token_auth_methods?: readonly string[];
  readonly scopes?: readonly string[];
  readonly timeoutMs?: number;
}

function world() {
  const upstream = authorizationServer({ clock: () => 0 });
  const asked: string[] = [];
  const network = (url: string, init: RequestInit) => {
    asked.push(url);
    return upstream.network(new Request(url, init));
  };
  const register = ({
    registration_endpoint = upstream.at("/register"),
    token_auth_methods = [],
    scopes = ["read"],
    timeoutMs = 5_000,
  }: Wish = {}) =>
    registerClient(
      { send: guardedFetch({ network, allowInsecure: false }), timeoutMs },
      { server: { registration_endpoint, token_auth_methods }, redirectUris: REDIRECTS, scopes },
    );
  return { upstream, register, asked };
}

const failure = (kind: "unreachable" | "unusable", field?: string) => ({
  ok: false,
  failure: { kind, message: expect.stringMatching(/^[A-Z][^<]+\.$/), ...(field === undefined ? {} : { field }) },
});

describe("a registration", () => {
  it("says what the gateway is, with both of its callbacks [BF-27]", async () => {
    const { upstream, register } = world();
    const registered = await register({ scopes: ["read", "write"] });
    expect(registered).toEqual({
      ok: true,
      value: {
        client_id: expect.stringMatching(/^client-/),
        client_secret: null,
        token_auth_method: "none",
        secret_expires_at: null,
      },
    });
    const [asked] = upstream.requests;
    expect(asked?.method).toBe("POST");
    expect(asked?.headers.get("Content-Type")).toBe("application/json");
    expect(JSON.parse(asked?.text ?? "")).toEqual({
      client_name: "Postern",
      application_type: "web",
      redirect_uris: REDIRECTS,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      scope: "read write",
    });
  });

  it.each([400, 403])("that is refused with %d for its scopes is tried without them", async (status) => {
    const { upstream, register } = world();
    upstream.failNext("registration", status);
    expect(await register()).toMatchObject({ ok: true, value: { token_auth_method: "none" } });
    const [first, second] = upstream.requests.map(({ text }) => JSON.parse(text) as Record<string, unknown>);
    expect({ ...second, scope: "read" }).toEqual(first);
    expect(second).not.toHaveProperty("scope");
  });

  it("names no scope when there is none to ask for", async () => {
    const { upstream, register } = world();
    await register({ scopes: [] });
    expect(JSON.parse(upstream.requests[0]?.text ?? "")).not.toHaveProperty("scope");
  });

  it.each([
    [[], "none"],
    [["client_secret_basic", "none"], "none"],
    [["client_secret_post", "client_secret_basic"], "client_secret_basic"],
    [["private_key_jwt", "client_secret_post"], "client_secret_post"],
  ])("where %j is listed is for %s, with a secret where there is one [BF-27]", async (methods, method) => {
    const { upstream, register } = world();
    const registered = await register({ token_auth_methods: methods });
    const [client] = upstream.clients.values();
    expect(client?.token_endpoint_auth_method).toBe(method);
    expect(registered).toMatchObject({
      value: { token_auth_method: method, client_secret: client?.client_secret ?? null, secret_expires_at: null },
    });
  });

  it("for none of our proofs is not tried", async () => {
    const { register, asked } = world();
    const methods = ["private_key_jwt", "tls_client_auth"];
    expect(await register({ token_auth_methods: methods })).toEqual(failure("unusable", "client_id"));
    expect(asked).toEqual([]);
  });

  it.each<[string, readonly string[], object, object]>([
    [
      "another method",
      [],
      { client_secret: "s", token_endpoint_auth_method: "client_secret_post" },
      { token_auth_method: "client_secret_post", client_secret: "s" },
    ],
    [
      "a secret without a method",
      [],
      { client_secret: "s", token_endpoint_auth_method: undefined },
      { token_auth_method: "client_secret_basic", client_secret: "s" },
    ],
    [
      "a secret without a method, for a body only",
      ["none", "client_secret_post"],
      { client_secret: "s", token_endpoint_auth_method: undefined },
      { token_auth_method: "client_secret_post", client_secret: "s" },
    ],
    [
      "a secret that is not asked for",
      [],
      { client_secret: "s", token_endpoint_auth_method: "none" },
      { token_auth_method: "none", client_secret: "s" },
    ],
    [
      "a method without a secret",
      [],
      { token_endpoint_auth_method: "client_secret_basic" },
      { token_auth_method: "none", client_secret: null },
    ],
    [
      "an empty secret",
      [],
      { client_secret: "", token_endpoint_auth_method: null },
      { token_auth_method: "none", client_secret: null },
    ],
    [
      "a secret that ends",
      ["client_secret_basic"],
      { client_secret: "s", client_secret_expires_at: 1_900_000_000 },
      { token_auth_method: "client_secret_basic", client_secret: "s", secret_expires_at: 1_900_000_000_000 },
    ],
    [
      "an end that is no number",
      ["client_secret_basic"],
      { client_secret: "s", client_secret_expires_at: "never" },
      { token_auth_method: "client_secret_basic", client_secret: "s" },
    ],
  ])("that is answered with %s keeps it [BF-27, CN-19]", async (_, token_auth_methods, registered, expected) => {
    const { upstream, register } = world();
    upstream.behaviour.registered = { client_id: "given", ...registered };
    expect(await register({ token_auth_methods })).toEqual({
      ok: true,
      value: { client_id: "given", secret_expires_at: null, ...expected },
    });
  });

  it.each([200, 201])("is taken with status %d [BF-27]", async (status) => {
    const { upstream, register } = world();
    upstream.failNext("registration", () => Response.json({ client_id: "given" }, { status }));
    expect(await register()).toMatchObject({ ok: true, value: { client_id: "given" } });
  });
});

describe("a registration that fails", () => {
  it.each<[string, () => Response]>([
    ["without a client id", () => Response.json({ client_secret: "c4n4ry" }, { status: 201 })],
    ["with a client id that no header carries", () => Response.json({ client_id: "a\nb" }, { status: 201 })],
    ["with a page", () => new Response("<html>c4n4ry", { status: 201 })],
    ["with status 202", () => Response.json({ client_id: "given" }, { status: 202 })],
    ["with more than it may", () => Response.json({ client_id: "given", padding: "x".repeat(256 * 1024) })],
    [
      "for a method that we do not speak",
      () => Response.json({ client_id: "a", token_endpoint_auth_method: "tls_client_auth" }),
    ],
    [
      "for a key that we do not have",
      () => Response.json({ client_id: "a", token_endpoint_auth_method: "private_key_jwt" }),
    ],
    ["with 400", () => Response.json({ error: "invalid_redirect_uri", error_description: "c4n4ry" }, { status: 400 })],
    ["with 404", () => new Response("c4n4ry", { status: 404 })],
  ])("%s leads to a client by hand [T-2]", async (_, answer) => {
    const { upstream, register } = world();
    upstream.failAlways("registration", answer);
    const registered = await register();
    expect(registered).toEqual(failure("unusable", "client_id"));
    expect(JSON.stringify(registered)).not.toContain("c4n4ry");
  });

  it.each([401, 403])("with %d says that a token is wanted [R-8]", async (status) => {
    const { upstream, register } = world();
    upstream.failAlways("registration", status);
    const registered = await register();
    expect(registered).toEqual(failure("unusable", "client_id"));
    expect(registered.ok ? "" : registered.failure.message).toContain("without a token");
  });

  it.each<["break" | "drop" | "hang" | number]>([["break"], ["drop"], ["hang"], [429], [500], [503]])(
    "for the moment (%s) may do better later, and is not sent twice",
    async (fault) => {
      const { upstream, register } = world();
      upstream.failNext("registration", fault);
      expect(await register({ timeoutMs: fault === "hang" ? 30 : 5_000 })).toEqual(failure("unreachable"));
      expect(upstream.to("registration")).toHaveLength(1);
    },
  );

  it("for want of an endpoint leads to a client by hand", async () => {
    const { register, asked } = world();
    expect(await register({ registration_endpoint: null })).toEqual(failure("unusable", "client_id"));
    expect(asked).toEqual([]);
  });

  it("at an address that may not be fetched is not sent [PS-61]", async () => {
    const { register, asked } = world();
    const registration_endpoint = "https://10.0.0.1/register";
    expect(await register({ registration_endpoint })).toEqual(failure("unusable", "registration_endpoint"));
    expect(asked).toEqual([]);
  });

  it("with a redirect to another origin goes no further [T-6]", async () => {
    const { upstream, register, asked } = world();
    const headers = { Location: "https://evil.example/register" };
    upstream.failNext("registration", () => new Response(null, { status: 307, headers }));
    expect(await register()).toEqual(failure("unusable", "registration_endpoint"));
    expect(asked).toEqual([upstream.at("/register")]);
  });
});
