/** Sessions with clients, and the sessions with servers behind them: how they end, and what a lost one costs. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { calls, createKey, type RegisteredServer, registerServer, type VirtualKey } from "./support/api.ts";
import { v1Client, v2Legacy, v2Pinned } from "./support/clients.ts";
import { startGateway } from "./support/gateway.ts";
import { labelled, running } from "./support/running.ts";
import { type ServerProcess, startEverything } from "./support/server-process.ts";

const gateway = running("the gateway", startGateway);
const everything = running("server-everything", startEverything);

let registered: RegisteredServer;
let key: VirtualKey;
beforeAll(async () => {
  registered = await registerServer(gateway(), "everything", everything().url);
  key = await createKey(gateway(), registered);
});

describe.each(["/mcp", "/mcp/everything"])("DELETE %s", (path) => {
  it.each(labelled([v1Client, v2Legacy]))(
    "ends the session of %s, and the one with the server [P-26]",
    async (_, client) => {
      const url = `${gateway().url}${path}`;
      const through = await client.connect(url, { key: key.value });
      const id = through.sessionId ?? "";
      await through.call(path === "/mcp" ? "everything__echo" : "echo", { message: "hello" });
      const upstreamId = lastSession(everything());
      expect(await statusOf("POST", url, id)).toBe(200);

      await through.terminate();

      expect(await statusOf("POST", url, id)).toBe(404);
      expect(await statusOf("DELETE", url, id)).toBe(404);
      await expect
        .poll(() => everything().logs(), { timeout: 5_000 })
        .toContain(`Received session termination request for session ${upstreamId}`);
      await through.close();
    },
  );
});

describe("a server that is restarted and has forgotten its sessions", () => {
  let restarted: ServerProcess | undefined;
  afterAll(() => restarted?.stop());

  it("answers the next call of clients with open sessions as if nothing had happened [P-36]", async () => {
    const url = `${gateway().url}/mcp/everything`;
    const clients = [v1Client, v2Legacy, v2Pinned];
    const own = await Promise.all(clients.map(() => createKey(gateway(), registered)));
    const open = await Promise.all(clients.map((client, at) => client.connect(url, { key: own[at]?.value ?? "" })));
    const echo = (message: string) =>
      Promise.all(open.map(async (through) => (await through.call("echo", { message })).content));
    expect(await echo("before")).toEqual(clients.map(() => [{ type: "text", text: "Echo: before" }]));

    await everything().stop();
    restarted = await startEverything(everything().port);

    expect(await echo("after")).toEqual(clients.map(() => [{ type: "text", text: "Echo: after" }]));
    expect(await echo("later")).toEqual(clients.map(() => [{ type: "text", text: "Echo: later" }]));
    expect(restarted.logs().filter((line) => line.startsWith(OPENED))).toHaveLength(clients.length);
    for (const [at, through] of open.entries()) {
      const session_id = through.sessionId;
      const row = { ok: true, tool: "echo", session_id };
      const virtualKey = own[at] ?? key;
      expect(await calls(gateway(), virtualKey, 3)).toEqual([
        expect.objectContaining({ ...row, attempts: 1 }),
        expect.objectContaining({ ...row, attempts: 2 }),
        expect.objectContaining({ ...row, attempts: 1 }),
      ]);
      await through.close();
    }
  });
});

const OPENED = "Session initialized with ID: ";

/** The session that the server opened last. */
function lastSession(server: ServerProcess): string | undefined {
  return server
    .logs()
    .findLast((line) => line.startsWith(OPENED))
    ?.slice(OPENED.length);
}

/** The status of a request within a session. */
async function statusOf(method: "POST" | "DELETE", url: string, sessionId: string): Promise<number> {
  const response = await fetch(url, {
    method,
    headers: {
      Authorization: `Bearer ${key.value}`,
      Accept: "application/json, text/event-stream",
      "Content-Type": "application/json",
      "Mcp-Session-Id": sessionId,
      "MCP-Protocol-Version": "2025-11-25",
    },
    ...(method === "POST" && { body: JSON.stringify({ jsonrpc: "2.0", id: "list", method: "tools/list" }) }),
  });
  await response.text();
  return response.status;
}
