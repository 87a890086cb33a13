/** Finding the authorization server of an MCP server: where is looked, in which order, and what is not believed. */
import { describe, expect, it } from "vitest";
import { type AuthorizationServer, findAuthorizationServer } from "../../src/credentials/discovery.ts";
import type { Found } from "../../src/credentials/found.ts";
import { guardedFetch, refusalOf } from "../../src/platform/guarded-fetch.ts";
import { authorizationServer, type Behaviour } from "../support/authorization-server.ts";

const SERVER = "https://docs.example/mcp";
const PRM = "https://docs.example/.well-known/oauth-protected-resource";
const AS = "https://as.example";
const METADATA = `${AS}/.well-known/oauth-authorization-server`;
const OPENID = `${AS}/.well-known/openid-configuration`;

/** What the server with its usual documents is found to be. */
const USUAL: AuthorizationServer = {
  issuer: AS,
  authorization_endpoint: `${AS}/authorize`,
  token_endpoint: `${AS}/token`,
  registration_endpoint: `${AS}/register`,
  revocation_endpoint: `${AS}/revoke`,
  token_auth_methods: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
  scopes: ["read", "write"],
  resource: SERVER,
  iss_required: true,
  takes_client_metadata: false,
};

interface World {
  readonly server_url?: string;
  readonly issuer?: string;
  /** Of the server that plays the authorization server. */
  readonly at?: string;
  readonly behaviour?: Partial<Behaviour>;
  /** What the MCP server answers without a credential; the usual challenge unless given. */
  readonly server?: (request: Request) => Response | Promise<Response>;
  /** By URL, before everything else. */
  readonly pages?: Readonly<Record<string, () => Response | Promise<Response>>>;
  readonly allowInsecure?: boolean;
  readonly timeoutMs?: number;
}

/** Runs one search; what was asked for is `METHOD URL`, in order. */
async function search({ server_url = SERVER, issuer = "", at = AS, timeoutMs = 5_000, ...world }: World = {}) {
  const upstream = authorizationServer({ clock: () => 0, issuer: at, resource: server_url });
  Object.assign(upstream.behaviour, world.behaviour);
  const asked: string[] = [];
  const sent: Request[] = [];
  const answer = async (request: Request): Promise<Response> => {
    const { url } = request;
    asked.push(`${request.method} ${url}`);
    sent.push(request.clone());
    const page = world.pages?.[url];
    if (page !== undefined) return page();
    if (url === new URL(server_url).href)
      return world.server?.(request) ?? upstream.challenge(request.headers) ?? new Response();
    return upstream.handle(request) ?? new Response("No such page", { status: 404 });
  };
  const network = (url: string, init: RequestInit) => {
    const request = new Request(url, init);
    const { promise: ended, reject } = Promise.withResolvers<never>();
    request.signal.addEventListener("abort", () => reject(request.signal.reason));
    return Promise.race([answer(request), ended]);
  };
  const allowInsecure = world.allowInsecure ?? false;
  const found = await findAuthorizationServer(
    {
      send: guardedFetch({ network, allowInsecure }),
      timeoutMs,
      refusalOf: (url) => refusalOf(url, { allowInsecure }),
    },
    { server_url, issuer },
  );
  return { found, asked, sent };
}

const challenge = (text: string) => () => new Response("No", { status: 401, headers: { "WWW-Authenticate": text } });
const found = (changes: Partial<AuthorizationServer> = {}): Found<AuthorizationServer> => ({
  ok: true,
  value: { ...USUAL, ...changes },
});
const failure = (kind: "unreachable" | "unusable", field?: string) => ({
  ok: false,
  failure: { kind, message: expect.stringMatching(/^[A-Z][^<]+\.$/), ...(field === undefined ? {} : { field }) },
});

describe("discovery", () => {
  it("begins with a request without a credential, and follows its challenge [CN-31, BF-26]", async () => {
    const { found: server, asked, sent } = await search();
    expect(server).toEqual(found());
    expect(asked).toEqual([`POST ${SERVER}`, `GET ${PRM}/mcp`, `GET ${METADATA}`]);
    const [probe] = sent;
    expect(await probe?.json()).toMatchObject({ jsonrpc: "2.0", method: "server/discover" });
    for (const { headers } of sent) expect([headers.get("Authorization"), headers.get("Cookie")]).toEqual([null, null]);
  });

  it.each<[string, World, string[]]>([
    [
      "where the challenge says",
      {
        server: challenge('Bearer resource_metadata="https://docs.example/custom/place.json"'),
        behaviour: { resourcePaths: [] },
        pages: {
          "https://docs.example/custom/place.json": () =>
            Response.json({ resource: SERVER, authorization_servers: [AS] }),
        },
      },
      ["https://docs.example/custom/place.json"],
    ],
    ["at the path, without a challenge", { server: challenge("Bearer") }, [`${PRM}/mcp`]],
    [
      "at the root, when there is none at the path",
      { server: challenge("Bearer"), behaviour: { resourcePaths: ["/.well-known/oauth-protected-resource"] } },
      [`${PRM}/mcp`, PRM],
    ],
    [
      "at the known places, when the challenge leads nowhere",
      { server: challenge('Bearer resource_metadata="https://docs.example/gone"') },
      ["https://docs.example/gone", `${PRM}/mcp`],
    ],
    ["of a server that answers without a credential", { server: () => Response.json({}) }, [`${PRM}/mcp`]],
    ["of a server that leads to a page to sign in at", { server: () => to("https://login.example/") }, [`${PRM}/mcp`]],
    [
      "of a server whose other addresses are all one page",
      {
        server: challenge("Bearer"),
        behaviour: { resourcePaths: ["/.well-known/oauth-protected-resource"] },
        pages: { [`${PRM}/mcp`]: () => new Response("<html>", { headers: { "Content-Type": "text/html" } }) },
      },
      [`${PRM}/mcp`, PRM],
    ],
    [
      "of a server whose other addresses are all one text",
      {
        server: challenge("Bearer"),
        behaviour: { resourcePaths: ["/.well-known/oauth-protected-resource"] },
        pages: { [`${PRM}/mcp`]: () => Response.json({ error: "not found" }) },
      },
      [`${PRM}/mcp`, PRM],
    ],
  ])("finds the metadata %s [BF-26]", async (_, world, places) => {
    const { found: server, asked } = await search(world);
    expect(server.ok && server.value.issuer).toBe(AS);
    expect(asked).toEqual([`POST ${SERVER}`, ...places.map((place) => `GET ${place}`), `GET ${METADATA}`]);
  });

  it("asks a server that takes no POST, as HTTP+SSE has it, by GET", async () => {
    const server = ({ method }: Request) =>
      method === "POST" ? new Response(null, { status: 405 }) : challenge('Bearer scope="sse"')();
    const { found: found_, asked } = await search({ server });
    expect(found_).toEqual(found({ scopes: ["sse"] }));
    expect(asked.slice(0, 2)).toEqual([`POST ${SERVER}`, `GET ${SERVER}`]);
  });

  it.each([
    ["https://docs.example", [PRM]],
    ["https://docs.example/", [PRM]],
    ["https://docs.example/a/b", [`${PRM}/a/b`, PRM]],
  ])("looks for the metadata of %s at its places", async (server_url, places) => {
    const { asked } = await search({ server_url, server: challenge("Bearer"), behaviour: { resourceMetadata: null } });
    expect(asked.slice(1, 1 + places.length)).toEqual(places.map((place) => `GET ${place}`));
  });
});

describe("the authorization server's metadata", () => {
  const [at, path] = ["https://as.example/t", "/.well-known/oauth-authorization-server/t"];
  it.each([
    [AS, "/.well-known/oauth-authorization-server", [METADATA]],
    [AS, "/.well-known/openid-configuration", [METADATA, OPENID]],
    [at, path, [`${METADATA}/t`]],
    [at, "/.well-known/openid-configuration/t", [`${METADATA}/t`, `${OPENID}/t`]],
    [
      at,
      "/t/.well-known/openid-configuration",
      [`${METADATA}/t`, `${OPENID}/t`, "https://as.example/t/.well-known/openid-configuration"],
    ],
    ["https://as.example/t/", path, [`${METADATA}/t`]],
  ])("of %s is found at %s [BF-26]", async (issuer, metadataPath, places) => {
    const { found: server, asked } = await search({ at: issuer, behaviour: { metadataPaths: [metadataPath] } });
    expect(server).toEqual(found({ issuer }));
    expect(asked.slice(2)).toEqual(places.map((place) => `GET ${place}`));
  });

  it.each([
    ["another host", "https://evil.example"],
    ["a slash more", `${AS}/`],
    ["other letters", "https://AS.example"],
    ["a port that goes without saying", `${AS}:443`],
    ["no text", 7],
    ["nothing", undefined],
  ])("whose issuer is %s is not used [P-57, BF-26]", async (_, issuer) => {
    const { found: server } = await search({ behaviour: { metadata: { issuer } } });
    expect(server).toEqual(failure("unusable", "oauth_issuer_url"));
  });

  it("of another issuer does not hide the right one at the next place [P-57]", async () => {
    const pages = { [METADATA]: () => Response.json({ issuer: "https://evil.example" }) };
    const behaviour = { metadataPaths: ["/.well-known/openid-configuration"] };
    expect((await search({ pages, behaviour })).found).toEqual(found());
  });

  it.each([[undefined], [[]], [["plain"]], ["S256"]])(
    "that names %j as its ways of PKCE is not used [P-57]",
    async (code_challenge_methods_supported) => {
      const { found: server } = await search({ behaviour: { metadata: { code_challenge_methods_supported } } });
      expect(server).toEqual(failure("unusable"));
    },
  );

  it("without an authorization endpoint needs no PKCE: it is for clients without a user", async () => {
    const metadata = { authorization_endpoint: undefined, code_challenge_methods_supported: undefined };
    expect((await search({ behaviour: { metadata } })).found).toEqual(found({ authorization_endpoint: null }));
  });

  it.each([
    ["authorization_endpoint", "http://as.example/authorize"],
    ["authorization_endpoint", "javascript:alert(1)"],
    ["token_endpoint", "https://169.254.169.254/token"],
    ["token_endpoint", "https://user:c4n4ry@as.example/token"],
    ["token_endpoint", undefined],
    ["token_endpoint", 7],
    ["registration_endpoint", "https://localhost/register"],
    ["revocation_endpoint", "https://[::ffff:10.0.0.1]/revoke"],
  ])("whose %s is %s is not used [PS-61, T-6]", async (name, url) => {
    const { found: server } = await search({ behaviour: { metadata: { [name]: url } } });
    expect(server).toEqual(failure("unusable", name));
    expect(JSON.stringify(server)).not.toContain("c4n4ry");
  });

  it("says what else is worth knowing, and may leave it out", async () => {
    const nothing = {
      registration_endpoint: undefined,
      revocation_endpoint: null,
      token_endpoint_auth_methods_supported: undefined,
      authorization_response_iss_parameter_supported: "yes",
      client_id_metadata_document_supported: true,
    };
    expect((await search({ behaviour: { metadata: nothing } })).found).toEqual(
      found({
        registration_endpoint: null,
        revocation_endpoint: null,
        token_auth_methods: [],
        iss_required: false,
        takes_client_metadata: true,
      }),
    );
  });

  it("over 256 KiB is not read [BF-26]", async () => {
    const metadata = { padding: "x".repeat(256 * 1024) };
    expect((await search({ behaviour: { metadata } })).found).toEqual(failure("unusable"));
    expect((await search({ behaviour: { resourceMetadata: metadata } })).found).toEqual(
      failure("unusable", "oauth_issuer_url"),
    );
  });
});

describe("several authorization servers", () => {
  const other = "https://other.example";
  const named = (...authorization_servers: unknown[]) => ({ resourceMetadata: { authorization_servers } });

  it("give the first one that can be used", async () => {
    const { found: server, asked } = await search({
      behaviour: named(7, "not a url", "https://10.0.0.1", other, AS),
      pages: { [`${other}/.well-known/openid-configuration`]: () => Response.json({ issuer: "https://evil.example" }) },
    });
    expect(server).toEqual(found());
    expect(asked.some((one) => one.includes("10.0.0.1"))).toBe(false);
  });

  it("that all fail are a failure of the moment when one of them is", async () => {
    const pages = { [`${other}/.well-known/oauth-authorization-server`]: () => Promise.reject(new TypeError("lost")) };
    const behaviour = { ...named(AS, other), metadata: { issuer: "https://evil.example" } };
    expect((await search({ behaviour, pages })).found).toEqual(failure("unreachable"));
    expect((await search({ behaviour })).found).toEqual(failure("unusable", "oauth_issuer_url"));
  });

  it("are tried up to five", async () => {
    const many = Array.from({ length: 50 }, (_, n) => `https://as${n}.example`);
    expect((await search({ behaviour: named(...many) })).asked).toHaveLength(2 + 5 * 2);
  });
});

describe("an issuer that an admin gives", () => {
  it("wins over the one that the server names [BF-26]", async () => {
    const behaviour = { resourceMetadata: { authorization_servers: ["https://other.example"] } };
    expect((await search({ issuer: AS, behaviour })).found).toEqual(found());
  });

  it.each<[string, World]>([
    ["does not answer", { server: () => Promise.reject(new TypeError("lost")) }],
    ["has metadata for another resource", { behaviour: { resourceMetadata: { resource: "https://evil.example" } } }],
    ["has no metadata", { behaviour: { resourceMetadata: null } }],
  ])("is enough when the server %s", async (_, world) => {
    expect((await search({ issuer: AS, ...world })).found).toEqual(found({ scopes: [] }));
  });

  it.each(["https://10.0.0.1", "http://as.example", `${AS}?a=1`, `${AS}#a`, "as.example"])(
    "is not asked as %s [PS-61]",
    async (issuer) => {
      const { found: server, asked } = await search({ issuer });
      expect(server).toEqual(failure("unusable", "oauth_issuer_url"));
      expect(asked.filter((one) => !one.includes("docs.example"))).toEqual([]);
    },
  );

  it("that publishes nothing leads to registration by hand, not to made-up endpoints", async () => {
    const behaviour = { metadataPaths: [], resourceMetadata: null };
    expect((await search({ issuer: AS, behaviour })).found).toEqual(failure("unusable", "authorization_endpoint"));
  });
});

describe("a server without any metadata", () => {
  const [server, own] = [challenge("Bearer"), "https://docs.example"];
  const none = { resourceMetadata: null, metadataPaths: [] };

  it("is its own authorization server, where its origin publishes one [BF-26]", async () => {
    const published = {
      issuer: own,
      authorization_endpoint: `${own}/oauth/authorize`,
      token_endpoint: `${own}/oauth/token`,
      code_challenge_methods_supported: ["S256"],
    };
    for (const issuer of [own, `${own}/`]) {
      const pages = {
        [`${own}/.well-known/oauth-authorization-server`]: () => Response.json({ ...published, issuer }),
      };
      expect((await search({ server, behaviour: none, pages })).found).toEqual(
        found({
          issuer,
          authorization_endpoint: `${own}/oauth/authorize`,
          token_endpoint: `${own}/oauth/token`,
          registration_endpoint: null,
          revocation_endpoint: null,
          token_auth_methods: [],
          scopes: [],
          iss_required: false,
        }),
      );
    }
  });

  it("has the endpoints of revision 2025-03-26, when its origin publishes none", async () => {
    expect((await search({ server, behaviour: none })).found).toEqual(
      found({
        issuer: own,
        authorization_endpoint: `${own}/authorize`,
        token_endpoint: `${own}/token`,
        registration_endpoint: `${own}/register`,
        revocation_endpoint: null,
        token_auth_methods: [],
        scopes: [],
        iss_required: false,
      }),
    );
  });

  it("has them neither when it has metadata of its own, nor when a wrong one is there [P-57]", async () => {
    const resourceMetadata = { authorization_servers: [] };
    expect((await search({ behaviour: { ...none, resourceMetadata } })).found).toEqual(
      failure("unusable", "oauth_issuer_url"),
    );
    const pages = { [`${own}/.well-known/oauth-authorization-server`]: () => Response.json({ issuer: AS }) };
    expect((await search({ server, behaviour: none, pages })).found).toEqual(failure("unusable", "oauth_issuer_url"));
  });
});

describe("the resource", () => {
  it.each([
    [SERVER, SERVER],
    [SERVER, "https://docs.example/mcp/"],
    [SERVER, "https://docs.example"],
    [SERVER, "https://docs.example/"],
    [SERVER, "https://DOCS.example/mcp"],
    ["https://docs.example/mcp/v1?team=a", "https://docs.example/mcp"],
    ["https://docs.example/mcp?team=a", "https://docs.example/mcp?team=a"],
  ])("of %s is %s exactly as the metadata writes it [P-59]", async (server_url, resource) => {
    const { found: server } = await search({ server_url, behaviour: { resourceMetadata: { resource } } });
    expect(server.ok && server.value.resource).toBe(resource);
  });

  it.each([
    "https://evil.example/mcp",
    "http://docs.example/mcp",
    "https://docs.example:8443/mcp",
    "https://docs.example/mc",
    "https://docs.example/mcp/more",
    "https://docs.example/mcp?team=b",
    "https://docs.example/mcp#a",
    "docs.example",
    7,
    undefined,
  ])("is not %s, and the metadata that says so is not used [BF-26]", async (resource) => {
    const { found: server, asked } = await search({ behaviour: { resourceMetadata: { resource } } });
    expect(server).toEqual(failure("unusable", "server_url"));
    expect(asked).toHaveLength(2);
  });

  it.each([
    [SERVER, SERVER],
    ["https://docs.example/", "https://docs.example"],
    ["https://DOCS.example:443/mcp/#top", "https://docs.example/mcp/"],
    ["https://docs.example/mcp?team=a", "https://docs.example/mcp?team=a"],
  ])("of %s is %s without metadata", async (server_url, resource) => {
    const { found: server } = await search({ server_url, issuer: AS, behaviour: { resourceMetadata: null } });
    expect(server.ok && server.value.resource).toBe(resource);
  });
});

describe("the scopes", () => {
  const metadata = { scopes_supported: ["all", "offline_access"] };
  it.each<[string, World, string[]]>([
    ["the challenge's", { server: challenge('Bearer scope="files mail"') }, ["files", "mail"]],
    ["else the resource's", {}, ["read", "write"]],
    [
      "else the authorization server's",
      { behaviour: { resourceMetadata: { scopes_supported: undefined }, metadata } },
      ["all", "offline_access"],
    ],
    ["else none", { behaviour: { resourceMetadata: { scopes_supported: [] } } }, []],
    ["with offline_access where that is listed", { behaviour: { metadata } }, ["read", "write", "offline_access"]],
    [
      "each once",
      { server: challenge('Bearer scope="offline_access a"'), behaviour: { metadata } },
      ["offline_access", "a"],
    ],
  ])("are %s [BF-26]", async (_, world, scopes) => {
    const { found: server } = await search(world);
    expect(server.ok && server.value.scopes).toEqual(scopes);
  });
});

describe("what leads inside or away", () => {
  it.each([
    "http://docs.example/prm",
    "https://127.0.0.1/prm",
    "https://2130706433/prm",
    "https://[::1]/prm",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost./prm",
    "https://a.internal/prm",
    "https://me:c4n4ry@docs.example/prm",
    "file:///etc/passwd",
    "/relative",
  ])("is not followed: resource_metadata %s [PS-61, T-6]", async (place) => {
    const { found: server, asked } = await search({ server: challenge(`Bearer resource_metadata="${place}"`) });
    expect(server).toEqual(failure("unusable", "oauth_issuer_url"));
    expect(asked).toEqual([`POST ${SERVER}`]);
    expect(JSON.stringify(server)).not.toContain("c4n4ry");
  });

  it("is not followed: a redirect to another origin [T-6, P-63, P-64]", async () => {
    const pages = {
      [`${PRM}/mcp`]: () => to("https://10.0.0.1/prm"),
      [METADATA]: () => to("https://evil.example/metadata"),
      [OPENID]: () => to("https://evil.example/metadata"),
    };
    const { found: server, asked } = await search({ server: challenge("Bearer"), issuer: AS, pages });
    expect(server).toEqual(failure("unusable", "authorization_endpoint"));
    expect(asked.filter((one) => /evil|10\.0\.0\.1/.test(one))).toEqual([]);
  });

  it("may be plain http on this machine in development only", async () => {
    const [server_url, at] = ["http://127.0.0.1:1/mcp", "http://127.0.0.1:2"];
    const world = { server_url, at, behaviour: { resourcePaths: ["/.well-known/oauth-protected-resource/mcp"] } };
    expect((await search({ ...world, allowInsecure: true })).found).toMatchObject({ ok: true, value: { issuer: at } });
    const { found: server, asked } = await search(world);
    expect(server).toEqual(failure("unusable", "server_url"));
    expect(asked).toEqual([]);
  });
});

describe("an outage", () => {
  const [lost, hanging] = [() => Promise.reject(new TypeError("lost")), () => new Promise<Response>(() => {})];

  it.each<[string, World]>([
    ["of the server", { server: lost }],
    ["of its metadata", { pages: { [`${PRM}/mcp`]: lost } }],
    ["of its metadata, with 500", { pages: { [`${PRM}/mcp`]: () => new Response("No", { status: 500 }) } }],
    ["of its metadata, with 429", { pages: { [`${PRM}/mcp`]: () => new Response("No", { status: 429 }) } }],
    ["of the authorization server", { pages: { [METADATA]: lost } }],
    ["of the authorization server, with 503", { pages: { [METADATA]: () => new Response("No", { status: 503 }) } }],
  ])("%s is no ground to look elsewhere", async (_, world) => {
    const { found: server } = await search(world);
    expect(server).toEqual(failure("unreachable"));
    expect(JSON.stringify(server)).not.toMatch(/lost/);
  });

  it("of one place does not hide the next", async () => {
    const pages = { [METADATA]: () => new Response("No", { status: 500 }) };
    const behaviour = { metadataPaths: ["/.well-known/openid-configuration"] };
    expect((await search({ pages, behaviour })).found).toEqual(found());
  });

  it.each<[string, World]>([
    ["The server", { server: hanging }],
    ["Its metadata", { pages: { [`${PRM}/mcp`]: hanging } }],
    ["The authorization server", { pages: { [METADATA]: hanging } }],
  ])("that is silence ends: %s", async (_, world) => {
    expect((await search({ ...world, timeoutMs: 30 })).found).toEqual(failure("unreachable"));
  });
});

const to = (place: string) => new Response(null, { status: 307, headers: { Location: place } });
