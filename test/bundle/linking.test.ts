/** Upstream accounts with real parts all the way: SDK clients, the built Worker, SDK servers, and `oidc-provider`. */
import { beforeAll, describe, expect, it } from "vitest";
import { createKey, type RegisteredServer, type VirtualKey } from "./support/api.ts";
import { type ClientKind, v1Client, v2Legacy, v2Pinned, withClient } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { followLink, linkAsAdmin, linkIn, registerProtected, saidIn } from "./support/linking.ts";
import { type ProtectedServer, startProtectedServer } from "./support/protected-server.ts";
import { labelled, running } from "./support/running.ts";

const gateway = running("the gateway", startGateway);
const modern = running("a modern server", () => startProtectedServer());
const legacy = running("a legacy server", () => startProtectedServer({ era: "legacy" }));

interface Known {
  readonly upstream: ProtectedServer;
  readonly server: RegisteredServer;
}
const known: Record<string, Known> = {};
beforeAll(async () => {
  for (const [name, upstream] of [["notes", modern()] as const, ["files", legacy()] as const]) {
    known[name] = { upstream, server: await registerProtected(gateway(), name, upstream) };
  }
});

const of = (name: string): Known => {
  const found = known[name];
  if (found === undefined) throw new Error(`${name} is not registered`);
  return found;
};

/** Calls `whoami` with a client of its own. */
async function whoami(key: VirtualKey, name = "notes", client: ClientKind = v2Pinned) {
  return withClient(client, `${gateway().url}/mcp`, { key: key.value }, async (connection) => {
    const tool = `${name}__whoami`;
    return connection
      .call(tool, {})
      .catch((error: Error) => ({ content: [], isError: true, error, link: linkIn(error) }));
  });
}

/** Links an account of a user for a key, from the link in the answer to a call. */
async function linkFor(key: VirtualKey, user: string, name = "notes"): Promise<void> {
  const link = linkIn(await whoami(key, name));
  expect(link).toBeDefined();
  expect(await followLink(of(name).upstream, link ?? "", user, key.value)).toMatchObject({ status: 200 });
}

/** How clients are shown the link: the SDK handles it, or they have an error, or a result to read. */
const CLIENTS = labelled([
  { label: "a modern client that shows links", client: v2Pinned, shown: "asked" },
  { label: "a modern client that does not", client: v2Pinned, shown: "result" },
  { label: "a v2 client of 2025-11-25 that shows links", client: v2Legacy, shown: "error" },
  { label: "a v2 client of 2025-11-25 that does not", client: v2Legacy, shown: "result" },
  { label: "a v1 client that shows links", client: v1Client, shown: "error" },
  { label: "a v1 client that does not", client: v1Client, shown: "result" },
] as const);

describe.each(["notes", "files"])("an account at the server %s", (name) => {
  it.each(CLIENTS)(
    "is linked by %s, whose same call succeeds then without a new connection [PS-59, P-20]",
    async (label, { client, shown }) => {
      const { upstream, server } = of(name);
      const key = await createKey(gateway(), server);
      const user = label.replaceAll(/\W+/g, "-");
      const asked: string[] = [];
      const follow = async (url: string) => {
        asked.push(url);
        const { status, page } = await followLink(upstream, url, user, key.value);
        expect({ status, page }).toMatchObject({ status: 200, page: expect.stringContaining("offers one tool") });
      };
      const options = { key: key.value, ...(shown === "result" ? {} : { onLink: follow }) };
      await withClient(client, `${gateway().url}/mcp`, options, async (connection) => {
        const call = () => connection.call(`${name}__whoami`, {});
        if (shown === "asked") {
          expect(saidIn(await call())).toBe(`You are ${user}`);
        } else {
          const answer = await call().catch((error: unknown) => error);
          if (shown === "error") expect(answer).toMatchObject({ code: -32042 });
          else expect(answer).toMatchObject({ isError: true });
          await follow(linkIn(answer) ?? "");
          expect(saidIn(await call())).toBe(`You are ${user}`);
        }
        expect(asked).toHaveLength(1);
        expect(saidIn(await call())).toBe(`You are ${user}`);
      });
      expect(asked).toHaveLength(1);
    },
  );

  it("is one for each key, whoever else has linked one [PS-54]", async () => {
    const { server } = of(name);
    const [ada, bob] = [await createKey(gateway(), server), await createKey(gateway(), server)];
    await linkFor(ada, "ada", name);
    await linkFor(bob, "bob", name);
    const said = await Promise.all([ada, bob, ada, bob].map((key) => whoami(key, name)));
    expect(said.map(saidIn)).toEqual(["You are ada", "You are bob", "You are ada", "You are bob"]);
  });

  it("is renewed with each refresh token once, as long as it is used [CN-22, P-61]", async () => {
    const { upstream, server } = of(name);
    const key = await createKey(gateway(), server);
    upstream.setLifetime(2);
    try {
      await linkFor(key, "zoe", name);
      const before = { shown: upstream.shown.length, refreshed: upstream.requests("refresh_token") };
      // A token with so short a life is due as soon as it is there.
      for (let time = 0; time < 4; time++) expect(saidIn(await whoami(key, name))).toBe("You are zoe");
      expect(upstream.shown.length - before.shown).toBeGreaterThanOrEqual(3);
      expect(upstream.requests("refresh_token") - before.refreshed).toBeGreaterThanOrEqual(3);
      expect(upstream.logs().filter((line) => line.startsWith("grant.error"))).toEqual([]);
    } finally {
      upstream.setLifetime(300);
    }
  });

  it("ends at the provider when it is deleted here, and is linked again by the next call [PS-57, T-43]", async () => {
    const { upstream, server } = of(name);
    const key = await createKey(gateway(), server);
    await linkFor(key, "eve", name);
    expect(saidIn(await whoami(key, name))).toBe("You are eve");
    const token = upstream.shown.at(-1) ?? "";
    expect(await upstream.introspect(token)).toMatchObject({ active: true, sub: "eve" });
    const path = `/v1/servers/${server.server_id}/tokens/key:${key.virtual_key_id}`;
    expect((await gateway().admin("DELETE", path)).status).toBe(200);
    expect(await upstream.introspect(token)).toEqual({ active: false });
    await linkFor(key, "eve", name);
    expect(saidIn(await whoami(key, name))).toBe("You are eve");
  });

  it("whose owner has ended the access at the provider is linked again by the next call [PS-31, PS-56]", async () => {
    const { upstream, server } = of(name);
    const key = await createKey(gateway(), server);
    await linkFor(key, "kim", name);
    expect(saidIn(await whoami(key, name))).toBe("You are kim");
    await upstream.endGrants("kim");
    await linkFor(key, "kim", name);
    expect(saidIn(await whoami(key, name))).toBe("You are kim");
  });

  it("is asked for by the door of agents without MCP, and its call works then [BF-60]", async () => {
    const { upstream, server } = of(name);
    const key = await createKey(gateway(), server);
    const execute = async () => {
      const response = await fetch(`${gateway().url}/v1/mcp/tool/execute`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "x-bf-vk": key.value },
        body: JSON.stringify({ id: "call_1", type: "function", function: { name: `${name}__whoami` } }),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const refused = await execute();
    expect(refused).toMatchObject({ status: 401 });
    const asked = JSON.stringify(refused.body);
    expect(asked).toContain('"mcp_auth_required":');
    expect(await followLink(upstream, linkIn(refused.body) ?? "", "max", key.value)).toMatchObject({ status: 200 });
    expect(await execute()).toMatchObject({ status: 200, body: { content: "You are max" } });
  });
});

describe("an account that a server has for all", () => {
  it("is linked by an admin, and used for every key [CN-10, PS-59]", async () => {
    const upstream = of("notes").upstream;
    const server = await registerProtected(gateway(), "shared", upstream, { auth_type: "oauth" });
    const keys = [await createKey(gateway(), server), await createKey(gateway(), server)];
    for (const key of keys) expect(saidIn(await whoami(key, "shared"))).toBe("You are an-admin");
    expect((await gateway().admin("DELETE", `/v1/servers/${server.server_id}/token`)).status).toBe(200);
    for (const key of keys) {
      const refused = await whoami(key, "shared");
      expect(refused).toMatchObject({ isError: true });
      expect(linkIn(refused)).toBeUndefined();
    }
    expect(await linkAsAdmin(gateway(), upstream, server, "another-admin")).toMatchObject({ status: 200 });
    expect(saidIn(await whoami(keys[0] as VirtualKey, "shared"))).toBe("You are another-admin");
  });
});

describe("a link", () => {
  it("that somebody else opens links nothing for anybody [PS-54, T-10]", async () => {
    const { upstream, server } = of("notes");
    const [owner, other] = [await createKey(gateway(), server), await createKey(gateway(), server)];
    const link = linkIn(await whoami(owner)) ?? "";
    const { status, page } = await followLink(upstream, link, "mallory", other.value);
    expect({ status, page }).toMatchObject({ status: 403, page: expect.stringContaining("not for you") });
    expect(linkIn(await whoami(other))).toBeDefined();
    await linkFor(owner, "ann");
    expect(saidIn(await whoami(owner))).toBe("You are ann");
  });
});
