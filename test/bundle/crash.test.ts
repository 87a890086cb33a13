/** What the call log loses when the process is killed while calls are answered: nothing, or the last moment. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { createKey, registerServer } from "./support/api.ts";
import { type Gateway, startGateway } from "./support/gateway.ts";
import { startModernServer } from "./support/modern-server.ts";
import { running } from "./support/running.ts";

const ledger = running("the modern server", startModernServer);

const CLIENTS = 4;
/** Calls before the kill, and for how long at least: rows are then in the isolate, in the object and in D1. */
const CALLS = 150;
const CALLING_MS = 1_500;
const ROWS_MS = 15_000;

interface Row {
  readonly id: string;
  readonly args: { readonly a: number };
}

/** Calls until the gateway is gone. @returns When each call was answered, by its number. */
async function callUntilGone(url: string, key: string, first: number, answered: Map<number, number>): Promise<void> {
  const headers = {
    ...{ Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    ...{ "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "add" },
  };
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  for (let number = first; ; number += CLIENTS) {
    const params = { name: "add", arguments: { a: number, b: 1 }, _meta };
    const body = JSON.stringify({ jsonrpc: "2.0", id: number, method: "tools/call", params });
    try {
      const response = await fetch(`${url}/mcp/ledger`, { method: "POST", headers, body });
      const text = await response.text();
      if (!text.includes(`${number + 1}`)) throw new Error(`call ${number} was answered with ${text}`);
      answered.set(number, performance.now());
    } catch (error) {
      if (error instanceof TypeError) return;
      throw error;
    }
  }
}

/** Every row of the log, once there have been no more for a while. */
async function allRows(gateway: Gateway, atLeast: number): Promise<Row[]> {
  const deadline = Date.now() + ROWS_MS;
  for (let before = -1; ; ) {
    const text = await (await gateway.admin("GET", "/v1/calls/export")).text();
    const rows = text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Row]));
    if ((rows.length >= atLeast && rows.length === before) || Date.now() > deadline) return rows;
    before = rows.length;
    await sleep(1_000);
  }
}

describe.each([
  ["sync", 0],
  ["gathered", 50],
] as const)("a gateway with JOURNAL_MODE=%s that is killed while it answers calls", (mode, lostMs) => {
  let gateway: Gateway | undefined;
  afterAll(() => gateway?.stop());

  it(`has every row but those of the last ${lostMs} ms, each once, and has counted each once [PS-34, T-23]`, async () => {
    gateway = await startGateway({ JOURNAL_MODE: mode });
    const server = await registerServer(gateway, "ledger", ledger().url);
    const key = await createKey(gateway, server);
    const answered = new Map<number, number>();
    const { url } = gateway;
    const clients = Array.from({ length: CLIENTS }, (_, first) => callUntilGone(url, key.value, first, answered));
    await sleep(CALLING_MS);
    while (answered.size < CALLS) await sleep(10);
    const killedAt = performance.now();
    gateway.kill();
    await Promise.all(clients);
    const expected = [...answered].filter(([, at]) => at <= killedAt - lostMs).map(([number]) => number);
    expect(expected.length).toBeGreaterThan(CALLS / 2);

    await gateway.restart();

    const rows = await allRows(gateway, expected.length);
    const logged = rows.map(({ args }) => args.a);
    expect(expected.filter((number) => !logged.includes(number))).toEqual([]);
    expect(new Set(logged).size).toBe(rows.length);
    const stats = (await (await gateway.admin("GET", "/v1/calls/stats")).json()) as { total: number };
    expect(stats.total).toBe(rows.length);
  });
});
