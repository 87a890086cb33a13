/** The tool policy of a server, as an admin writes it and sees it (RB-12). */
import { describe, expect, it } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { accepted, offline, refusal, register, stored } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

const tool = (name: string) => JSON.stringify({ name });

const policyOf = ({ allowed_tools, tool_mode }: ServerView) => ({ allowed_tools, tool_mode });
const read = async (gateway: TestGateway, id: string) =>
  policyOf(await accepted<ServerView>(await gateway.admin("GET", `/v1/servers/${id}`)));
const write = async (gateway: TestGateway, id: string, allowed_tools: unknown) =>
  policyOf(await accepted<ServerView>(await gateway.admin("PATCH", `/v1/servers/${id}`, { allowed_tools })));
const discover = async (gateway: TestGateway, id: string) =>
  accepted(await gateway.admin("POST", `/v1/servers/${id}/discover`));

describe("allowed_tools before any discovery", () => {
  it.each([
    [undefined, null, "unset"],
    [null, null, "unset"],
    [{}, {}, "list"],
    [{ search: true, erase: false }, { search: true, erase: false }, "list"],
    [["*"], null, "all"],
  ])("given as %o shows %o, mode %s [RB-12]", async (allowed_tools, shown, tool_mode) => {
    const gateway = startGateway(offline);
    const server = await register(gateway, allowed_tools === undefined ? {} : { allowed_tools });
    expect(policyOf(server)).toEqual({ allowed_tools: shown, tool_mode });
    expect(await read(gateway, server.server_id)).toEqual({ allowed_tools: shown, tool_mode });
  });

  it("shows no names that were only ever listed once all are allowed [RB-12]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { allowed_tools: { search: true, erase: false } });
    expect(await write(gateway, server_id, ["*"])).toEqual({ allowed_tools: null, tool_mode: "all" });
  });

  it("refuses a name that would change an object, and nothing else that JavaScript has a use for [RB-12]", async () => {
    const gateway = startGateway(offline);
    const hostile = JSON.parse(
      '{"name":"docs","server_url":"https://docs.example/mcp","allowed_tools":{"__proto__":true}}',
    );
    expect(await refusal(await gateway.admin("POST", "/v1/servers", hostile))).toEqual({
      status: 400,
      code: "invalid_json",
    });
    const allowed_tools = { constructor: false, toString: true };
    const server = await register(gateway, { allowed_tools });
    expect(Object.entries(server.allowed_tools ?? {}).toSorted()).toEqual(Object.entries(allowed_tools).toSorted());
  });

  it("keeps many names, long ones and ones of any script", async () => {
    const gateway = startGateway(offline);
    const names = Array.from({ length: 2_000 }, (_, at) => `${at} ${"名".repeat(60)} "quoted" \\ 'x'`);
    const allowed_tools = Object.fromEntries(names.map((name, at) => [name, at % 2 === 0]));
    const { server_id } = await register(gateway, { allowed_tools });
    expect(await read(gateway, server_id)).toEqual({ allowed_tools, tool_mode: "list" });
  });

  it("is replaced whole by another map [RB-12]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { allowed_tools: { search: true, erase: false } });
    const map = { erase: true, list: true };
    expect(await write(gateway, server_id, map)).toEqual({ allowed_tools: map, tool_mode: "list" });
  });

  it("is left alone by a change that does not name it [RB-12]", async () => {
    const gateway = startGateway(offline);
    const { server_id } = await register(gateway, { allowed_tools: { search: true } });
    const before = await stored();
    await accepted(await gateway.admin("PATCH", `/v1/servers/${server_id}`, { display_name: "Docs" }));
    expect((await stored())["server_tools"]).toEqual(before["server_tools"]);
    expect(await read(gateway, server_id)).toEqual({ allowed_tools: { search: true }, tool_mode: "list" });
  });
});

describe("allowed_tools and discovery", () => {
  function start(...tools: string[]) {
    const server = scriptedServer({ era: "modern", tools: tools.map(tool) });
    return { server, gateway: startGateway(server.network) };
  }

  it("of null becomes a map of all that is found, true [RB-12, PS-21]", async () => {
    const { gateway } = start("search", "erase");
    const created = await register(gateway, { enabled: true });
    expect(policyOf(created)).toEqual({ allowed_tools: { search: true, erase: true }, tool_mode: "list" });
  });

  it("of null stays null while nothing is found [RB-12]", async () => {
    const { server, gateway } = start();
    const created = await register(gateway, { enabled: true });
    expect({ ...policyOf(created), state: created.state }).toEqual({
      ...{ allowed_tools: null, tool_mode: "unset", state: "connected" },
    });
    server.change({ tools: [tool("search")] });
    await discover(gateway, created.server_id);
    expect(await read(gateway, created.server_id)).toEqual({ allowed_tools: { search: true }, tool_mode: "list" });
  });

  it("of {} allows nothing, whatever is found [RB-12]", async () => {
    const { gateway } = start("search", "erase");
    const created = await register(gateway, { enabled: true, allowed_tools: {} });
    expect(policyOf(created)).toEqual({ allowed_tools: { search: false, erase: false }, tool_mode: "list" });
  });

  it("of a map keeps what it says, with the names it has not heard of as false [RB-12, PS-21]", async () => {
    const { gateway } = start("search", "erase");
    const created = await register(gateway, { enabled: true, allowed_tools: { search: true, later: true } });
    expect(policyOf(created).allowed_tools).toEqual({ search: true, erase: false, later: true });
  });

  it("of all shows the known tools, all true, also later ones [RB-12, PS-21]", async () => {
    const { server, gateway } = start("search");
    const created = await register(gateway, { enabled: true, allowed_tools: ["*"] });
    expect(policyOf(created)).toEqual({ allowed_tools: { search: true }, tool_mode: "all" });
    server.change({ tools: [tool("search"), tool("erase")] });
    await discover(gateway, created.server_id);
    expect(await read(gateway, created.server_id)).toEqual({
      allowed_tools: { search: true, erase: true },
      tool_mode: "all",
    });
  });

  it("is explicit again after a map, and open again after null [RB-12]", async () => {
    const { server, gateway } = start("search", "erase");
    const { server_id } = await register(gateway, { enabled: true, allowed_tools: ["*"] });
    const list = { allowed_tools: { search: false, erase: true }, tool_mode: "list" };
    expect(await write(gateway, server_id, { erase: true })).toEqual(list);
    server.change({ tools: [tool("search"), tool("erase"), tool("later")] });
    await discover(gateway, server_id);
    expect((await read(gateway, server_id)).allowed_tools).toEqual({ ...list.allowed_tools, later: false });
    expect(await write(gateway, server_id, null)).toEqual({ allowed_tools: null, tool_mode: "unset" });
    await discover(gateway, server_id);
    expect(await read(gateway, server_id)).toEqual({
      allowed_tools: { search: true, erase: true, later: true },
      tool_mode: "list",
    });
  });

  it("of a vanished tool is kept, and in force again when the tool returns [RB-12, PS-21]", async () => {
    const { server, gateway } = start("search", "erase");
    const { server_id } = await register(gateway, { enabled: true, allowed_tools: { search: true, erase: false } });
    for (const tools of [[tool("later")], [tool("search"), tool("erase")]]) {
      server.change({ tools });
      await discover(gateway, server_id);
      expect((await read(gateway, server_id)).allowed_tools).toEqual({ search: true, erase: false, later: false });
    }
  });
});
