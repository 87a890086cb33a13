/** Where the provider's keys come from, and how often it is asked for them. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { ISSUER, identityWorld, metadataOf, NOW, newKey, sign } from "../support/identity-provider.ts";

const METADATA = `${ISSUER}/.well-known/openid-configuration`;
const KEYS = "https://keys.example/jwks";
const REFUSED = { code: "unauthorized" };
const UNAVAILABLE = { code: "unavailable" };
const down = () => Promise.reject(new Error("no connection"));

afterEach(() => vi.restoreAllMocks());

describe("the metadata", () => {
  it("is found by OpenID Connect Discovery", async () => {
    const { provider, world, key } = await identityWorld();
    await provider.verify(await sign(key));
    expect(world.asked).toEqual([METADATA, KEYS]);
  });

  it.each([
    ["https://id.example/tenants/7", "https://id.example/tenants/7/.well-known/openid-configuration"],
    ["https://id.example/", "https://id.example/.well-known/openid-configuration"],
    ["https://id.example/t/", "https://id.example/t/.well-known/openid-configuration"],
  ])("of %s is behind its path", async (issuer, url) => {
    const { provider, world, key } = await identityWorld({ issuer });
    world.pages[url] = () => Response.json(metadataOf(issuer));
    expect(await provider.verify(await sign(key, { iss: issuer }))).toMatchObject({ sub: "ada" });
    expect(world.asked).toEqual([url, KEYS]);
  });

  it.each([
    ["https://id.example", "https://id.example/.well-known/oauth-authorization-server"],
    ["https://id.example/t", "https://id.example/.well-known/oauth-authorization-server/t"],
  ])("of %s may be where RFC 8414 has it", async (issuer, url) => {
    const { provider, world, key } = await identityWorld({ issuer });
    delete world.pages[`${issuer}/.well-known/openid-configuration`];
    world.pages[url] = () => Response.json(metadataOf(issuer));
    expect(await provider.verify(await sign(key, { iss: issuer }))).toMatchObject({ sub: "ada" });
    expect(world.asked).toEqual([`${issuer}/.well-known/openid-configuration`, url, KEYS]);
  });

  it.each([
    ["of another issuer", () => Response.json(metadataOf("https://evil.example"))],
    ["of nearly the same issuer", () => Response.json(metadataOf(`${ISSUER}/`))],
    ["of no issuer", () => Response.json({ jwks_uri: KEYS })],
    ["without keys", () => Response.json({ issuer: ISSUER })],
    ["with keys on plain http", () => Response.json({ ...metadataOf(ISSUER), jwks_uri: "http://keys.example/jwks" })],
    ["with keys on this machine", () => Response.json({ ...metadataOf(ISSUER), jwks_uri: "https://127.0.0.1/jwks" })],
    ["with keys that are a list", () => Response.json({ ...metadataOf(ISSUER), jwks_uri: [KEYS] })],
    ["that is a list", () => Response.json([metadataOf(ISSUER)])],
    ["that is a page", () => new Response("<html>")],
    ["that is too large", () => Response.json({ ...metadataOf(ISSUER), pad: "x".repeat(256 * 1024) })],
    ["that fails", () => new Response(null, { status: 500 })],
    ["that is elsewhere", () => Response.redirect("https://evil.example/metadata")],
    ["that nobody gives", down],
  ])("%s is not used", async (_, page) => {
    const { provider, world, key } = await identityWorld();
    world.pages[METADATA] = page;
    const token = await sign(key);
    await expect(provider.verify(token)).rejects.toMatchObject(UNAVAILABLE);
    expect(world.asked).not.toContain("https://evil.example/metadata");
  });

  it("is waited for ten seconds", async () => {
    const { provider, world, key } = await identityWorld();
    const controller = new AbortController();
    const timeout = vi.spyOn(AbortSignal, "timeout").mockReturnValue(controller.signal);
    world.pages[METADATA] = () =>
      new Promise((_, reject) => {
        controller.signal.addEventListener("abort", () => reject(controller.signal.reason));
        controller.abort();
      });
    await expect(provider.verify(await sign(key))).rejects.toMatchObject(UNAVAILABLE);
    expect(timeout).toHaveBeenCalledExactlyOnceWith(10_000);
  });
});

describe("the keys", () => {
  it("are fetched once for many tokens, and again after ten minutes", async () => {
    const { provider, world, key } = await identityWorld();
    const token = await sign(key, { exp: (NOW + 3_600_000) / 1000 });
    await provider.verify(token);
    world.now += 599_999;
    await provider.verify(token);
    expect(world.asked).toEqual([METADATA, KEYS]);
    world.now += 1;
    await provider.verify(token);
    expect(world.asked).toEqual([METADATA, KEYS, METADATA, KEYS]);
  });

  it("are fetched anew for a key id that nobody has seen: the provider has changed its key", async () => {
    const { provider, world, key } = await identityWorld();
    await provider.verify(await sign(key));
    const next = await newKey();
    world.keys = [next];
    expect(await provider.verify(await sign(next))).toMatchObject({ sub: "ada" });
    expect(world.asked).toEqual([METADATA, KEYS, KEYS]);
    await expect(provider.verify(await sign(key)), "the key that is gone").rejects.toMatchObject(REFUSED);
  });

  it("are not fetched for made-up key ids more than once in thirty seconds", async () => {
    const { provider, world, key } = await identityWorld();
    await provider.verify(await sign(key));
    for (let i = 0; i < 20; i++) {
      await expect(provider.verify(await sign({ ...key, kid: `made-up-${i}` }))).rejects.toMatchObject(REFUSED);
    }
    expect(world.asked).toEqual([METADATA, KEYS, KEYS]);
    world.now += 30_000;
    const next = await newKey();
    world.keys.push(next);
    expect(await provider.verify(await sign(next))).toMatchObject({ sub: "ada" });
    expect(world.asked).toEqual([METADATA, KEYS, KEYS, KEYS]);
  });

  it("are asked for by one of many who miss the same one; the others are told to come again", async () => {
    const { provider, world, key } = await identityWorld();
    await provider.verify(await sign(key));
    const next = await newKey();
    world.keys = [next];
    const answered = Promise.withResolvers<void>();
    const page = world.pages[KEYS];
    world.pages[KEYS] = () => answered.promise.then(() => page?.() ?? Response.error());
    const token = await sign(next);
    const first = provider.verify(token);
    await vi.waitFor(() => expect(world.asked).toEqual([METADATA, KEYS, KEYS]), 10_000);
    await expect(provider.verify(token)).rejects.toMatchObject(UNAVAILABLE);
    answered.resolve();
    expect(await first).toMatchObject({ sub: "ada" });
    expect(await provider.verify(token)).toMatchObject({ sub: "ada" });
    expect(world.asked).toEqual([METADATA, KEYS, KEYS]);
  });

  it("are asked for again by the next when the one who asked was given up", async () => {
    const { provider, world, key } = await identityWorld();
    await provider.verify(await sign(key));
    const next = await newKey();
    const page = world.pages[KEYS];
    world.pages[KEYS] = () => new Promise(() => undefined);
    const token = await sign(next);
    void provider.verify(token);
    await vi.waitFor(() => expect(world.asked).toHaveLength(3), 10_000);
    Object.assign(world.pages, { [KEYS]: page });
    world.keys = [next];
    world.now += 10_000;
    expect(await provider.verify(token)).toMatchObject({ sub: "ada" });
  });

  it.each([
    ["brings the former keys", (former: Response) => former],
    ["fails", () => Promise.reject(new Error("no connection"))],
  ])("stay when an earlier question, whose answer comes later, %s", async (_, answer) => {
    const { provider, world, key } = await identityWorld();
    const slow = Promise.withResolvers<Response>();
    const [former, page] = [await world.pages[KEYS]?.(), world.pages[KEYS]];
    world.pages[KEYS] = () => slow.promise;
    const early = provider.verify(await sign(key)).catch(() => undefined);
    await vi.waitFor(() => expect(world.asked).toEqual([METADATA, KEYS]), 10_000);
    const next = await newKey();
    world.keys = [next];
    Object.assign(world.pages, { [KEYS]: page });
    world.now += 1;
    const token = await sign(next);
    await provider.verify(token);
    slow.resolve(answer(former ?? Response.error()));
    await early;
    expect(await provider.verify(token)).toMatchObject({ sub: "ada" });
    const unknown = await sign({ ...key, kid: "made-up" });
    expect(world.asked, "from memory").toEqual([METADATA, KEYS, KEYS]);
    await expect(provider.verify(unknown), "no failure is held against them").rejects.toMatchObject(REFUSED);
    expect(world.asked, "and asked anew at once").toEqual([METADATA, KEYS, KEYS, KEYS]);
  });

  it("that cannot be had are nobody's fault, and there again once the provider is back", async () => {
    const { provider, world, key } = await identityWorld();
    const page = world.pages[KEYS];
    world.pages[KEYS] = down;
    const token = await sign(key);
    await expect(provider.verify(token)).rejects.toMatchObject(UNAVAILABLE);
    await expect(provider.verify(token)).rejects.toMatchObject(UNAVAILABLE);
    expect(world.asked, "left alone for five seconds").toEqual([METADATA, KEYS]);
    Object.assign(world.pages, { [KEYS]: page });
    world.now += 5_000;
    expect(await provider.verify(token)).toMatchObject({ sub: "ada" });
  });

  it("serve for an hour while the provider does not answer", async () => {
    const { provider, world, key } = await identityWorld();
    const token = await sign(key, { exp: (NOW + 7_200_000) / 1000 });
    await provider.verify(token);
    world.pages[METADATA] = down;
    world.pages[KEYS] = down;
    world.now += 3_599_999;
    expect(await provider.verify(token)).toMatchObject({ sub: "ada" });
    expect(world.asked).toEqual([METADATA, KEYS, METADATA, KEYS]);
    expect(await provider.verify(token)).toMatchObject({ sub: "ada" });
    expect(world.asked, "left alone for five seconds").toHaveLength(4);
    const unknown = await sign(await newKey(), { exp: (NOW + 7_200_000) / 1000 });
    await expect(provider.verify(unknown), "perhaps there is such a key").rejects.toMatchObject(UNAVAILABLE);
    world.now += 1;
    await expect(provider.verify(token)).rejects.toMatchObject(UNAVAILABLE);
  });

  it.each([
    ["no list", () => Response.json({ keys: {} })],
    ["a list of texts", () => Response.json({ keys: ["key"] })],
    ["missing", () => new Response(null, { status: 404 })],
    ["too large", () => Response.json({ keys: [], pad: "x".repeat(256 * 1024) })],
    ["elsewhere", () => Response.redirect("https://evil.example/jwks")],
  ])("that are %s are not used", async (_, page) => {
    const { provider, world, key } = await identityWorld();
    world.pages[KEYS] = page;
    await expect(provider.verify(await sign(key))).rejects.toMatchObject(UNAVAILABLE);
    expect(world.asked).toEqual([METADATA, KEYS]);
  });

  it("next to ones that cannot be read are used", async () => {
    const { provider, world, key } = await identityWorld();
    const broken = { ...key, kid: "broken", jwk: { kty: "EC", crv: "P-256", kid: "broken", alg: "ES256", x: "7" } };
    world.keys = [broken, key];
    expect(await provider.verify(await sign(key))).toMatchObject({ sub: "ada" });
    await expect(provider.verify(await sign(broken))).rejects.toMatchObject(REFUSED);
  });

  it("are remembered as values: no promise of one request is left for another", async () => {
    const { provider, key, memory } = await identityWorld();
    await provider.verify(await sign(key));
    for (const at of [ISSUER, KEYS]) expect(structuredClone(memory.get(at))).toEqual(memory.get(at));
  });
});
