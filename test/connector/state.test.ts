/** `state` of a server: what the last attempt to use it came to, and nothing where there is none to be made (PS-64). */
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { agentOf } from "../support/agent.ts";
import { accepted, offline, register } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { type Script, scriptedServer } from "../support/upstream.ts";

const SEARCH = '{"name":"search","inputSchema":{"type":"object"}}';

/** A server that is what the test makes of it, and its record as it is. */
async function start(script: Partial<Script> = {}, fields: Record<string, unknown> = {}) {
  const upstream = scriptedServer({ era: "modern", tools: [SEARCH], ...script });
  const gateway = startGateway(upstream.network);
  const { server_id } = await register(gateway, { enabled: true, ...fields });
  const path = `/v1/servers/${server_id}`;
  return {
    upstream,
    gateway,
    path,
    state: () => stateOf(gateway, path),
    patch: async (body: unknown) => void (await accepted(await gateway.admin("PATCH", path, body))),
  };
}

async function stateOf(gateway: TestGateway, path: string) {
  const { state, status, last_failure } = await accepted<ServerView>(await gateway.admin("GET", path));
  return { state, status, stage: last_failure?.stage ?? null };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const answering =
  (status: number): NonNullable<Script["first"]> =>
  () =>
    new Response("no", { status });
const failingToList: Script["first"] = ({ message }) =>
  message["method"] === "tools/list" ? new Response("no", { status: 500 }) : undefined;

const CONNECTED = { state: "connected", status: "active", stage: null };
const NOTHING = { state: "disconnected", status: "active", stage: null };

describe("the state of a server", () => {
  it.each<[string, string, NonNullable<Script["first"]>]>([
    ["connect", "connect", answering(503)],
    ["authenticate", "auth", answering(401)],
    ["discover", "discover", failingToList],
  ])("is error when the last attempt to %s failed, and connected after a success", async (_, stage, first) => {
    const { upstream, gateway, path, state, patch } = await start({ first });
    const error = { state: "error", status: "active", stage };
    expect(await state()).toEqual(error);
    for (const operation of ["discover", "reconnect"]) {
      upstream.change({ first: undefined });
      await accepted(await gateway.admin("POST", `${path}/${operation}`));
      expect(await state()).toEqual(CONNECTED);
      upstream.change({ first });
      expect((await gateway.admin("POST", `${path}/${operation}`)).status).toBe(502);
      expect(await state()).toEqual(error);
    }
    upstream.change({ first: undefined });
    await patch({ config: { api_key: "another" } });
    expect(await state()).toEqual(CONNECTED);
    upstream.change({ first });
    await patch({ server_url: "https://other.example/mcp" });
    expect(await state()).toEqual(error);
  });

  it("is disconnected when it was never tried, and while it is disabled, whatever it was", async () => {
    const never = await start({}, { enabled: false });
    expect(await never.state()).toEqual(NOTHING);
    expect(never.upstream.seen).toEqual([]);
    for (const first of [undefined, answering(503)]) {
      const { upstream, state, patch } = await start({ first }, { name: `docs-${first === undefined}` });
      await patch({ enabled: false });
      expect(await state()).toEqual(NOTHING);
      upstream.change({ first: undefined });
      await patch({ enabled: true });
      expect(await state()).toEqual(CONNECTED);
    }
  });

  it("stays disconnected when a discovery ends that began before the server was disabled", async () => {
    const { upstream, gateway, path, state, patch } = await start();
    for (const first of [undefined, answering(503)]) {
      await patch({ enabled: true });
      // Asked again and again: a promise of the test must not be waited for in an object.
      const at = { isReached: false, isDisabled: false };
      upstream.change({
        first: async (seen) => {
          at.isReached = true;
          while (!at.isDisabled) await sleep(10);
          return first?.(seen);
        },
      });
      const discovery = gateway.admin("POST", `${path}/discover`);
      await vi.waitFor(() => expect(at.isReached).toBe(true), 10_000);
      await patch({ enabled: false });
      at.isDisabled = true;
      expect([400, 502]).toContain((await discovery).status);
      expect(await state()).toEqual(NOTHING);
      upstream.change({ first: undefined });
    }
  });

  it("is disconnected while there is no registration, also of one that was connected", async () => {
    const { state, patch } = await start();
    expect(await state()).toEqual(CONNECTED);
    await patch({ auth_type: "oauth" });
    expect(await state()).toEqual({ ...NOTHING, status: "error" });
    await patch({ auth_type: "none" });
    expect(await state()).toEqual(CONNECTED);
    const pending = await start({}, { name: "pending", auth_type: "per_user_oauth" });
    expect(await pending.state()).toEqual({ ...NOTHING, status: "error" });
  });

  it("is disconnected while a stdio server waits for a bridge, and connected where the server is built in", async () => {
    const stdio = { connection_type: "stdio", server_url: undefined, stdio_config: { command: "npx" } };
    const { gateway, state } = await start({}, stdio);
    expect(await state()).toEqual({ ...NOTHING, stage: "connect" });
    expect(await stateOf(gateway, "/v1/servers/gateway")).toEqual(CONNECTED);
  });

  it.each(["disconnected", "error"])("never refuses a call: %s", async (state) => {
    const upstream = scriptedServer({ era: "modern", tools: [SEARCH] });
    const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
    await env.DB.prepare("UPDATE servers SET state = ? WHERE server_id = ?").bind(state, agent.server_id).run();
    const called = await agent.modern("/mcp", "tools/call", { name: "docs__search" });
    expect(await called.json()).toMatchObject({ result: { content: [] } });
    expect(upstream.calls()).toHaveLength(1);
  });

  it("is kept from one isolate to the next", async () => {
    const { path } = await start();
    expect(await stateOf(startGateway(offline), path)).toEqual(CONNECTED);
  });
});
