/** The identity provider capability against a real one: discovery, keys, tokens and sign-in over HTTP. */
import { describe, expect, it } from "vitest";
import { readConfig } from "../../src/config.ts";
import { createIdentityProvider } from "../../src/identity/provider.ts";
import { ExpiringMap } from "../../src/platform/expiring-map.ts";
import { guardedFetch } from "../../src/platform/guarded-fetch.ts";
import { startIdp } from "./support/idp.ts";
import { running } from "./support/running.ts";

const AUDIENCE = "https://gateway.example/mcp";
const REDIRECT = "http://127.0.0.1:1/oauth/callback";
const ADA = {
  email: "ada@acme.example",
  email_verified: true,
  "https://acme.example/org": "acme",
  realm_access: { roles: ["staff", "admins"] },
  groups: ["red", "blue"],
  leads: ["blue"],
};

const idp = running("the identity provider", () => startIdp(Object.keys(ADA)));

/** The gateway's view of the provider, as an isolate that has just begun has it. */
function ours(settings: Readonly<Record<string, string>> = {}) {
  const { oidc } = readConfig({
    ALLOW_INSECURE_UPSTREAMS: "true",
    OIDC_ISSUER: idp().issuer,
    OIDC_AUDIENCE: AUDIENCE,
    OIDC_CLAIMS: JSON.stringify({
      org: "https://acme.example/org",
      roles: "realm_access.roles",
      groups: "groups",
      group_admins: "leads",
      platform_admin: { claim: "realm_access.roles", value: "root" },
    }),
    OIDC_ROLES: JSON.stringify({ admins: "org_admin", staff: "member" }),
    ...settings,
  });
  if (oidc === null) throw new Error("no provider is configured");
  const asked: string[] = [];
  const network = (url: string, init: RequestInit) => {
    asked.push(new URL(url).pathname);
    return fetch(url, init);
  };
  const clock = () => Date.now();
  const provider = createIdentityProvider({
    settings: oidc,
    send: guardedFetch({ network, allowInsecure: true }),
    memory: new ExpiringMap(clock, 10),
    clock,
    allowInsecure: true,
  });
  return { ...provider, asked };
}

const fresh = () => ({
  redirectUri: REDIRECT,
  state: crypto.randomUUID(),
  nonce: crypto.randomUUID(),
  verifier: crypto.randomUUID() + crypto.randomUUID(),
});

describe("an access token of a real provider", () => {
  it("proves a user, with what the provider says of them", async () => {
    const gateway = ours();
    const token = await idp().token("ada", { audience: AUDIENCE, claims: ADA });
    const before = Date.now();
    const user = await gateway.verify(token);
    expect(user).toEqual({
      sub: "ada",
      email: "ada@acme.example",
      orgs: ["acme"],
      claimed: {
        role: "org_admin",
        groups: [
          { group_id: "red", is_admin: false },
          { group_id: "blue", is_admin: true },
        ],
      },
      isPlatformAdmin: false,
      expiresAt: expect.any(Number),
    });
    expect(Math.abs(user.expiresAt - before - 300_000)).toBeLessThan(10_000);
    expect(gateway.asked).toEqual(["/.well-known/openid-configuration", "/jwks"]);
  });

  it("is believed after the provider has changed its key, and one of the former key is not", async () => {
    const gateway = ours();
    const former = await idp().token("ada", { audience: AUDIENCE });
    await gateway.verify(former);
    await idp().rotate();
    const next = await idp().token("ada", { audience: AUDIENCE });
    expect(await gateway.verify(next)).toMatchObject({ sub: "ada" });
    expect(gateway.asked).toEqual(["/.well-known/openid-configuration", "/jwks", "/jwks"]);
    await expect(gateway.verify(former)).rejects.toMatchObject({ code: "unauthorized" });
  });

  it("for another audience, or of another provider, is refused", async () => {
    const gateway = ours();
    const elsewhere = await idp().token("ada", { audience: "https://other.example" });
    await expect(gateway.verify(elsewhere)).rejects.toMatchObject({ code: "unauthorized" });
    const other = await startIdp();
    try {
      const foreign = await other.token("ada", { audience: AUDIENCE });
      await expect(gateway.verify(foreign)).rejects.toMatchObject({ code: "unauthorized" });
    } finally {
      await other.stop();
    }
  });

  it("serves while the provider is gone, but not who has never seen its keys", async () => {
    const gone = await startIdp();
    const settings = { OIDC_ISSUER: gone.issuer };
    const gateway = ours(settings);
    const token = await gone.token("ada", { audience: AUDIENCE });
    await gateway.verify(token);
    await gone.stop();
    expect(await gateway.verify(token)).toMatchObject({ sub: "ada" });
    await expect(ours(settings).verify(token)).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("sign-in at a real provider", () => {
  it.each([
    ["with a secret", { OIDC_CLIENT_ID: "with-secret", OIDC_CLIENT_SECRET: "s3cr:t/% +&" }],
    ["without one", { OIDC_CLIENT_ID: "public" }],
  ])("of a client %s proves the user, once", async (_, settings: Record<string, string>) => {
    const gateway = ours(settings);
    const { OIDC_CLIENT_ID: client_id = "", OIDC_CLIENT_SECRET: client_secret } = settings;
    await idp().register({ client_id, ...(client_secret && { client_secret }), redirect_uris: [REDIRECT] });
    const started = fresh();
    const callbackUrl = await idp().signIn(await gateway.signInUrl(started), "grace", ADA);
    expect(new URL(callbackUrl).searchParams.get("iss"), "RFC 9207").toBe(idp().issuer);
    expect(await gateway.finishSignIn({ ...started, callbackUrl })).toMatchObject({
      sub: "grace",
      email: "ada@acme.example",
      orgs: ["acme"],
      claimed: { role: "org_admin" },
    });
    await expect(gateway.finishSignIn({ ...started, callbackUrl })).rejects.toMatchObject({ code: "unauthorized" });
  });

  it("needs the verifier, the nonce and the redirect that it was begun with", async () => {
    const gateway = ours({ OIDC_CLIENT_ID: "bound" });
    await idp().register({ client_id: "bound", redirect_uris: [REDIRECT] });
    for (const [name, other] of [
      ["verifier", fresh().verifier],
      ["nonce", fresh().nonce],
      ["redirectUri", "http://127.0.0.1:1/other"],
    ] as const) {
      const started = fresh();
      const callbackUrl = await idp().signIn(await gateway.signInUrl(started), "grace");
      const answered = gateway.finishSignIn({ ...started, callbackUrl, [name]: other });
      await expect(answered, name).rejects.toMatchObject({ code: "unauthorized" });
    }
  });

  it("of a client with a wrong secret fails, and is not the user's fault", async () => {
    const gateway = ours({ OIDC_CLIENT_ID: "wrong", OIDC_CLIENT_SECRET: "wrong" });
    await idp().register({ client_id: "wrong", client_secret: "right", redirect_uris: [REDIRECT] });
    const started = fresh();
    const callbackUrl = await idp().signIn(await gateway.signInUrl(started), "grace");
    await expect(gateway.finishSignIn({ ...started, callbackUrl })).rejects.toMatchObject({ code: "unavailable" });
  });

  it("gives ID tokens, which open nothing", async () => {
    const token = await idp().idToken("ada", { audience: AUDIENCE });
    await expect(ours().verify(token)).rejects.toMatchObject({ code: "unauthorized" });
  });
});
