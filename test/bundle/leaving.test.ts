/** Clients that go away while their call is under way. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { calls, createKey, type RegisteredServer, registerServer, type VirtualKey } from "./support/api.ts";
import { startGateway } from "./support/gateway.ts";
import { type Seen, startModernServer } from "./support/modern-server.ts";
import { postRaw, type RawExchange } from "./support/raw-client.ts";
import { labelled, running } from "./support/running.ts";

const gateway = running("the gateway", startGateway);
const ledger = running("the modern server", startModernServer);

let registered: RegisteredServer;
let key: VirtualKey;
beforeAll(async () => {
  registered = await registerServer(gateway(), "ledger", ledger().url);
});

const WAYS = labelled([
  { label: "while progress comes in", how: "close", beatMs: 100, progressToken: "p" },
  { label: "abruptly, while progress comes in", how: "reset", beatMs: 100, progressToken: "p" },
  { label: "abruptly, while the stream is silent", how: "reset", beatMs: 2_000, progressToken: "p" },
  { label: "abruptly, before anything has come", how: "reset", beatMs: 2_000, progressToken: undefined },
] as const);

describe("a modern client that leaves", () => {
  const ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const HEADERS = { "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "work" };

  it.each(WAYS)("ends the upstream request within a second: %s [P-67]", async (_, { how, beatMs, progressToken }) => {
    const { client, upstream } = await startWork(HEADERS, { forMs: 20_000, beatMs }, { ...ENVELOPE, progressToken });
    expect(upstream().isLeft).toBe(false);
    client.leave(how);
    await expect.poll(() => upstream().isLeft, { timeout: 1_000 }).toBe(true);
  });

  it.each(WAYS)("has a row in the log: %s", async (_, { how, beatMs, progressToken }) => {
    const { client } = await startWork(HEADERS, { forMs: 20_000, beatMs }, { ...ENVELOPE, progressToken });
    client.leave(how);
    expect(await calls(gateway(), key, 1)).toMatchObject([{ tool: "work", ok: false, attempts: 1 }]);
  });
});

describe("a legacy client that leaves", () => {
  const HEADERS = { "MCP-Protocol-Version": "2025-11-25" };

  it.each(WAYS)("lets its call go on to the end: %s [P-29]", async (_, { how, beatMs, progressToken }) => {
    const { client, upstream } = await startWork(HEADERS, { forMs: 2_000, beatMs }, { progressToken });
    client.leave(how);
    const rows = await calls(gateway(), key, 1);
    expect(upstream().isLeft).toBe(false);
    expect(rows).toMatchObject([{ tool: "work", ok: true, error: null, attempts: 1 }]);
  });
});

describe("an agent without MCP that leaves", () => {
  it("ends the upstream request within a second, and has a row in the log", async () => {
    key = await createKey(gateway(), registered);
    const before = ledger().requests("tools/call").length;
    const called = { name: "ledger-work", arguments: JSON.stringify({ forMs: 20_000, beatMs: 2_000 }) };
    const client = postRaw(
      `${gateway().url}/v1/mcp/tool/execute`,
      { Authorization: `Bearer ${key.value}` },
      JSON.stringify({ function: called }),
    );
    const upstream = () => ledger().requests("tools/call")[before];
    await expect.poll(upstream, { timeout: 5_000 }).toBeDefined();
    await sleep(200);
    client.leave("reset");
    await expect.poll(() => upstream()?.isLeft, { timeout: 1_000 }).toBe(true);
    expect(await calls(gateway(), key, 1)).toMatchObject([{ tool: "work", ok: false, attempts: 1 }]);
  });
});

/** A call of a new key that is under way at the server; its first progress, if it reports any, has come through. */
async function startWork(
  headers: Readonly<Record<string, string>>,
  args: { readonly forMs: number; readonly beatMs: number },
  _meta: { readonly progressToken: string | undefined },
): Promise<{ client: RawExchange; upstream: () => Seen }> {
  key = await createKey(gateway(), registered);
  const before = ledger().requests("tools/call").length;
  const message = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "work", arguments: args, _meta } };
  const client = postRaw(
    `${gateway().url}/mcp/ledger`,
    { Authorization: `Bearer ${key.value}`, ...headers },
    JSON.stringify(message),
  );
  const upstream = () => {
    const request = ledger().requests("tools/call")[before];
    if (request === undefined) throw new Error("The call has not reached the server");
    return request;
  };
  await expect.poll(upstream, { timeout: 5_000 }).toBeDefined();
  if (_meta.progressToken === undefined) await sleep(200);
  else await expect.poll(client.received, { timeout: 5_000 }).toContain("notifications/progress");
  return { client, upstream };
}
