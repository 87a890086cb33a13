import { describe, expect, it } from "vitest";
import { linkServer, linkWithKey, protectedAgent, protectedWorld, resultOf, triedAgent } from "../support/protected.ts";

const CALL = { name: "docs__search", arguments: {} };

describe("a server of per-user accounts", () => {
  it("is linked from the first call, and the same call works then [PS-59, PS-54, P-20, CN-9]", async () => {
    const world = protectedWorld();
    const agent = await triedAgent(world);
    const linked = await linkWithKey(world, agent);
    expect(await linked.text()).toContain("offers one tool");
    expect(linked.status).toBe(200);
    expect(await resultOf(await agent.modern("/mcp", "tools/call", CALL))).toEqual({
      content: [],
      resultType: "complete",
    });
    expect(world.upstream.calls()).toHaveLength(1);
  });
});

describe("a server with one account for all", () => {
  it("is linked by an admin", async () => {
    const world = protectedWorld();
    const agent = await protectedAgent(world, { auth_type: "oauth" });
    const linked = await linkServer(world, agent.server_id);
    expect(await linked.text()).toContain("offers one tool");
    expect(await resultOf(await agent.modern("/mcp", "tools/call", CALL))).toEqual({
      content: [],
      resultType: "complete",
    });
  });
});
