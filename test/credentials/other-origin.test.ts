/** A gateway that is reached at another origin than the one it was registered with. */
import { expect, it } from "vitest";
import { accepted } from "../support/api.ts";
import { createBrowser } from "../support/oauth.ts";
import { callbackOf, departWith, linkWithKey, protectedWorld, triedAgent } from "../support/protected.ts";

const CALL = { name: "docs__search", arguments: {} };

it("registers again where browsers come back to another place, and the provider takes it [R-9]", async () => {
  const world = protectedWorld();
  const agent = await triedAgent(world);
  const former = await recordOf();
  // The same gateway by another name: every path is one of `https://gateway.example.new`.
  const moved = {
    ...world.gateway,
    fetch: (path: string, init?: RequestInit) => world.gateway.fetch(`.new${path}`, init),
  };
  const post = (body: object) =>
    moved.fetch("/mcp", {
      method: "POST",
      headers: { Authorization: `Bearer ${agent.key.value}`, "Content-Type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: body }),
    });
  const link = async () => {
    const asked = await (await post(CALL)).text();
    const path = /https:\/\/gateway\.example\.new(\/connect\/[A-Za-z0-9_-]{43})/.exec(asked)?.[1] ?? "";
    expect(path, asked).not.toBe("");
    const browser = createBrowser(moved);
    const departed = await departWith(browser, path, agent.key.value);
    // The authorization server refuses to send anybody to where its client is not registered for.
    return browser.get(callbackOf(world.as.visit(departed)));
  };
  expect((await link()).status).toBe(200);
  expect(await (await post(CALL)).text()).toContain('"content":[]');
  const registered = world.as.to("registration");
  expect(registered).toHaveLength(2);
  const present = await recordOf();
  expect(present.client_id).not.toBe(former.client_id);
  expect([...world.as.clients.keys()]).toContain(present.client_id);
  const client = world.as.clients.get(present.client_id);
  expect(client?.redirect_uris).toContain("https://gateway.example.new/connect/callback");

  // Both places are known by then: whoever comes to the former one is sent on without another registration.
  await world.gateway.admin("DELETE", `/v1/servers/${agent.server_id}/tokens/key:${agent.key.virtual_key_id}`);
  expect(client?.redirect_uris).toContain("https://gateway.example/connect/callback");
  expect((await linkWithKey(world, agent)).status).toBe(200);
  expect(world.as.to("registration")).toHaveLength(2);

  async function recordOf() {
    return accepted<{ client_id: string }>(await world.gateway.admin("GET", `/v1/servers/${agent.server_id}`));
  }
});
