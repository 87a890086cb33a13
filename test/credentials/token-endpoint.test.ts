/** Every grant and the revocation: what is sent, how often, and what came of it. */
import { exportJWK, exportPKCS8, generateKeyPair } from "jose";
import { describe, expect, it } from "vitest";
import { authorizationUrl, checkCallback } from "../../src/credentials/authorization-request.ts";
import { type TokenAuthMethod, tokenAuthMethodFor } from "../../src/credentials/client-proof.ts";
import type { TokenOutcome } from "../../src/credentials/token-answer.ts";
import {
  clientCredentials,
  exchangeAssertion,
  exchangeCode,
  exchangeToken,
  type OAuthClient,
  refresh,
  revoke,
  type TokenDeps,
} from "../../src/credentials/token-endpoint.ts";
import { guardedFetch } from "../../src/platform/guarded-fetch.ts";
import { Secret } from "../../src/platform/secret.ts";
import { authorizationServer, type Fault, type UpstreamClient } from "../support/authorization-server.ts";

/** Far from the system's time: whoever asks that one is found out. */
const NOW = Date.UTC(2031, 4, 5, 6, 7, 8);
const REDIRECT = "https://gateway.example/connect/callback";
const VERIFIER = "v".repeat(43);
/** What a form encodes, and what only some encode. */
const SECRET = "c4n4ry-:/% +&=_~é";

/** An authorization server with one client, and that client. */
function world(registered: Partial<UpstreamClient> = {}, ours: Partial<OAuthClient> = {}) {
  const upstream = authorizationServer({ clock: () => NOW });
  upstream.addClient({ client_id: "client-1", redirect_uris: [REDIRECT], ...registered });
  const urls: string[] = [];
  const pauses: number[] = [];
  const network = (url: string, init: RequestInit) => {
    urls.push(url);
    return upstream.network(new Request(url, init));
  };
  const deps: TokenDeps = {
    send: guardedFetch({ network, allowInsecure: false }),
    clock: () => NOW,
    pause: async (ms) => void pauses.push(ms),
  };
  const client: OAuthClient = {
    issuer: upstream.issuer,
    token_endpoint: upstream.at("/token"),
    client_id: "client-1",
    client_secret: null,
    token_auth_method: null,
    resource: upstream.resource,
    ...ours,
  };
  return { upstream, deps, client, urls, pauses };
}

type World = ReturnType<typeof world>;

/** The code that a person's consent brings. */
async function codeOf({ upstream, client }: World, scopes = ["read"]): Promise<string> {
  const { client_id, resource, issuer } = client;
  const asked = { client_id, resource, scopes, redirectUri: REDIRECT, verifier: VERIFIER, state: "the-state" };
  const to = { authorization_endpoint: upstream.at("/authorize"), extra_auth_params: {} };
  const back = new URL(upstream.visit(await authorizationUrl({ ...asked, ...to }, false)));
  const checked = checkCallback(back.searchParams, { issuer, iss_required: true, state: "the-state" });
  if (!checked.ok) throw new Error(checked.message);
  return checked.code;
}

const redeem = async (made: World, changes: object = {}) =>
  exchangeCode(made.deps, made.client, {
    ...{ code: await codeOf(made), redirectUri: REDIRECT, verifier: VERIFIER },
    ...changes,
  });

/** A refresh token that is good. */
async function refreshTokenOf(made: World): Promise<string> {
  const outcome = await redeem(made);
  made.upstream.requests.length = 0;
  return (outcome.ok && outcome.answer.refresh_token) || "none";
}

const refused = (refusal: string) => ({ ok: false, refusal, message: expect.stringMatching(/^[A-Z][^<]+\.$/) });
const isOk = ({ ok }: TokenOutcome) => ok;

describe("a code", () => {
  it("becomes tokens, with its verifier and redirect, for one resource [CN-28, P-59]", async () => {
    const made = world();
    const outcome = await redeem(made);
    const [issued] = made.upstream.issued;
    expect(outcome).toEqual({
      ok: true,
      answer: {
        access_token: issued?.access_token,
        refresh_token: issued?.refresh_token,
        token_type: "Bearer",
        expires_in: 3600,
        scopes: ["read"],
      },
    });
    expect(made.upstream.isGood(issued?.access_token ?? "")).toBe(true);
    const [asked] = made.upstream.to("token");
    expect(asked?.headers.get("Accept")).toBe("application/json");
    expect(asked?.params).toEqual({
      grant_type: "authorization_code",
      code: expect.stringMatching(/^code-/),
      redirect_uri: REDIRECT,
      code_verifier: VERIFIER,
      client_id: "client-1",
      resource: made.upstream.resource,
    });
  });

  it.each([
    ["another verifier", { verifier: "w".repeat(43) }],
    ["another redirect", { redirectUri: `${REDIRECT}/` }],
    ["a code that nobody gave", { code: "c4n4ry" }],
  ])("with %s is refused, and the server's words go nowhere [T-2]", async (_, changes) => {
    const outcome = await redeem(world(), changes);
    expect(outcome).toEqual(refused("grant_refused"));
    expect(JSON.stringify(outcome)).not.toMatch(/c4n4ry|timeout|vvv|www/);
  });

  it("is good once", async () => {
    const made = world();
    const code = await codeOf(made);
    expect(isOk(await redeem(made, { code }))).toBe(true);
    expect(await redeem(made, { code })).toEqual(refused("grant_refused"));
  });

  it.each<[Fault, string]>([
    ["break", "unavailable"],
    ["drop", "unavailable"],
    [500, "unavailable"],
    [502, "unavailable"],
    [400, "refused"],
  ])("is never sent twice when the request may have arrived (%s)", async (fault, refusal) => {
    const made = world();
    made.upstream.failNext("token", fault);
    expect(await redeem(made)).toEqual(refused(refusal));
    expect(made.upstream.to("token")).toHaveLength(1);
  });

  it.each([429, 503])("is sent again after %d, which says that it was not looked at [BF-49]", async (status) => {
    const made = world();
    made.upstream.failNext("token", status, status);
    expect(isOk(await redeem(made))).toBe(true);
    expect([made.upstream.to("token").length, made.pauses]).toEqual([3, [1_000, 2_000]]);
  });
});

describe("a refresh token", () => {
  it("becomes an access token and a refresh token that replaces it [CN-17]", async () => {
    const made = world();
    const refresh_token = await refreshTokenOf(made);
    const outcome = await refresh(made.deps, made.client, { refresh_token });
    const issued = made.upstream.issued.at(-1);
    expect(outcome).toMatchObject({
      ok: true,
      answer: { access_token: issued?.access_token, refresh_token: issued?.refresh_token, expires_in: 3600 },
    });
    expect(issued?.refresh_token).not.toBe(refresh_token);
    expect(made.upstream.requests.map(({ params }) => params)).toEqual([
      { grant_type: "refresh_token", refresh_token, client_id: "client-1", resource: made.upstream.resource },
    ]);
  });

  it("may ask for fewer scopes", async () => {
    const made = world();
    const refresh_token = await refreshTokenOf(made);
    await refresh(made.deps, made.client, { refresh_token, scopes: ["read"] });
    expect(made.upstream.requests[0]?.params["scope"]).toBe("read");
  });

  it("that is not rotated is not named again", async () => {
    const made = world();
    made.upstream.behaviour.rotates = false;
    const refresh_token = await refreshTokenOf(made);
    expect(await refresh(made.deps, made.client, { refresh_token })).toMatchObject({ answer: { refresh_token: null } });
    expect(isOk(await refresh(made.deps, made.client, { refresh_token }))).toBe(true);
  });

  it("that was used before is refused, as all that came of it", async () => {
    const made = world();
    const refresh_token = await refreshTokenOf(made);
    const second = await refresh(made.deps, made.client, { refresh_token });
    expect(await refresh(made.deps, made.client, { refresh_token })).toEqual(refused("grant_refused"));
    expect(second.ok && made.upstream.isGood(second.answer.access_token)).toBe(false);
  });

  it.each([
    ["form-encoded", { formEncoded: true }, { expires_in: 3600 }],
    ["with a text for a number", { expiresIn: "1800" }, { expires_in: 1800 }],
    ["without a lifetime", { expiresIn: undefined }, { expires_in: null }],
    ["without a type", { answer: { token_type: undefined } }, { token_type: "Bearer" }],
    ["without scopes", { answer: { scope: undefined } }, { scopes: null }],
  ])("is answered %s, and that is read [BF-49, CN-20]", async (_, behaviour, expected) => {
    const made = world();
    const refresh_token = await refreshTokenOf(made);
    Object.assign(made.upstream.behaviour, behaviour);
    expect(await refresh(made.deps, made.client, { refresh_token })).toMatchObject({ ok: true, answer: expected });
  });
});

describe("trying again", () => {
  it.each<[Fault]>([["break"], [429], [500], [502], [503], [599]])(
    "helps after %s, with pauses of one and two seconds [BF-49]",
    async (fault) => {
      const made = world();
      const refresh_token = await refreshTokenOf(made);
      made.upstream.failNext("token", fault, fault);
      expect(isOk(await refresh(made.deps, made.client, { refresh_token }))).toBe(true);
      expect([made.upstream.requests.length, made.pauses]).toEqual([3, [1_000, 2_000]]);
    },
  );

  it.each<[Fault]>([["break"], [429], [500]])("ends after the third attempt (%s) [BF-49]", async (fault) => {
    const made = world();
    made.upstream.failAlways("token", fault);
    expect(await refresh(made.deps, made.client, { refresh_token: "c4n4ry" })).toEqual(refused("unavailable"));
    expect([made.upstream.requests.length, made.pauses]).toEqual([3, [1_000, 2_000]]);
  });

  it.each<[string, Fault, string]>([
    ["invalid_grant", "invalid_grant", "grant_refused"],
    ["unauthorized_client", "unauthorized_client", "grant_refused"],
    ["invalid_client", "invalid_client", "client_refused"],
    ["401 without a code", 401, "client_refused"],
    ["400 without a code", 400, "refused"],
    ["403", 403, "refused"],
    ["404", 404, "refused"],
    ["400 with words", answering({ error: "invalid_request", error_description: "timeout 503" }, 400), "refused"],
    ["an error with 200", answering({ error: "server_error" }), "unavailable"],
    ["a page", () => new Response("<html>503</html>"), "unavailable"],
    ["more than it may", answering({ access_token: "at", padding: "x".repeat(256 * 1024) }), "unavailable"],
    ["what is no text", () => new Response(new Uint8Array([0xff, 0xfe])), "unavailable"],
    ["half an answer", cutOff, "unavailable"],
  ])("does not help after %s [BF-49, CN-20, T-42]", async (_, fault, refusal) => {
    const made = world();
    made.upstream.failAlways("token", fault);
    expect(await refresh(made.deps, made.client, { refresh_token: "c4n4ry" })).toEqual(refused(refusal));
    expect([made.upstream.requests.length, made.pauses]).toEqual([1, []]);
  });

  it("is not for what took too long [BF-49]", async () => {
    const made = world();
    made.upstream.failAlways("token", "hang");
    const deps = { ...made.deps, timeoutMs: 30 };
    expect(await refresh(deps, made.client, { refresh_token: "rt" })).toEqual(refused("unavailable"));
    expect([made.upstream.requests.length, made.pauses]).toEqual([1, []]);
  });

  it("ends with the time that is left for all attempts together [BF-49]", async () => {
    const made = world();
    made.upstream.failAlways("token", 503);
    const outlasting = () => new Promise<void>((resolve) => setTimeout(resolve, 60));
    const deps = { ...made.deps, timeoutMs: 30, pause: outlasting };
    expect(await refresh(deps, made.client, { refresh_token: "rt" })).toEqual(refused("unavailable"));
    expect(made.upstream.requests).toHaveLength(1);
  });
});

describe("the proof of the client", () => {
  const forms = [SECRET, "plain-secret_1.2*", "a:b"];
  it.each(forms)("is Basic with a secret, both form-encoded first: %s [CN-19]", async (client_secret) => {
    const made = world({ client_id: "client:1/%-é", client_secret }, { client_id: "client:1/%-é", client_secret });
    expect(isOk(await redeem(made))).toBe(true);
    const [asked] = made.upstream.to("token");
    expect(asked?.params).not.toHaveProperty("client_id");
    expect(asked?.text).not.toContain("client_secret");
  });

  it("leaves what a form leaves as it is, for servers that do not decode", async () => {
    const made = world({ client_secret: "pre-registered_secret.1" }, { client_secret: "pre-registered_secret.1" });
    await redeem(made);
    const [asked] = made.upstream.to("token");
    expect(asked?.headers.get("Authorization")).toBe(`Basic ${btoa("client-1:pre-registered_secret.1")}`);
  });

  it.each([
    ["client_secret_post", SECRET, { client_id: "client-1", client_secret: SECRET }],
    ["client_secret_basic", SECRET, {}],
    ["none", null, { client_id: "client-1" }],
  ] as const)("is what the registration says: %s [CN-19]", async (token_auth_method, secret, expected) => {
    const registered = secret === null ? {} : { client_secret: secret };
    const client_secret = secret === null ? null : new Secret(secret);
    const made = world(
      { ...registered, token_endpoint_auth_method: token_auth_method },
      { client_secret, token_auth_method },
    );
    expect(isOk(await redeem(made))).toBe(true);
    const { client_id, client_secret: sent } = made.upstream.to("token")[0]?.params ?? {};
    expect(JSON.parse(JSON.stringify({ client_id, client_secret: sent }))).toEqual(expected);
  });

  it.each<[string | null, readonly string[], TokenAuthMethod]>([
    [null, ["client_secret_basic"], "none"],
    ["", ["client_secret_basic"], "none"],
    ["s", [], "client_secret_basic"],
    ["s", ["none", "client_secret_post", "client_secret_basic"], "client_secret_basic"],
    ["s", ["none", "client_secret_post"], "client_secret_post"],
    ["s", ["tls_client_auth"], "client_secret_basic"],
    ["\n-----BEGIN PRIVATE KEY-----\n", ["client_secret_basic"], "private_key_jwt"],
  ])("of %j where %j is listed is %s [CN-19]", (secret, listed, method) => {
    expect(tokenAuthMethodFor(secret, listed)).toBe(method);
    expect(tokenAuthMethodFor(secret === null ? null : new Secret(secret), listed)).toBe(method);
  });

  it("of a client that has none is its id, whatever was said", async () => {
    const made = world({}, { token_auth_method: "client_secret_basic" });
    expect(isOk(await redeem(made))).toBe(true);
  });

  it("shows no secret when it is refused [T-2]", async () => {
    const made = world({ client_secret: "another" }, { client_secret: new Secret("c4n4ry") });
    const outcome = await redeem(made);
    expect(outcome).toEqual(refused("client_refused"));
    expect(JSON.stringify(outcome)).not.toContain("c4n4ry");
  });

  it.each(["ES256", "ES384", "ES512", "Ed25519", "RS256"])(
    "is an assertion of its own for each attempt, signed with a key for %s",
    async (algorithm) => {
      const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
      const made = world(
        { token_endpoint_auth_method: "private_key_jwt", jwk: { ...(await exportJWK(publicKey)), alg: algorithm } },
        { client_secret: `\n${await exportPKCS8(privateKey)}\n` },
      );
      made.upstream.failNext("token", 503);
      const outcome = await clientCredentials(made.deps, made.client, { scopes: ["read"] });
      expect(outcome).toMatchObject({ ok: true, answer: { refresh_token: null, scopes: ["read"] } });
      const assertions = made.upstream.requests.map(({ params }) => params["client_assertion"]);
      expect(new Set(assertions).size).toBe(2);
    },
  );

  it.each(["", "c4n4ry", "-----BEGIN PRIVATE KEY-----\nYzRuNHJ5\n-----END PRIVATE KEY-----"])(
    "is not tried with what is no key: %j",
    async (client_secret) => {
      const made = world({}, { token_auth_method: "private_key_jwt", client_secret });
      const outcome = await clientCredentials(made.deps, made.client, { scopes: [] });
      expect(outcome).toEqual(refused("client_refused"));
      expect(JSON.stringify(outcome)).not.toMatch(/c4n4ry|YzRuNHJ5/);
      const revocation_endpoint = made.upstream.at("/revoke");
      const client = { ...made.client, revocation_endpoint };
      expect(await revoke(made.deps, client, { token: "t", hint: "access_token" })).toBe(false);
      expect(made.urls).toEqual([]);
    },
  );
});

describe("a client without a user", () => {
  it.each([
    [["read", "write"], { scope: "read write" }],
    [[], {}],
  ])("gets a token of its own for %j [P-59]", async (scopes, expected) => {
    const made = world({ client_secret: SECRET }, { client_secret: SECRET });
    const outcome = await clientCredentials(made.deps, made.client, { scopes });
    expect(outcome).toMatchObject({ ok: true, answer: { refresh_token: null } });
    expect(made.upstream.requests[0]?.params).toEqual({
      grant_type: "client_credentials",
      resource: made.upstream.resource,
      ...expected,
    });
  });

  it("gets none without a proof", async () => {
    const made = world();
    expect(await clientCredentials(made.deps, made.client, { scopes: [] })).toEqual(refused("grant_refused"));
  });
});

describe("a token of somebody", () => {
  it("becomes one that the server takes", async () => {
    const made = world();
    const outcome = await exchangeToken(made.deps, made.client, { subject_token: "theirs", scopes: ["read"] });
    expect(outcome).toMatchObject({ ok: true, answer: { scopes: ["read"] } });
    expect(made.upstream.issued[0]?.user).toBe("subject of theirs");
    expect(made.upstream.requests[0]?.params).toEqual({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: "theirs",
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
      scope: "read",
      resource: made.upstream.resource,
      client_id: "client-1",
    });
  });

  it("may be of a kind, and for somebody else (protocol.md 6.4)", async () => {
    const made = world();
    const wish = { subject: "id_token", requested: "id-jag", audience: "https://other.example" } as const;
    await exchangeToken(made.deps, made.client, { subject_token: "theirs", scopes: [], ...wish });
    expect(made.upstream.requests[0]?.params).toEqual({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: "theirs",
      subject_token_type: "urn:ietf:params:oauth:token-type:id_token",
      requested_token_type: "urn:ietf:params:oauth:token-type:id-jag",
      audience: "https://other.example",
      resource: made.upstream.resource,
      client_id: "client-1",
    });
  });

  it("may be an assertion", async () => {
    const made = world();
    made.upstream.failNext("token", () => Response.json({ access_token: "at" }));
    expect(isOk(await exchangeAssertion(made.deps, made.client, { assertion: "x.y.z", scopes: ["read"] }))).toBe(true);
    expect(made.upstream.requests[0]?.params).toEqual({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      assertion: "x.y.z",
      scope: "read",
      resource: made.upstream.resource,
      client_id: "client-1",
    });
  });
});

describe("a revocation", () => {
  const revoking = async (made: World, token: string, timeoutMs = 5_000) => {
    const client = { ...made.client, revocation_endpoint: made.upstream.at("/revoke") };
    return revoke({ ...made.deps, timeoutMs }, client, { token, hint: "refresh_token" });
  };

  it("ends a token and all that came of it", async () => {
    const made = world({ client_secret: SECRET }, { client_secret: new Secret(SECRET) });
    const token = await refreshTokenOf(made);
    const access = made.upstream.issued[0]?.access_token ?? "";
    expect(made.upstream.isGood(access)).toBe(true);
    expect(await revoking(made, token)).toBe(true);
    expect(made.upstream.isGood(access)).toBe(false);
    expect(made.upstream.to("revocation").map(({ params }) => params)).toEqual([
      { token, token_type_hint: "refresh_token" },
    ]);
  });

  it.each<[Fault]>([["break"], ["drop"], ["hang"], [400], [401], [404], [429], [500], [503]])(
    "that fails (%s) throws nothing, and is not tried again",
    async (fault) => {
      const made = world();
      made.upstream.failAlways("revocation", fault);
      expect(await revoking(made, "c4n4ry", 30)).toBe(false);
      expect([made.upstream.to("revocation").length, made.pauses]).toEqual([1, []]);
    },
  );

  it.each(["", "not a url", "https://10.0.0.1/revoke", "http://as.example/revoke"])(
    "at %j is not sent [PS-61]",
    async (revocation_endpoint) => {
      const made = world();
      const client = { ...made.client, revocation_endpoint };
      expect(await revoke(made.deps, client, { token: "t", hint: "access_token" })).toBe(false);
      expect(made.urls).toEqual([]);
    },
  );
});

describe("the way there", () => {
  it.each<Partial<OAuthClient>>([{ token_endpoint: "" }, { token_endpoint: "not a url" }, { client_id: "" }])(
    "is nowhere with %j [CN-19]",
    async (changes) => {
      const made = world({}, changes);
      expect(await refresh(made.deps, made.client, { refresh_token: "rt" })).toEqual(refused("refused"));
      expect(made.urls).toEqual([]);
    },
  );

  it.each(["http://as.example/token", "https://10.0.0.1/token", "https://me:c4n4ry@as.example/token"])(
    "is not gone to %s [PS-61]",
    async (token_endpoint) => {
      const made = world({}, { token_endpoint });
      const outcome = await refresh(made.deps, made.client, { refresh_token: "rt" });
      expect(outcome).toEqual(refused("unavailable"));
      expect(JSON.stringify(outcome)).not.toContain("c4n4ry");
      expect([made.urls, made.pauses]).toEqual([[], []]);
    },
  );

  it("does not lead on to another origin, and carries no credential there [T-6, P-64]", async () => {
    const made = world({ client_secret: SECRET }, { client_secret: SECRET });
    for (const [status, to] of [
      [307, "https://evil.example/token"],
      [302, "https://as.example/elsewhere"],
    ] as const) {
      made.upstream.failAlways("token", () => new Response(null, { status, headers: { Location: to } }));
      expect(await refresh(made.deps, made.client, { refresh_token: "rt" })).toEqual(refused("unavailable"));
    }
    expect(made.urls).toEqual(Array(2).fill(made.upstream.at("/token")));
    expect(made.pauses).toEqual([]);
  });

  it("of a client whose issuer nobody knows is as good", async () => {
    expect(isOk(await clientCredentials(...knownOnly({ issuer: "" })))).toBe(true);
    expect(isOk(await clientCredentials(...knownOnly({ resource: "" })))).toBe(true);
  });

  const knownOnly = (changes: Partial<OAuthClient>) => {
    const { deps, client } = world({ client_secret: "s" }, { client_secret: "s", ...changes });
    return [deps, client, { scopes: [] }] as const;
  };
});

function answering(body: object, status = 200): () => Response {
  return () => Response.json(body, { status });
}

/** An answer that ends in the middle. */
function cutOff(): Response {
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('{"access_token":"at'));
      controller.error(new Error("cut"));
    },
  });
  return new Response(body, { headers: { "Content-Type": "application/json" } });
}
