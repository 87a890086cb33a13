import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { accepted } from "../support/api.ts";
import { authorizationServer } from "../support/authorization-server.ts";
import { startGateway } from "../support/gateway.ts";
import { createBrowser } from "../support/oauth.ts";
import {
  departWith,
  linkIn,
  linkServer,
  linkWithKey,
  type ProtectedWorld,
  resultOf,
  SEARCH,
  triedAgent,
} from "../support/protected.ts";
import { scriptedServer } from "../support/upstream.ts";

/** A server that changes its authorization server when it is told to; the former one goes on as before. */
function movingWorld() {
  const clock = () => Date.now();
  const former = authorizationServer({ clock });
  const next = authorizationServer({ clock, issuer: "https://next.example" });
  let current = former;
  const shown: (string | null)[] = [];
  const upstream = scriptedServer({
    era: "modern",
    tools: [SEARCH],
    first: ({ headers }) => {
      shown.push(headers.get("Authorization"));
      return current.challenge(headers) ?? undefined;
    },
  });
  const gateway = startGateway(async (request) => {
    const other = current === former ? next : former;
    return (await current.handle(request)) ?? (await other.handle(request)) ?? upstream.network(request);
  });
  const world: ProtectedWorld = {
    gateway,
    upstream,
    shown,
    get as() {
      return current;
    },
  };
  return {
    world,
    former,
    next,
    move: () => {
      current = next;
    },
    /** Everything that the next authorization server was sent. */
    toNext: () => JSON.stringify(next.requests.map(({ url, headers, text }) => [url, [...headers], text])),
  };
}

describe("a server that has changed its authorization server", () => {
  it("has its accounts linked at the new one, which sees nothing of the former [P-60]", async () => {
    const { world, former, next, move, toNext } = movingWorld();
    const agent = await triedAgent(world);
    expect((await linkWithKey(world, agent)).status).toBe(200);
    const call = () => agent.modern("/mcp", "tools/call", { name: "docs__search", arguments: {} });
    expect(await resultOf(await call())).not.toHaveProperty("isError");

    move();
    const asked = linkIn(await (await call()).text());
    const renewals = former.requests.length;
    // The account that is there is not tried at either of them again.
    expect(linkIn(await (await call()).text())).not.toBe("");
    expect(former.requests.length).toBe(renewals);
    expect(next.requests.filter(({ endpoint }) => endpoint === "token")).toEqual([]);
    expect(next.clients.size).toBe(1);

    const departed = new URL(await departWith(createBrowser(world.gateway), asked, agent.key.value));
    const [client] = next.clients.keys();
    expect(departed.origin).toBe("https://next.example");
    expect(departed.searchParams.get("client_id")).toBe(client);
    expect((await linkWithKey(world, agent)).status).toBe(200);
    expect(await resultOf(await call())).not.toHaveProperty("isError");
    expect(world.shown.at(-1)).toBe(`Bearer ${next.issued.at(-1)?.access_token}`);

    const ofFormer = [
      ...former.clients.keys(),
      ...former.issued.flatMap((all) => [all.access_token, all.refresh_token]),
    ];
    expect(ofFormer.length).toBeGreaterThan(3);
    for (const secret of ofFormer) expect(toNext()).not.toContain(secret);
  });

  it("is registered there by the look that its refusal ends, and an admin links it anew [P-60]", async () => {
    const { world, next, move } = movingWorld();
    const { gateway } = world;
    const { server_id } = await agentOf(gateway, { name: "docs", auth_type: "oauth" });
    expect((await linkServer(world, server_id)).status).toBe(200);
    move();
    const looked = await gateway.admin("POST", `/v1/servers/${server_id}/discover`);
    expect(looked.status).toBe(502);
    expect(await looked.text()).toContain("The account has to be linked again.");
    const server = await accepted(await gateway.admin("GET", `/v1/servers/${server_id}`));
    const [client_id] = next.clients.keys();
    expect(server).toMatchObject({ oauth_issuer_url: "https://next.example", client_id, status: "active" });
    expect((await linkServer(world, server_id)).status).toBe(200);
    expect((await gateway.admin("POST", `/v1/servers/${server_id}/discover`)).status).toBe(200);
  });

  it("tells the admin why it could not be registered there", async () => {
    const { world, next, move } = movingWorld();
    const { server_id } = await agentOf(world.gateway, { name: "docs", auth_type: "oauth" });
    expect((await linkServer(world, server_id)).status).toBe(200);
    move();
    next.behaviour.metadata = { registration_endpoint: undefined };
    expect((await world.gateway.admin("POST", `/v1/servers/${server_id}/discover`)).status).toBe(502);
    const server = await accepted(await world.gateway.admin("GET", `/v1/servers/${server_id}`));
    expect(server).toMatchObject({
      oauth_issuer_url: "https://as.example",
      last_failure: {
        stage: "auth",
        message: expect.stringMatching(/^The server has changed .* registers no clients/),
      },
    });
  });

  it("keeps the one that an admin has named", async () => {
    const { world, next, move } = movingWorld();
    const named = { oauth_issuer_url: "https://as.example" };
    const { server_id } = await agentOf(world.gateway, { name: "docs", auth_type: "oauth", ...named });
    expect((await linkServer(world, server_id)).status).toBe(200);
    move();
    expect((await world.gateway.admin("POST", `/v1/servers/${server_id}/discover`)).status).toBe(502);
    const server = await accepted(await world.gateway.admin("GET", `/v1/servers/${server_id}`));
    expect(server).toMatchObject(named);
    expect(next.clients.size).toBe(0);
  });
});
