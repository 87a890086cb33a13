/** Which tokens of the identity provider are believed (PS-3). */
import { SignJWT, UnsecuredJWT } from "jose";
import { describe, expect, it } from "vitest";
import { causesOf } from "../../src/platform/log.ts";
import {
  AUDIENCE,
  ISSUER,
  identityWorld,
  NOW,
  NOW_S,
  newKey,
  type ProviderKey,
  sign,
  unsigned,
} from "../support/identity-provider.ts";

const REFUSED = { code: "unauthorized", message: "A valid credential is required." };

describe("a token", () => {
  it("proves who somebody is, and until when", async () => {
    const { provider, key } = await identityWorld();
    expect(await provider.verify(await sign(key, { email: "ada@acme.example", org: "acme" }))).toEqual({
      sub: "ada",
      email: "ada@acme.example",
      orgs: [],
      claimed: null,
      isPlatformAdmin: false,
      expiresAt: NOW + 300_000,
    });
  });

  it.each(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"])(
    "may be signed with %s",
    async (alg) => {
      const { provider, world } = await identityWorld();
      const key = await newKey(alg);
      world.keys = [key];
      expect(await provider.verify(await sign(key))).toMatchObject({ sub: "ada" });
    },
  );

  it.each([
    ["the audience among others", { aud: ["https://other.example", AUDIENCE] }],
    ["expired by 59 seconds", { exp: NOW_S - 59 }],
    ["good in 60 seconds", { nbf: NOW_S + 60 }],
    ["an expiry within a second", { exp: NOW_S + 0.5 }],
    ["a subject of 255 characters", { sub: "s".repeat(255) }],
  ])("is believed with %s", async (_, claims) => {
    const { provider, key } = await identityWorld();
    expect(await provider.verify(await sign(key, claims))).toMatchObject({ orgs: [] });
  });

  it("that is over, within the tolerance, is not remembered at all", async () => {
    const { provider, key } = await identityWorld();
    expect(await provider.verify(await sign(key, { exp: NOW_S - 59 }))).toMatchObject({ expiresAt: NOW - 59_000 });
  });

  it.each([
    ["another issuer", { iss: "https://evil.example" }],
    ["the issuer with a slash", { iss: `${ISSUER}/` }],
    ["the issuer in a list", { iss: [ISSUER] }],
    ["no issuer", { iss: undefined }],
    ["another audience", { aud: "https://other.example" }],
    ["an audience that begins like ours", { aud: `${AUDIENCE}/ledger` }],
    ["other audiences", { aud: ["https://other.example", 7, null] }],
    ["no audience", { aud: undefined }],
    ["an audience that is an object", { aud: { [AUDIENCE]: true } }],
    ["expired by 60 seconds", { exp: NOW_S - 60 }],
    ["expired by 61 seconds", { exp: NOW_S - 61 }],
    ["no expiry", { exp: undefined }],
    ["an expiry that is a text", { exp: `${NOW_S + 300}` }],
    ["an expiry beyond all time", { exp: Number.MAX_VALUE }],
    ["good in 61 seconds", { nbf: NOW_S + 61 }],
    ["a not-before that is a text", { nbf: "0" }],
    ["an issue time that is a list", { iat: [] }],
    ["no subject", { sub: undefined }],
    ["an empty subject", { sub: "" }],
    ["a subject of 256 characters", { sub: "s".repeat(256) }],
    ["a subject that is a number", { sub: 7 }],
    ["a subject that is a list", { sub: ["ada"] }],
    ["a subject with a NUL", { sub: "ada\0" }],
    ["a subject that is no Unicode", { sub: "ada\ud800" }],
  ])("is refused with %s", async (_, claims) => {
    const { provider, key } = await identityWorld();
    await expect(provider.verify(await sign(key, claims))).rejects.toMatchObject(REFUSED);
  });

  it.each([
    ["nothing", undefined],
    ["JWT", "JWT"],
    ["an access token", "at+jwt"],
    ["an access token, at length", "application/at+JWT"],
  ])("may call itself %s", async (_, typ) => {
    const { provider, key } = await identityWorld();
    expect(await provider.verify(await sign(key, {}, { typ }))).toMatchObject({ sub: "ada" });
  });

  it.each(["logout+jwt", "secevent+jwt", "dpop+jwt", ""])("may not call itself %j", async (typ) => {
    const { provider, key } = await identityWorld();
    await expect(provider.verify(await sign(key, {}, { typ }))).rejects.toMatchObject(REFUSED);
  });

  it("without a signature is refused before anybody is asked for keys", async () => {
    const { provider, world } = await identityWorld();
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: "ada", exp: NOW_S + 300 };
    const unsecured = new UnsecuredJWT(claims).encode();
    for (const token of [unsecured, `${unsecured}c2ln`, unsigned({ alg: "NONE" }, claims)]) {
      await expect(provider.verify(token)).rejects.toMatchObject(REFUSED);
    }
    expect(world.asked).toEqual([]);
  });

  it.each(["HS256", "HS384", "HS512"])("signed by %s with what everybody knows is refused", async (alg) => {
    const { provider, world, key } = await identityWorld();
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: "ada", exp: NOW_S + 300 };
    const publicKey = new TextEncoder().encode(JSON.stringify(key.jwk).padEnd(64));
    const token = await new SignJWT(claims).setProtectedHeader({ alg, kid: key.kid }).sign(publicKey);
    await expect(provider.verify(token)).rejects.toMatchObject(REFUSED);
    expect(world.asked).toEqual([]);
  });

  it("signed with a published secret is refused all the same", async () => {
    const { provider, world } = await identityWorld();
    const secret = new TextEncoder().encode("a secret that should not be here");
    const jwk = { kty: "oct", kid: "shared", alg: "HS256", k: btoa("a secret that should not be here") };
    world.keys = [{ kid: "shared", jwk } as unknown as ProviderKey];
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: "ada", exp: NOW_S + 300 };
    const token = await new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: "shared" }).sign(secret);
    await expect(provider.verify(token)).rejects.toMatchObject(REFUSED);
  });

  it("is refused when somebody else signed it under a known key id", async () => {
    const { provider, key } = await identityWorld();
    const forged = { ...(await newKey()), kid: key.kid };
    await expect(provider.verify(await sign(forged))).rejects.toMatchObject(REFUSED);
  });

  it("is refused when a byte of it was changed", async () => {
    const { provider, key } = await identityWorld();
    const [header = "", , signature = ""] = (await sign(key)).split(".");
    const [, payload = ""] = (await sign(key, { sub: "eve" })).split(".");
    await expect(provider.verify(`${header}.${payload}.${signature}`)).rejects.toMatchObject(REFUSED);
  });

  it("brings no key of its own", async () => {
    const { provider, world } = await identityWorld();
    const own = await newKey();
    const header = { jwk: own.jwk, jku: "https://evil.example/jwks", x5u: "https://evil.example/x5u" };
    await expect(provider.verify(await sign(own, {}, header))).rejects.toMatchObject(REFUSED);
    expect(world.asked.filter((url) => url.includes("evil"))).toEqual([]);
  });

  it("over 8 KiB is refused unread", async () => {
    const { provider, world, key } = await identityWorld();
    const token = await sign(key, { pad: "x".repeat(6_000) });
    expect(token.length).toBeGreaterThan(8_192);
    await expect(provider.verify(token)).rejects.toMatchObject(REFUSED);
    expect(world.asked).toEqual([]);
  });

  it.each([
    ["an empty text", ""],
    ["a word", "word"],
    ["dots", ".."],
    ["five parts", "a.b.c.d.e"],
    ["a header that is a list", unsigned([], {})],
    ["a header that is no JSON", unsigned("{", {})],
    ["an algorithm that is a number", unsigned({ alg: 5 }, {})],
    ["an algorithm out of a prototype", unsigned({ alg: "constructor" }, {})],
    ["an unknown critical extension", unsigned({ alg: "ES256", crit: ["exp2"], exp2: 1 }, {})],
    ["characters that no token has", "ä.ö.ü"],
  ])("that is %s is refused", async (_, token) => {
    const { provider } = await identityWorld();
    await expect(provider.verify(token)).rejects.toMatchObject(REFUSED);
  });

  it.each([
    ["a list", "[]"],
    ["a number", "7"],
    ["null", "null"],
    ["no JSON", "c4n4ry"],
    ["a number beyond all numbers", `{"iss":"${ISSUER}","aud":"${AUDIENCE}","sub":"ada","exp":1e999}`],
  ])("whose signed claims are %s is refused, and none of it logged", async (_, payload) => {
    const { provider, key } = await identityWorld();
    const [head = "", body = ""] = unsigned({ alg: key.alg, kid: key.kid }, payload).split(".");
    const input = new TextEncoder().encode(`${head}.${body}`);
    const made = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key.privateKey, input);
    const signature = btoa(String.fromCharCode(...new Uint8Array(made)))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replaceAll("=", "");
    const refusal = await provider.verify(`${head}.${body}.${signature}`).catch((thrown: unknown) => thrown);
    expect(refusal).toMatchObject(REFUSED);
    expect(JSON.stringify([refusal, causesOf(refusal)])).not.toContain("c4n4ry");
  });
});
