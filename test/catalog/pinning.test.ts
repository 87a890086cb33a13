import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const tool = (name: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({ name, description: "first", inputSchema: { type: "object" }, ...more });

interface Change {
  change_id: string;
  tool: string;
  state: string;
  diff: unknown;
  decided_by: string | null;
}

async function startDocs(server: Record<string, unknown> = {}) {
  const upstream = scriptedServer({ era: "modern", tools: [tool("search")] });
  const gateway = startGateway(upstream.network);
  const agent = await agentOf(gateway, { name: "docs", ...server });
  const base = `/v1/servers/${agent.server_id}`;
  return {
    gateway,
    agent,
    base,
    /** Discovers after the server has changed its list. */
    async offer(...tools: string[]) {
      upstream.change({ tools });
      const response = await gateway.admin("POST", `${base}/discover`);
      return response.json<{ added: string[]; changed: string[]; vanished: string[] }>();
    },
    async changes(state?: string) {
      const response = await gateway.admin("GET", `${base}/changes${state === undefined ? "" : `?state=${state}`}`);
      return (await response.json<{ rows: Change[] }>()).rows;
    },
    post: (path: string) => gateway.admin("POST", `${base}${path}`),
    async listed() {
      return (await agent.modern(`/mcp/${server["name"] ?? "docs"}`, "tools/list")).text();
    },
  };
}

describe("a changed definition", () => {
  it("is held with its difference by field, while the approved one stays in force", async () => {
    const { offer, changes, listed, gateway, base } = await startDocs();
    const schema = { type: "object", properties: { q: { type: "string" } } };
    expect(await offer(tool("search", { description: "second", inputSchema: schema, title: "T" }))).toMatchObject({
      changed: ["search"],
    });
    const [change] = await changes("held");
    expect(change).toMatchObject({
      tool: "search",
      state: "held",
      decided_at: null,
      decided_by: null,
      diff: [
        { field: "description", before: "first", after: "second" },
        { field: "inputSchema.properties", after: { q: { type: "string" } } },
        { field: "title", after: "T" },
      ],
    });
    const tools = await (await gateway.admin("GET", `${base}/tools`)).json();
    expect(tools).toMatchObject({ rows: [{ description: "first", pending_change_id: change?.change_id }] });
    expect(await listed()).toContain(tool("search").slice(0, -1));
  });

  it("is in force once it is approved, and logged with who did it [PS-22]", async () => {
    const { offer, changes, listed, post } = await startDocs();
    const second = tool("search", { description: "second" });
    await offer(second);
    const [change] = await changes("held");
    const path = `/changes/${change?.change_id}`;
    expect(await (await post(`${path}/approve`)).json()).toMatchObject({ state: "approved", decided_by: "admin-key" });
    expect(await listed()).toContain(second.slice(0, -1));
    for (const verb of ["approve", "refuse"]) {
      const again = await post(`${path}/${verb}`);
      expect(again.status).toBe(409);
      expect(await again.json()).toMatchObject({ code: "conflict" });
    }
    expect((await post("/changes/chg_none/approve")).status).toBe(404);
    expect(await offer(second)).toMatchObject({ changed: [] });
  });

  it("that is refused is not reported again, but another one is", async () => {
    const { offer, changes, listed, post } = await startDocs();
    await offer(tool("search", { description: "second" }));
    await post(`/changes/${(await changes("held"))[0]?.change_id}/refuse`);
    expect(await offer(tool("search", { description: "second" }))).toMatchObject({ changed: ["search"] });
    expect(await changes("held")).toEqual([]);
    await offer(tool("search", { description: "third" }));
    expect(await changes("held")).toHaveLength(1);
    expect(await listed()).toContain("first");
  });

  it.each([
    ["a newer one", tool("search", { description: "third" }), 1],
    ["the return of the approved one", tool("search"), 0],
  ])("is withdrawn by %s, and cannot be decided then", async (_, next, held) => {
    const { offer, changes, post } = await startDocs();
    await offer(tool("search", { description: "second" }));
    const [former] = await changes("held");
    await offer(next);
    expect(await changes("held")).toHaveLength(held);
    expect((await changes("withdrawn")).map(({ change_id }) => change_id)).toEqual([former?.change_id]);
    expect((await post(`/changes/${former?.change_id}/approve`)).status).toBe(409);
  });

  it("counts for the whole of the definition but neither for its form nor for _meta [PS-20]", async () => {
    const { offer } = await startDocs();
    const same = '{ "inputSchema":{"type":"object"}, "_meta":{"v":2}, "description":"fir\\u0073t", "name":"search" }';
    expect(await offer(same)).toMatchObject({ changed: [] });
    expect(await offer(tool("search", { description: "first " }))).toMatchObject({ changed: ["search"] });
  });
});

describe("deciding on everything at once", () => {
  it("approves or refuses what is held, and nothing is no error", async () => {
    const { offer, changes, post, listed } = await startDocs({ allowed_tools: ["*"] });
    await offer(tool("search"), tool("read"));
    await offer(tool("search", { title: "S" }), tool("read", { title: "R" }));
    const held = (await changes("held")).map(({ change_id }) => change_id);
    expect(held).toHaveLength(2);
    const decided = await (await post("/changes/approve")).json<{ decided: string[] }>();
    expect(decided.decided.toSorted()).toEqual(held.toSorted());
    expect(await listed()).toContain('"title":"R"');
    expect(await (await post("/changes/refuse")).json()).toEqual({ decided: [] });
    expect((await changes("approved")).map(({ decided_by }) => decided_by)).toEqual(["admin-key", "admin-key"]);
  });
});

describe("a trusted server", () => {
  it("has its changes approved at once, those held when it is trusted too, and logged", async () => {
    const { offer, changes, listed, gateway, base } = await startDocs();
    await offer(tool("search", { description: "second" }));
    expect((await gateway.admin("PATCH", base, { definition_policy: "trust" })).status).toBe(200);
    expect(await listed()).toContain("second");
    await offer(tool("search", { description: "third" }));
    expect(await listed()).toContain("third");
    expect(await changes("held")).toEqual([]);
    expect((await changes("approved")).map(({ decided_by }) => decided_by).toSorted()).toEqual([
      "admin-key",
      "definition_policy",
    ]);
  });
});

describe("a tool that comes, goes and returns", () => {
  it("is new and blocked under a map, and its latest definition counts until somebody decides", async () => {
    const { offer, listed, gateway, base, changes } = await startDocs();
    await offer(tool("search"), tool("read"));
    await offer(tool("search"), tool("read", { description: "second" }));
    expect(await changes()).toEqual([]);
    expect(await listed()).not.toContain("read");
    await gateway.admin("PATCH", base, { allowed_tools: { search: true, read: true } });
    expect(await listed()).toContain("second");
    await offer(tool("search"), tool("read", { description: "third" }));
    expect(await changes("held")).toHaveLength(1);
  });

  it("returns with its flag, and with another definition it is held [PS-23]", async () => {
    const { offer, listed, changes } = await startDocs();
    expect(await offer()).toMatchObject({ vanished: ["search"] });
    expect(await listed()).not.toContain("search");
    expect(await offer(tool("search"))).toMatchObject({ added: ["search"], changed: [] });
    expect(await listed()).toContain("search");
    await offer();
    expect(await offer(tool("search", { description: "second" }))).toMatchObject({
      added: ["search"],
      changed: ["search"],
    });
    expect(await listed()).toContain("first");
    expect(await changes("held")).toHaveLength(1);
  });
});

describe("whatever a server does to its definitions", () => {
  it("no byte of one that is not approved reaches an agent [T-16]", async () => {
    let run = 0;
    const definition = fc.record({ tool: fc.constantFrom("a", "b"), version: fc.integer({ min: 0, max: 3 }) });
    const step = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.array(definition, { maxLength: 2 }).map((offered) => ({ kind: "offer" as const, offered })),
      },
      { weight: 1, arbitrary: fc.constantFrom({ kind: "approve" as const }, { kind: "refuse" as const }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 8 }), async (steps) => {
        const { offer, post, listed } = await startDocs({ name: `docs-${++run}`, allowed_tools: ["*"] });
        const text = (name: string, version: number) => tool(name, { description: `${name}-version-${version}` });
        const [approved, held, refused] = [
          new Map<string, number>(),
          new Map<string, number>(),
          new Map<string, number>(),
        ];
        for (const next of steps) {
          if (next.kind === "offer") {
            const offered = new Map(next.offered.map(({ tool: name, version }) => [name, version]));
            await offer(...Array.from(offered, ([name, version]) => text(name, version)));
            for (const [name, version] of offered) {
              if (!approved.has(name)) approved.set(name, version);
              const isHeld = approved.get(name) !== version && refused.get(name) !== version;
              if (isHeld) held.set(name, version);
              else held.delete(name);
            }
          } else {
            await post(`/changes/${next.kind}`);
            for (const [name, version] of held) (next.kind === "approve" ? approved : refused).set(name, version);
            held.clear();
          }
          const shown = await listed();
          for (const [, name = "", version] of shown.matchAll(/([ab])-version-(\d)/g)) {
            expect(Number(version), `${name} in ${JSON.stringify(steps)}`).toBe(approved.get(name));
          }
        }
      }),
      { numRuns: 15 },
    );
  });
});
