/** What a request may leave out by its headers (BF-52): the rule, and what agents see of it on both MCP doors. */
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { admit, admitServer } from "../../src/access/admission.ts";
import { filtersOf, filtersPass, NO_FILTERS } from "../../src/access/request-filters.ts";
import { compileSnapshot, type Server, type Snapshot, type Tool } from "../../src/catalog/snapshot.ts";
import type { ClientMessage } from "../../src/gateway/client-message.ts";
import type { DoorRequest } from "../../src/gateway/request.ts";
import { listTools } from "../../src/gateway/tool-list.ts";
import type { Principal } from "../../src/identity/principal.ts";
import type { ColoCache } from "../../src/platform/colo-cache.ts";
import { ExpiringMap } from "../../src/platform/expiring-map.ts";
import type { ServerRecord } from "../../src/registry/server-record.ts";
import { keyGrant, principalWith, serverRecord } from "../support/admission.ts";
import { type Agent, BUILT_IN, BUILT_IN_NAMES, createAgent } from "../support/agent.ts";
import { accepted, offline, register } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { CLIENTS, type Given, given, headersOf, principal, registry, TOOLS } from "../support/registries.ts";
import { scriptedServer } from "../support/upstream.ts";

const filters = (given: Given) => filtersOf(new Headers(headersOf(given)));

describe("a filter", () => {
  const server = { name: "My-Docs", display_name: "Internal, docs of Ann" };
  const tool = { name: "read-File", exposed_name: "My-Docs__read-File" };
  const passes = (given: Given, of = server, what = tool) => filtersPass(filters(given), of, what);

  it.each<[string, Given, boolean]>([
    ["is none without a header", {}, true],
    ["takes * for every client", { clients: "*" }, true],
    ["takes it among others too", { clients: "other , *" }, true],
    ["knows a client by its slug", { clients: "other,My-Docs" }, true],
    ["ignores its case", { clients: " my-dOCS " }, true],
    ["leaves out what it does not name", { clients: "other" }, false],
    ["does not take a part of a name for it", { clients: "my,docs,my-" }, false],
    ["leaves out everything when it is empty", { clients: "" }, false],
    ["has only blanks and commas for empty", { clients: " , ,," }, false],
    ["names a tool behind its client", { tools: "My-Docs-read-File" }, true],
    ["ignores the case of the client there", { tools: "x,mY-docs-read-File" }, true],
    ["has tools byte for byte", { tools: "My-Docs-read-file" }, false],
    ["names every tool of a client", { tools: "my-docs-*" }, true],
    ["names a tool as it is exposed", { tools: "My-Docs__read-File" }, true],
    ["ignores the case of the slug there", { tools: "my-docs__read-File" }, true],
    ["has the tool byte for byte there", { tools: "My-Docs__READ-File" }, false],
    ["does not name a tool without its client", { tools: "read-File" }, false],
    ["does not take a part for the whole", { tools: "my-docs-read,my-docs-,my-docs,docs-read-File" }, false],
    ["leaves out every tool when it is empty", { tools: "" }, false],
    ["has only blanks and commas for empty, of tools", { tools: " , " }, false],
    ["has both pass where there are two", { clients: "my-docs", tools: "my-docs-*" }, true],
    ["is not passed by the one alone", { clients: "my-docs", tools: "other-*" }, false],
    ["is not passed by the other alone", { clients: "other", tools: "my-docs-*" }, false],
    ["is empty where one of two is", { clients: "", tools: "my-docs-*" }, false],
  ])("%s", (_, given, isPassed) => {
    expect(passes(given)).toBe(isPassed);
  });

  it("knows a client by its display name, ignoring case", () => {
    const docs = { name: "docs", display_name: "Docs of Ann" };
    const search = { name: "search", exposed_name: "docs__search" };
    expect(passes({ clients: "DOCS OF ANN" }, docs, search)).toBe(true);
    expect(passes({ tools: "docs of ann-search" }, docs, search)).toBe(true);
    expect(passes({ tools: "docs of ann-*" }, docs, search)).toBe(true);
  });

  it("knows a tool by the name that it was given on /mcp, where that is not its own", () => {
    const read = { name: "read/file", exposed_name: "docs__read_file_0a1b2c3d" };
    const docs = { name: "docs", display_name: "Docs" };
    for (const tools of ["docs__read_file_0a1b2c3d", "docs__read/file", "docs-read/file"]) {
      expect(passes({ tools }, docs, read)).toBe(true);
    }
    expect(passes({ tools: "DOCS__READ_FILE_0A1B2C3D" }, docs, read)).toBe(false);
  });

  it("has one view for what says the same, and another for what does not", () => {
    const view = (given: Given) => filters(given).view;
    expect(view({})).toBe(NO_FILTERS.view);
    expect(view({ clients: "b,A" })).toBe(view({ clients: "a , B,a" }));
    expect(view({ clients: "" })).toBe(view({ clients: " ,," }));
    const different = [
      {},
      { clients: "" },
      { tools: "" },
      { clients: "", tools: "" },
      { clients: "a" },
      { tools: "a" },
    ];
    expect(new Set([...different, { tools: "A" }, { clients: "a", tools: "" }].map(view)).size).toBe(8);
  });

  it("costs no more for many tools because it is long", () => {
    const tools = Array.from({ length: 500 }, (_, at) => `my-docs-t-${at}`).join(",");
    expect(tools.length).toBeLessThan(8_192);
    const long = filters({ tools });
    expect(filtersPass(long, server, { name: "t-499", exposed_name: "" })).toBe(true);
    const hyphens = filters({ tools: "-".repeat(8_192) });
    expect(hyphens.tools?.size).toBeLessThan(300);
  });
});

describe("admission", () => {
  it("names the filter last, behind the key's rule", () => {
    const known = { server_id: "srv_docs", auto: false, repeatable: 0, price_nano: null };
    const snapshot = compileSnapshot(
      "default",
      { registry: 1, org: 1, credentials: 0 },
      [serverRecord()],
      [
        { ...known, tool: "search", allowed: true, approved_hash: "a" },
        { ...known, tool: "erase", allowed: false, approved_hash: "b" },
      ],
    );
    const docs = snapshot.servers.get("docs");
    const nothing = filters({ clients: "" });
    const agent = principalWith({ key: keyGrant({ srv_docs: ["search"] }) });
    const reason = (principal: Principal, name: string) => {
      const decision = admit(principal, nothing, docs, docs?.tools.get(name));
      return decision.allowed || decision.reason;
    };
    expect(reason(agent, "search")).toBe("filtered");
    expect(reason(principalWith(), "search")).toBe("key_denied");
    expect(reason(agent, "erase")).toBe("tool_blocked");
    expect(reason(agent, "missing")).toBe("tool_unknown");
    expect(admitServer(agent, nothing, docs)).toBe("filtered");
    expect(admitServer(principalWith(), nothing, docs)).toBe("key_denied");
  });

  it("has a key rule for keys only: a user without one may use what the server allows [BF-51]", () => {
    const known = { server_id: "srv_docs", auto: false, repeatable: 0, price_nano: null, approved_hash: "a" };
    const catalog = [
      { ...known, tool: "search", allowed: true },
      { ...known, tool: "erase", allowed: false },
    ];
    const docs = compileSnapshot(
      "default",
      { registry: 1, org: 1, credentials: 0 },
      [serverRecord()],
      catalog,
    ).servers.get("docs");
    const user = principalWith({ kind: "user", id: "ann", key: null });
    const open = (who: Principal) =>
      [...(docs?.tools.values() ?? [])].flatMap((tool) =>
        admit(who, NO_FILTERS, docs, tool).allowed ? [tool.name] : [],
      );
    expect(open(user)).toEqual(["search"]);
    expect(open({ ...user, key: keyGrant({}) })).toEqual([]);
    expect(open({ ...user, key: keyGrant({ srv_docs: ["*"] }) })).toEqual(["search"]);
    expect(open({ ...user, role: null })).toEqual([]);
  });
});

/** BF-52 as it is written, name by name and entry by entry. */
function isIncluded(
  { clients, tools }: Given,
  { name, display_name }: Pick<ServerRecord, "name" | "display_name">,
  tool: Pick<Tool, "name" | "exposed_name">,
): boolean {
  const list = (text: string) => text.split(",").flatMap((part) => (part.trim() === "" ? [] : [part.trim()]));
  const names = [name.toLowerCase(), display_name.toLowerCase()];
  const isClient = (text: string) => text === "*" || names.includes(text.toLowerCase());
  const isTool = (text: string) =>
    text === "*" ||
    text === tool.exposed_name ||
    names.some((client) =>
      ["-", "__"].some((between) => {
        const at = client.length + between.length;
        return (
          text.slice(0, at).toLowerCase() === client + between &&
          (text.slice(at) === tool.name || text.slice(at) === "*")
        );
      }),
    );
  return (clients === undefined || list(clients).some(isClient)) && (tools === undefined || list(tools).some(isTool));
}

/** The lists of one isolate, whose memory all requests share. */
function isolate() {
  const memory = new ExpiringMap<string, string>(() => 0, 1_000_000);
  const cached: string[] = [];
  const cache: ColoCache = { get: async () => null, put: async (key) => void cached.push(key) };
  const definitions = async (_: Snapshot, tools: readonly Tool[]) => ({
    texts: new Map(tools.map((tool) => [tool, JSON.stringify({ name: tool.name })])),
    isOfSnapshot: true,
  });
  const toolLists = { catalog: { definitions }, memory, cache, clock: () => 0 };
  const message = { params: {} } as ClientMessage;
  async function list(snapshot: Snapshot, asking: Principal, wish: Given, server: Server | null): Promise<string[]> {
    const slug = server?.record.name ?? null;
    const request = {
      ...{ snapshot, principal: asking, slug, filters: filters(wish), waitUntil: () => undefined },
      services: { toolLists },
    };
    const page = await listTools(request as unknown as DoorRequest, "modern", message);
    if (!page.ok) return [];
    const { tools } = JSON.parse(`{${page.members}}`) as { tools: { name: string }[] };
    return tools.map(({ name }) => name);
  }
  return { list, cached };
}

describe("for random registries, principals and filters", () => {
  it("a tool is listed if and only if a call to it is admitted, on both doors, and filters only narrow [PS-11]", async () => {
    await fc.assert(
      fc.asyncProperty(
        registry,
        principal,
        fc.array(given, { minLength: 1, maxLength: 3 }),
        async (snapshot, who, wishes) => {
          const { list, cached } = isolate();
          for (const wish of [...wishes, {}, ...wishes]) {
            const wanted = filters(wish);
            const listed = await list(snapshot, who, wish, null);
            const callable = [...snapshot.tools.values()].filter(
              (tool) => admit(who, wanted, tool.server, tool).allowed,
            );
            expect(listed).toEqual(callable.map(({ exposed_name }) => exposed_name).toSorted());
            for (const server of snapshot.servers.values()) {
              const own = callable.filter((tool) => tool.server === server);
              expect(await list(snapshot, who, wish, server)).toEqual(own.map(({ name }) => name).toSorted());
              if (own.length > 0) expect(admitServer(who, wanted, server)).toBeNull();
            }
            // What is left over is what the principal may use without filters and the headers name: no more, no less.
            const all = [...snapshot.tools.values()].filter(
              (tool) => admit(who, NO_FILTERS, tool.server, tool).allowed,
            );
            expect(callable).toEqual(all.filter((tool) => isIncluded(wish, tool.server.record, tool)));
          }
          const shared = cached.map((key) => (JSON.parse(key) as string[])[5]);
          expect(new Set(shared)).toEqual(new Set([NO_FILTERS.view]));
        },
      ),
      { numRuns: 300 },
    );
  });
});

async function namesOf(response: Promise<Response>): Promise<string[]> {
  const { result } = await (await response).json<{ result?: { tools: { name: string }[] } }>();
  return result?.tools.map(({ name }) => name) ?? [];
}

async function isCallable(agent: Agent, path: string, name: string, headers: Record<string, string>) {
  const response = await agent.modern(path, "tools/call", { name, arguments: {} }, { headers });
  return "result" in (await response.json<object>());
}

describe("at the MCP doors", () => {
  /** Three servers with two tools each; the display name of the second is the slug of none. */
  async function start(): Promise<{ gateway: TestGateway; servers: readonly string[] }> {
    const upstream = scriptedServer({ era: "modern", tools: ['{"name":"b"}', '{"name":"b-c"}'] });
    const gateway = startGateway(upstream.network);
    for (const [name, display_name] of [
      ["a", "A"],
      ["a-b", "Internal docs"],
      ["docs", "docs"],
    ]) {
      await register(gateway, { server_id: name, name, display_name, enabled: true });
    }
    return { gateway, servers: ["a", "a-b", "docs"] };
  }
  const ALL = ["a", "a-b", "docs"].map((server_id) => ({ server_id, tools_to_execute: ["*"] }));

  it.each<[string, Given, string[]]>([
    ["everything without a header", {}, ["a-b__b", "a-b__b-c", "a__b", "a__b-c", "docs__b", "docs__b-c"]],
    ["nothing of a header without names", { clients: "" }, []],
    ["nothing of one with commas alone", { tools: " , " }, []],
    [
      "clients by slug or display name",
      { clients: "DOCS,internal docs" },
      ["a-b__b", "a-b__b-c", "docs__b", "docs__b-c"],
    ],
    ["both readings of a name with hyphens", { tools: "a-b-c" }, ["a__b-c"]],
    ["all of a client", { tools: "a-b-*" }, ["a-b__b", "a-b__b-c"]],
    ["a tool by its name on /mcp", { tools: "A__b" }, ["a__b"]],
    ["what both name", { clients: "a", tools: "a-b,docs-b" }, ["a__b"]],
  ])("lists and lets call %s [BF-52, T-31]", async (_, wish, names) => {
    const { gateway, servers } = await start();
    const agent = await createAgent(gateway, ALL);
    const headers = headersOf(wish);
    expect(await namesOf(agent.modern("/mcp", "tools/list", {}, { headers }))).toEqual(names);
    expect(await namesOf(agent.legacy("/mcp", "tools/list", {}, headers))).toEqual(names);
    for (const server of servers) {
      const own = names.flatMap((name) => (name.startsWith(`${server}__`) ? [name.slice(server.length + 2)] : []));
      expect(await namesOf(agent.modern(`/mcp/${server}`, "tools/list", {}, { headers }))).toEqual(own);
      for (const tool of ["b", "b-c"]) {
        expect(await isCallable(agent, `/mcp/${server}`, tool, headers)).toBe(own.includes(tool));
        expect(await isCallable(agent, "/mcp", `${server}__${tool}`, headers)).toBe(own.includes(tool));
      }
    }
  });

  it("refuses what is left out like an unknown tool, and logs the reason", async () => {
    const { gateway } = await start();
    const agent = await createAgent(gateway, ALL);
    const headers = { [TOOLS]: "docs-*" };
    const refused = await agent.modern("/mcp", "tools/call", { name: "a__b" }, { headers });
    const unknown = await agent.modern("/mcp", "tools/call", { name: "a__z" }, { headers });
    const textOf = async (response: Response) => (await response.text()).replace(/a__./, "");
    expect([refused.status, await textOf(refused)]).toEqual([unknown.status, await textOf(unknown)]);
    expect((await agent.rows()).map(({ reason }) => reason)).toEqual(["not_visible", "filtered"]);
  });

  it("has the gateway's own tools belong to the client gateway [BF-52]", async () => {
    const agent = await createAgent(startGateway(offline), [BUILT_IN]);
    const listed = (wish: Given) => namesOf(agent.modern("/mcp", "tools/list", {}, { headers: headersOf(wish) }));
    expect(await listed({})).toEqual(BUILT_IN_NAMES);
    for (const wish of [
      { clients: "Gateway" },
      { clients: "postern" },
      { tools: "GATEWAY-*" },
      { tools: "Postern-*" },
    ]) {
      expect([wish, await listed(wish)]).toEqual([wish, BUILT_IN_NAMES]);
    }
    for (const wish of [
      { tools: "gateway-run_start" },
      { tools: "run_start" },
      { clients: "gateway", tools: "gateway__run_start" },
    ]) {
      expect([wish, await listed(wish)]).toEqual([wish, ["run_start"]]);
      const call = (name: string) => agent.modern("/mcp", "tools/call", { name }, { headers: headersOf(wish) });
      expect(await (await call("run_start")).json()).toHaveProperty("result");
      expect(await (await call("run_finish")).json()).toHaveProperty("error.message", "Unknown tool: run_finish");
    }
    for (const wish of [{ clients: "docs" }, { tools: "docs-*" }, { tools: "" }])
      expect(await listed(wish)).toEqual([]);
  });

  it("tells nobody whose filter leaves out a stdio server what it waits for", async () => {
    const gateway = startGateway(offline);
    const stdio = { name: "files", connection_type: "stdio", stdio_config: { command: "x" } };
    const { server_id } = await accepted<{ server_id: string }>(await gateway.admin("POST", "/v1/servers", stdio), 201);
    const agent = await createAgent(gateway, [{ server_id, tools_to_execute: ["*"] }]);
    const call = async (wish: Given) => {
      const response = await agent.modern("/mcp", "tools/call", { name: "files__read" }, { headers: headersOf(wish) });
      return (await response.text()).includes("waiting for a bridge");
    };
    const told = [await call({}), await call({ clients: "files" }), await call({ tools: "files-read" })];
    expect(told).toEqual([true, true, true]);
    for (const wish of [{ clients: "" }, { tools: "" }, { clients: "docs" }, { tools: "docs-*" }]) {
      expect([wish, await call(wish)]).toEqual([wish, false]);
    }
  });

  it("keeps filtered lists out of the colo's cache, and in the isolate's memory under what they name", async () => {
    const keys: string[] = [];
    const cache: ColoCache = {
      get: async (key) => {
        keys.push(key);
        return null;
      },
      put: async (key) => void keys.push(key),
    };
    const gateway = startGateway(scriptedServer({ era: "modern", tools: ['{"name":"b"}'] }).network, {}, { cache });
    const { server_id } = await register(gateway, { name: "a", enabled: true });
    const agent = await createAgent(gateway, [{ server_id, tools_to_execute: ["*"] }]);
    const listed = (headers: Record<string, string>) => namesOf(agent.legacy("/mcp", "tools/list", {}, headers));
    expect(await listed({ [CLIENTS]: "other" })).toEqual([]);
    expect(await listed({})).toEqual(["a__b"]);
    expect(await listed({ [CLIENTS]: "other" })).toEqual([]);
    expect(await listed({ [CLIENTS]: "a" })).toEqual(["a__b"]);
    await env.DB.prepare('UPDATE server_tools SET approved_definition = \'{"name":"b","title":"T"}\'').run();
    // The page of the same names is remembered; that of others is made anew.
    expect(await (await agent.legacy("/mcp", "tools/list", {}, { [CLIENTS]: " A," })).text()).not.toContain("title");
    expect(await (await agent.legacy("/mcp", "tools/list", {}, { [CLIENTS]: "a,c" })).text()).toContain("title");
    expect(keys.filter((key) => key.startsWith('["tools"'))).toHaveLength(2);
  });

  it("lists a tool if and only if it can be called, for random keys and filters [BF-51]", async () => {
    const { gateway, servers } = await start();
    await accepted(await gateway.admin("PATCH", "/v1/servers/docs", { allow_on_all_virtual_keys: true }));
    await accepted(await gateway.admin("PUT", "/v1/servers/a/allowed-tools", { allowed_tools: { b: true } }));
    const offered = new Map([
      ["a", ["b"]],
      ["a-b", ["b", "b-c"]],
      ["docs", ["b", "b-c"]],
    ]);
    const assigned = fc.uniqueArray(
      fc.record({
        server_id: fc.constantFrom(...servers),
        tools_to_execute: fc.constantFrom<string[]>(["*"], [], ["b"], ["b-c", "z"], ["B"]),
      }),
      { selector: ({ server_id }) => server_id },
    );
    const displayed = new Map([["a-b", "Internal docs"]]);
    await fc.assert(
      fc.asyncProperty(assigned, given, async (keyServers, wish) => {
        const agent = await createAgent(gateway, keyServers);
        const headers = headersOf(wish);
        const listed = await namesOf(agent.modern("/mcp", "tools/list", {}, { headers }));
        const effective: string[] = [];
        for (const server of servers) {
          const own = await namesOf(agent.modern(`/mcp/${server}`, "tools/list", {}, { headers }));
          const assignment = keyServers.find(({ server_id }) => server_id === server)?.tools_to_execute;
          for (const tool of ["b", "b-c"]) {
            const exposed_name = `${server}__${tool}`;
            const isOpen =
              assignment === undefined ? server === "docs" : assignment.some((one) => [tool, "*"].includes(one));
            const record = { name: server, display_name: displayed.get(server) ?? server };
            const isWanted = isIncluded(wish, record, { name: tool, exposed_name });
            if (isOpen && isWanted && offered.get(server)?.includes(tool)) effective.push(exposed_name);
            const isOwn = own.includes(tool);
            expect(listed.includes(exposed_name)).toBe(isOwn);
            expect(await isCallable(agent, "/mcp", exposed_name, headers)).toBe(isOwn);
            expect(await isCallable(agent, `/mcp/${server}`, tool, headers)).toBe(isOwn);
          }
        }
        expect(listed).toEqual(effective.toSorted());
      }),
      { numRuns: 20 },
    );
  });

  it("takes the headers from a page in a browser", async () => {
    const origin = "https://gateway.example";
    const preflight = { Origin: origin, "Access-Control-Request-Headers": `${CLIENTS},${TOOLS}` };
    const response = await startGateway(offline).fetch("/mcp", { method: "OPTIONS", headers: preflight });
    for (const name of [CLIENTS, TOOLS]) expect(response.headers.get("Access-Control-Allow-Headers")).toContain(name);
  });
});
