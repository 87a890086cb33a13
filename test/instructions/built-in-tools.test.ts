/** The built-in tools through the gateway: what agents are told of them, what they do, and for whom. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { hashOf } from "../../src/catalog/definition.ts";
import { builtInDefinitions } from "../../src/instructions/built-in-tools.ts";
import { agentOf, BUILT_IN, BUILT_IN_NAMES, createAgent } from "../support/agent.ts";
import { accepted, createOrg, offline } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { rowsOf } from "../support/rows.ts";
import { modernCaller, type Send, WAYS } from "../support/tool-callers.ts";
import { resultOf, scriptedServer } from "../support/upstream.ts";
import { startWithUsers } from "../support/users.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';

/** Ann administers the org, bob the group eng, cleo is in eng and ops, dan in none; root is above all orgs. */
async function startAcme() {
  const gateway = await startWithUsers();
  await createOrg("acme");
  const admin = async (method: string, path: string, body: unknown) =>
    accepted(await gateway.admin(method, path, body, { "X-Org-Id": "acme" }), method === "POST" ? 201 : 200);
  await admin("PATCH", "/v1/orgs/acme", { readme: "Ask before you delete.", instructions: "Be brief." });
  for (const group_id of ["eng", "ops"]) await admin("POST", "/v1/orgs/acme/groups", { group_id, name: group_id });
  for (const [user, role] of Object.entries({ ann: "org_admin", bob: "member", cleo: "member", dan: "member" })) {
    await admin("PUT", `/v1/orgs/acme/members/${user}`, { role, email: `${user}@acme.example` });
  }
  await admin("PUT", "/v1/orgs/acme/groups/eng/members/bob", { is_admin: true });
  for (const group of ["eng", "ops"]) await admin("PUT", `/v1/orgs/acme/groups/${group}/members/cleo`, {});
  await admin("PUT", "/v1/instructions/blocklist", { terms: ["Thomas"], forbid_attribution: true });
  const write = (path: string, body: unknown) => admin("PUT", `/v1/instructions/${path}`, body);
  await write("rule/deletes", { body: "Ask first.", title: "Deletes", description: "Before you delete." });
  await write("knowledge/names", { body: "None." });
  await write("rule/eng-only?group=eng", { body: "For eng." });
  const sendAs =
    (user: string | Record<string, unknown>): Send =>
    async (path, body, headers) => {
      // Rows are in the order of their time.
      gateway.passed++;
      const all = {
        ...(await gateway.bearer(user)),
        "X-Org-Id": "acme",
        "Content-Type": "application/json",
        ...headers,
      };
      return gateway.fetch(path, { method: "POST", headers: all, body });
    };
  return { gateway, sendAs, rows: (user: string) => rowsOf(gateway, "acme", user) };
}

const ROOT = { sub: "root", platform: true };

describe("the definitions of the built-in tools", () => {
  it("are in the catalog as the code has them: else `node scripts/built-in-tools.ts` [PS-29]", async () => {
    const { results } = await env.DB.prepare(
      "SELECT * FROM server_tools WHERE server_id = 'gateway' ORDER BY tool",
    ).all();
    const texts = builtInDefinitions().map(
      (definition) => [definition.name, JSON.stringify(definition), definition] as const,
    );
    expect(results).toEqual(
      texts.map(([tool, text, definition]) => ({
        ...{ server_id: "gateway", tool, known: 1, is_new: 0, allowed: 1, auto: 0, price_nano: null },
        ...{ definition: text, definition_hash: hashOf(definition) },
        ...{ approved_definition: text, approved_hash: hashOf(definition) },
        ...{ first_seen: expect.any(Number), last_seen: expect.any(Number) },
      })),
    );
  });

  it("are shown to admins like those of any server [PS-29]", async () => {
    const gateway = startGateway(offline);
    const { rows } = await accepted<{ rows: Record<string, unknown>[] }>(
      await gateway.admin("GET", "/v1/servers/gateway/tools"),
    );
    expect(rows.map(({ name, exposed_name, allowed, known }) => [name, exposed_name, allowed, known])).toEqual(
      BUILT_IN_NAMES.map((name) => [name, name, true, true]),
    );
    expect(await accepted(await gateway.admin("GET", "/v1/servers/gateway"))).toMatchObject({
      allowed_tools: Object.fromEntries(BUILT_IN_NAMES.map((name) => [name, true])),
    });
  });

  it("tell agents everything: title, text, annotations, and both schemas as closed objects of their dialect", () => {
    const definitions = builtInDefinitions();
    expect(definitions.map(({ name }) => name)).toEqual(BUILT_IN_NAMES);
    for (const { name, title, description, annotations, inputSchema, outputSchema } of definitions) {
      const [input, output] = [inputSchema, outputSchema] as Record<string, unknown>[];
      expect({ name, title, description: String(description).length > 60 }).toEqual({
        ...{ name, title: expect.stringMatching(/^[A-Z]/), description: true },
      });
      expect(input).toMatchObject({ type: "object", additionalProperties: false });
      expect(output).toMatchObject({ type: "object", required: expect.any(Array) });
      expect(input).not.toHaveProperty("$schema");
      for (const property of Object.values(input?.["properties"] ?? {})) expect(property).toHaveProperty("description");
      const isReading = /^(readme|list|get)_/.test(name);
      expect(annotations).toMatchObject({ readOnlyHint: isReading, openWorldHint: false });
    }
  });

  it("are listed under bare names at both doors, among those of other servers, and at no other door [PS-29, OT-6]", async () => {
    const agent = await agentOf(
      startGateway(scriptedServer({ era: "modern", tools: [SEARCH] }).network),
      { name: "m" },
      BUILT_IN,
    );
    const meta = { _meta: { "dev.postern/auto_execute": false } };
    const own = builtInDefinitions().map((definition) => ({ ...definition, ...meta }));
    const others = [{ ...JSON.parse(SEARCH), name: "m__search", ...meta }];
    const listed = async (path: string) => {
      const answers = [await agent.modern(path, "tools/list"), await agent.legacy(path, "tools/list")];
      const [first, second] = await Promise.all(
        answers.map(async (one) => (await one.json<{ result: { tools: { name: string }[] } }>()).result.tools),
      );
      expect(second).toEqual(first);
      return first ?? [];
    };
    expect(await listed("/mcp")).toEqual([...own.slice(0, 2), ...others, ...own.slice(2)]);
    expect(await listed("/mcp/gateway")).toEqual(own);
    expect(await listed("/mcp/Gateway")).toEqual(own);
    expect((await listed("/mcp/m")).map(({ name }) => name)).toEqual(["search"]);
  });

  it("are all that the gateway itself offers: no resources, no prompts [OT-1]", async () => {
    const agent = await createAgent(startGateway(offline), [BUILT_IN]);
    for (const path of ["/mcp", "/mcp/gateway"]) {
      const found = await (await agent.modern(path, "server/discover")).json<{ result: { capabilities: object } }>();
      expect(found.result.capabilities).toEqual({ tools: { listChanged: true } });
      for (const method of [
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "prompts/list",
        "prompts/get",
      ]) {
        const params = { name: "x", uri: "x://y" };
        const headers = { "Mcp-Name": method === "resources/read" ? "x://y" : "x" };
        const refused = [
          await agent.modern(path, method, params, { headers }),
          await agent.legacy(path, method, params),
        ];
        const codes = refused.map(async (one) => [
          one.status,
          (await one.json<{ error: { code: number } }>()).error.code,
        ]);
        expect([method, await Promise.all(codes)]).toEqual([
          method,
          [
            [404, -32601],
            [200, -32601],
          ],
        ]);
      }
    }
  });
});

describe.each(WAYS)("a built-in tool, %s,", (label, via) => {
  const structured = label !== "execute";
  const expected = (value: unknown, text = JSON.stringify(value)) => ({
    ...{ isError: false, text },
    ...(structured ? { structured: value } : {}),
  });

  it("reads, in the org and the groups of whoever asks [OT-7, OT-8, OT-9]", async () => {
    const { sendAs } = await startAcme();
    const own = [
      { kind: "knowledge", slug: "names", title: "", description: "", version: 1, group: null },
      { kind: "rule", slug: "deletes", title: "Deletes", description: "Before you delete.", version: 1, group: null },
    ];
    const eng = { kind: "rule", slug: "eng-only", title: "", description: "", version: 1, group: "eng" };
    const [dan, cleo] = [via(sendAs("dan")), via(sendAs("cleo"))];
    expect(await dan("readme_agent")).toEqual(
      expected({ scope: "acme", readme: "Ask before you delete.", instructions: own }),
    );
    expect(await dan("list_instructions")).toEqual(expected({ result: own }, JSON.stringify(own)));
    expect(await cleo("list_instructions")).toEqual(expected({ result: [...own, eng] }, JSON.stringify([...own, eng])));
    expect(await dan("list_instructions", { kind: "knowledge" })).toEqual(
      expected({ result: own.slice(0, 1) }, JSON.stringify(own.slice(0, 1))),
    );
    expect(await dan("list_instructions", { kind: "No such" })).toEqual(expected({ result: [] }, "[]"));
    expect(await dan("get_instruction", { kind: "rule", slug: "deletes" })).toEqual(
      expected({ kind: "rule", slug: "deletes", title: "Deletes", version: 1, body: "Ask first." }),
    );
    expect(await dan("get_instruction", { kind: "rule", slug: "eng-only" })).toEqual({
      ...{ isError: true, text: "instruction not found: rule/eng-only" },
    });
    expect(await cleo("get_instruction", { kind: "rule", slug: "eng-only", group: "eng" })).toMatchObject({
      isError: false,
    });
  });

  it("writes for admins, and asks for the role before anything else [OT-10, OT-18, OT-19, OT-20, T-46]", async () => {
    const { sendAs } = await startAcme();
    const set = (user: string | Record<string, unknown>, args: unknown) => via(sendAs(user))("set_instruction", args);
    const refused = (required: string, got: string) => ({
      isError: true,
      text: `insufficient role: required '${required}', got '${got}'`,
    });
    const rule = { kind: "rule", slug: "new", body: "Ask." };
    for (const args of [rule, { ...rule, body: "Thomas" }, {}, { ...rule, kind: "NO", more: 1 }, { group: 5 }]) {
      expect([args, await set("dan", args)]).toEqual([args, refused("org_admin", "member")]);
    }
    expect(await set("cleo", { ...rule, group: "eng", body: "Thomas" })).toEqual(refused("group_admin", "member"));
    expect(await set("bob", { ...rule, group: "ops" })).toEqual(refused("group_admin", "member"));
    expect(await set(ROOT, rule)).toEqual(refused("org_admin", "none"));
    expect(await via(sendAs(ROOT))("readme_agent")).toEqual(refused("member", "none"));
    expect(await set("bob", { ...rule, group: "eng" })).toEqual(expected({ kind: "rule", slug: "new", version: 1 }));
    expect(await set("ann", { ...rule, title: "T", description: "D" })).toEqual(
      expected({ kind: "rule", slug: "new", version: 1 }),
    );
    expect(await set("ann", rule)).toEqual(expected({ kind: "rule", slug: "new", version: 2 }));
    expect(await set("ann", { ...rule, body: "Ask Thomas." })).toEqual({
      ...{ isError: true, text: "write refused: forbidden term (person or client): 'Thomas'" },
    });
  });

  it("names the argument that is wrong, and never repeats what it holds [OT-11]", async () => {
    const { sendAs } = await startAcme();
    const ann = via(sendAs("ann"));
    const calls: [string, unknown, string][] = [
      ["set_instruction", { kind: "Rule", slug: "a", body: "b" }, "kind must have 1 to 64 lower-case letters"],
      ["set_instruction", { kind: "rule", slug: "", body: "b" }, "slug must have 1 to 64 lower-case letters"],
      ["set_instruction", { kind: "rule", slug: "a", body: " " }, "body must not be blank."],
      [
        "set_instruction",
        { kind: "rule", slug: "a", body: "b", title: "t".repeat(201) },
        "title must have at most 200",
      ],
      ["set_instruction", { kind: "rule", slug: "a" }, "body must be a string."],
      ["get_instruction", { kind: 5, slug: "a" }, "kind must be a string."],
      ["readme_agent", { secret: "canary" }, "secret is not an argument of this tool."],
      ["run_start", {}, "label must be a string."],
      ["run_start", { label: "" }, "label must have 1 to 200 characters"],
      ["run_start", { label: "x".repeat(201) }, "label must have 1 to 200 characters"],
      ["run_start", { label: "x", doctrine: "x".repeat(201) }, "doctrine must have at most 200 characters"],
      ["run_start", { label: "x", budget_usd: -1 }, "budget_usd must be from 0 to 1000000 USD."],
      ["run_start", { label: "x", budget_usd: 1_000_001 }, "budget_usd must be from 0 to 1000000 USD."],
      ["run_start", { label: "x", budget_usd: "5" }, "budget_usd must be a number."],
      ["run_start", { label: "x", budget: 5 }, "budget is not an argument of this tool."],
      ["run_finish", { run_id: "x", outcome: "done", note: "n".repeat(2_001) }, "note must have at most 2000"],
    ];
    for (const [name, args, text] of calls) {
      const called = await ann(name, args);
      expect([name, called.isError, called.text.slice(0, text.length)]).toEqual([name, true, text]);
      expect(called.text).not.toContain("canary");
    }
  });

  it("has a row for each call, of the same making as any other [OT-22, OT-23]", async () => {
    const { sendAs, rows } = await startAcme();
    const dan = via(sendAs("dan"));
    await dan("get_instruction", { kind: "rule", slug: "deletes" });
    await dan("set_instruction", { kind: "rule", slug: "a", body: "b".repeat(400), group: "eng" });
    await dan("get_instruction", { kind: "rule", slug: "none" });
    const common = {
      ...{ server: "gateway", server_id: "gateway", sub: "dan", virtual_key_id: null, run_id: null, reason: null },
      ...{ upstream_ms: null, attempts: 0, cost_usd: 0, definition_hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
    };
    expect((await rows("dan")).reverse()).toMatchObject([
      { ...common, tool: "get_instruction", ok: true, error: null, args: { kind: "rule", slug: "deletes" } },
      {
        ...{ ...common, tool: "set_instruction", ok: false },
        error: "insufficient role: required 'group_admin', got 'member'",
        args: { kind: "rule", slug: "a", body: `${"b".repeat(300)}…`, group: "eng" },
      },
      { ...common, tool: "get_instruction", ok: false, error: "instruction not found: rule/none" },
    ]);
  });

  it("tells nothing of one org to another, whatever their names [OT-3]", async () => {
    const { gateway, sendAs } = await startAcme();
    await createOrg("other");
    await accepted(await gateway.admin("PUT", "/v1/orgs/other/members/ann", { role: "org_admin" }));
    const other = via((path, body, headers) => sendAs("ann")(path, body, { ...headers, "X-Org-Id": "other" }));
    expect(await other("readme_agent")).toEqual(expected({ scope: "other", readme: "", instructions: [] }));
    expect(await other("set_instruction", { kind: "rule", slug: "deletes", body: "Go on." })).toEqual(
      expected({ kind: "rule", slug: "deletes", version: 1 }),
    );
    expect(await via(sendAs("ann"))("get_instruction", { kind: "rule", slug: "deletes" })).toMatchObject({
      text: expect.stringContaining("Ask first."),
    });
  });
});

describe("a virtual key", () => {
  it("is a member of its org at the built-in tools, and needs no assignment for them", async () => {
    const gateway = startGateway(offline);
    const created = await gateway.admin("POST", "/v1/virtual-keys", { name: "k" });
    const { value, virtual_key_id } = await accepted<{ value: string; virtual_key_id: string }>(created, 201);
    const send: Send = (path, body, headers) =>
      gateway.fetch(path, {
        method: "POST",
        headers: { "x-api-key": value, "Content-Type": "application/json", ...headers },
        body,
      });
    const call = modernCaller(send);
    expect(await call("readme_agent")).toMatchObject({ isError: false, structured: { scope: "default" } });
    expect(await call("set_instruction", {})).toMatchObject({
      ...{ isError: true, text: "insufficient role: required 'org_admin', got 'member'" },
    });
    const [row] = await rowsOf(gateway, "default", `key:${virtual_key_id}`);
    expect(row).toMatchObject({ sub: null, virtual_key_id, tool: "set_instruction", ok: false });
  });

  it("has those that its assignment names, and the others are unknown to it [OT-19]", async () => {
    const agent = await createAgent(startGateway(offline), [
      { server_id: "gateway", tools_to_execute: ["readme_agent", "run_start"] },
    ]);
    const send: Send = (path, body, headers) => agent.post(path, body, headers);
    for (const [label, via] of WAYS) {
      expect(await via(send)("readme_agent")).toMatchObject({ isError: false });
      const refused = await via(send)("run_finish", { run_id: "x", outcome: "done" });
      const code = label === "execute" ? "403 forbidden" : -32602;
      expect([label, refused.error?.code]).toEqual([label, code]);
    }
    expect(await agent.rows()).toContainEqual(expect.objectContaining({ tool: "run_finish", reason: "key_denied" }));
  });
});

describe("a tool of the same name on another server", () => {
  it("is not in the way of a built-in one, nor the other way round [PS-29]", async () => {
    const upstream = scriptedServer({
      ...{ era: "modern", tools: ['{"name":"run_start"}'] },
      call: (seen) => resultOf(seen, '{"content":[{"type":"text","text":"theirs"}]}'),
    });
    const gateway = startGateway(upstream.network);
    const agent = await agentOf(gateway, { name: "docs" }, BUILT_IN);
    const send: Send = (path, body, headers) => agent.post(path, body, headers);
    expect(await modernCaller(send)("docs__run_start")).toMatchObject({ text: "theirs" });
    expect(await modernCaller(send)("run_start", { label: "ours" })).toMatchObject({ structured: { label: "ours" } });
    expect(await modernCaller(send, "/mcp/docs")("run_start")).toMatchObject({ text: "theirs" });
  });
});
