/** How a call that lacks a linked account is answered, at each door and to each kind of client (PS-59). */
import { describe, expect, it } from "vitest";
import { callsOf } from "../support/execute.ts";
import { linkIn, linkServer, linkWithKey, protectedAgent, protectedWorld, triedAgent } from "../support/protected.ts";

const TAKES_LINKS = { "io.modelcontextprotocol/clientCapabilities": { elicitation: { url: {} } } };
const DOORS = [
  ["/mcp", "docs__search"],
  ["/mcp/docs", "search"],
] as const;

describe.each(DOORS)("at %s", (door, name) => {
  const CALL = { name, arguments: { q: 1 } };

  it("a modern client that shows links is asked to, and its answer reaches no server [PS-59, P-17, P-20]", async () => {
    const world = protectedWorld();
    const agent = await triedAgent(world);
    const asked = await agent.modern(door, "tools/call", CALL, { meta: TAKES_LINKS });
    expect(asked.status).toBe(200);
    const { result } = await asked.json<{ result: { inputRequests: Record<string, { params: { url: string } }> } }>();
    expect(result).toMatchObject({ resultType: "input_required" });
    const [[key = "", request]] = Object.entries(result.inputRequests) as [[string, { params: { url: string } }]];
    expect(request).toEqual({
      method: "elicitation/create",
      params: {
        mode: "url",
        url: expect.stringMatching(/^https:\/\/gateway\.example\/connect\//),
        message: expect.any(String),
      },
    });
    const answered = (action: string) => ({ ...CALL, inputResponses: { [key]: { action } } });
    // Saying that one will open a link is not having done so.
    const again = await agent.modern(door, "tools/call", answered("accept"), { meta: TAKES_LINKS });
    expect(await again.text()).toContain("input_required");
    const declined = await agent.modern(door, "tools/call", answered("decline"), { meta: TAKES_LINKS });
    expect(await declined.json()).toMatchObject({ result: { isError: true, resultType: "complete" } });
    expect(world.upstream.calls()).toEqual([]);

    expect((await linkWithKey(world, agent)).status).toBe(200);
    const done = await agent.modern(door, "tools/call", answered("accept"), { meta: TAKES_LINKS });
    expect(await done.json()).toMatchObject({ result: { content: [] } });
    const [sent] = world.upstream.calls();
    expect(sent?.message["params"]).not.toHaveProperty("inputResponses");
    expect(sent?.message["params"]).toMatchObject({ name: "search", arguments: { q: 1 } });
  });

  it("a modern client that shows none gets the link as text [PS-59, P-20]", async () => {
    const world = protectedWorld();
    const agent = await triedAgent(world);
    const body = await (await agent.modern(door, "tools/call", CALL)).text();
    expect(JSON.parse(body)).toMatchObject({ result: { isError: true, resultType: "complete" } });
    expect(linkIn(body)).not.toBe("");
  });

  it("a client of 2025-11-25 that shows links gets -32042, every other legacy one the link as text [PS-59, P-31]", async () => {
    const world = protectedWorld();
    const agent = await triedAgent(world);
    const capabilities = { elicitation: { url: {} } };
    const clientInfo = { name: "agent", version: "1" };
    const answers: unknown[] = [];
    for (const [protocolVersion, given] of [
      ["2025-11-25", capabilities],
      ["2025-11-25", { elicitation: {} }],
      ["2025-06-18", capabilities],
    ] as const) {
      const opened = await agent.legacy(door, "initialize", { protocolVersion, capabilities: given, clientInfo });
      const session = { "Mcp-Session-Id": opened.headers.get("Mcp-Session-Id") ?? "" };
      answers.push(await (await agent.legacy(door, "tools/call", CALL, session)).json());
    }
    const elicitation = {
      mode: "url",
      elicitationId: expect.stringMatching(/^flow_/),
      url: expect.stringMatching(/^https:\/\/gateway\.example\/connect\//),
      message: expect.any(String),
    };
    const text = { content: [{ type: "text", text: expect.stringContaining("/connect/") }], isError: true };
    expect(answers).toEqual([
      {
        jsonrpc: "2.0",
        id: 1,
        error: { code: -32042, message: expect.any(String), data: { elicitations: [elicitation] } },
      },
      { jsonrpc: "2.0", id: 1, result: text },
      { jsonrpc: "2.0", id: 1, result: text },
    ]);
    expect(world.upstream.calls()).toEqual([]);
  });

  it("a legacy client's session goes on after linking, to a legacy server too [PS-59, CN-3]", async () => {
    const world = protectedWorld({ era: "legacy" });
    const agent = await triedAgent(world);
    const session = await agent.initialize(door);
    expect(linkIn(await (await agent.legacy(door, "tools/call", CALL, session)).text())).not.toBe("");
    expect((await linkWithKey(world, agent)).status).toBe(200);
    const done = await agent.legacy(door, "tools/call", CALL, session);
    expect(await done.json()).toMatchObject({ result: { content: [] } });
  });
});

describe("without MCP", () => {
  it("the link is in a 401 of its own, and the call is on record [BF-60, T-13]", async () => {
    const world = protectedWorld();
    const agent = await triedAgent(world);
    const { chat } = callsOf(world.gateway, { "x-bf-vk": agent.key.value, "X-Bf-User-Id": "somebody-else" });
    const asked = await chat("docs__search", "{}");
    expect(asked.status).toBe(401);
    const body = await asked.json<{ extra_fields: { mcp_auth_required: Record<string, string> } }>();
    expect(body.extra_fields).toMatchObject({
      code: "auth_required",
      mcp_auth_required: {
        mcp_client_id: agent.server_id,
        mcp_client_name: "docs",
        authorize_url: expect.stringMatching(/^https:\/\/gateway\.example\/connect\//),
        session_id: expect.stringMatching(/^flow_/),
        message: expect.any(String),
      },
    });
    expect(world.upstream.calls()).toEqual([]);
    expect((await linkWithKey(world, agent)).status).toBe(200);
    expect((await chat("docs__search", "{}")).status).toBe(200);
    const rows = await agent.rows();
    const unlinked = [false, 0, "link_needed", "An account has to be linked with the server first."];
    expect(rows.map(({ ok, attempts, outcome, error }) => [ok, attempts, outcome, error])).toEqual([
      [true, 1, "ok", null],
      unlinked,
      unlinked,
    ]);
  });
});

describe("a server with one account for all", () => {
  it("says that it is not connected, and gives nobody a link [PS-59]", async () => {
    const world = protectedWorld();
    const agent = await protectedAgent(world, { auth_type: "oauth", display_name: "The docs" });
    expect((await linkServer(world, agent.server_id)).status).toBe(200);
    await world.gateway.admin("DELETE", `/v1/servers/${agent.server_id}/token`);
    const body = await (
      await agent.modern("/mcp", "tools/call", { name: "docs__search" }, { meta: TAKES_LINKS })
    ).text();
    expect(JSON.parse(body)).toMatchObject({ result: { isError: true } });
    expect(body).toContain("The docs is not connected; ask an admin");
    expect(body).not.toContain("/connect/");
  });
});

describe("a server that asks for more scope", () => {
  it("gets the union of what was granted and asked for, and its refusal of that is final [P-62]", async () => {
    let missing = "admin";
    const world = protectedWorld({
      call: () => {
        const challenge = `Bearer error="insufficient_scope", scope="${missing}"`;
        return missing === ""
          ? Response.json({ jsonrpc: "2.0", id: 1, result: { content: [] } })
          : new Response(null, { status: 403, headers: { "WWW-Authenticate": challenge } });
      },
    });
    const agent = await triedAgent(world);
    expect((await linkWithKey(world, agent)).status).toBe(200);
    expect((await linkWithKey(world, agent)).status).toBe(200);
    const asked = world.as.to("token").at(-1);
    const scopes = world.as.issued.at(-1)?.scope.split(" ").toSorted();
    expect(asked?.params["grant_type"]).toBe("authorization_code");
    expect(scopes).toEqual(["admin", "read", "write"]);
    // Granted, and still refused: another consent would change nothing.
    const body = await (await agent.modern("/mcp", "tools/call", { name: "docs__search", arguments: {} })).text();
    expect(linkIn(body)).toBe("");
    expect(JSON.parse(body)).toMatchObject({ result: { isError: true } });
    missing = "";
    const done = await agent.modern("/mcp", "tools/call", { name: "docs__search", arguments: {} });
    expect(await done.json()).toMatchObject({ result: { content: [] } });
  });
});
