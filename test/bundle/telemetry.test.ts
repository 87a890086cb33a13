/** What the built Worker tells a real collector of calls to a real server, and what it does where there is none. */
import { describe, expect, it } from "vitest";
import { calls, createKey, registerServer } from "./support/api.ts";
import { startCollector } from "./support/collector.ts";
import { type Gateway, startGateway } from "./support/gateway.ts";
import { startModernServer } from "./support/modern-server.ts";
import { running } from "./support/running.ts";

const TRACE = "8f3c1d5e7a9b40c2d4e6f80a1b2c3d4e";
const SPAN = "1a2b3c4d5e6f7081";

const ledger = running("the modern server", startModernServer);
const collector = running("the collector", startCollector);
const gateway = running("the gateway", () =>
  startGateway({ OTEL_EXPORTER_OTLP_ENDPOINT: collector().url, OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=s3cr3t" }),
);

async function call(to: Gateway, name: string, key: string, meta: Record<string, unknown> = {}): Promise<string> {
  const headers = {
    ...{ Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    ...{ "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "add" },
  };
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    ...meta,
  };
  const params = { name: "add", arguments: { a: 2, b: 40 }, _meta };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  return (await fetch(`${to.url}/mcp/${name}`, { method: "POST", headers, body })).text();
}

/** The `_meta` and headers of the last call that the server has got. */
function lastCall() {
  const seen = ledger().requests("tools/call").at(-1);
  const { _meta } = JSON.parse(seen?.body ?? "{}").params as { _meta: Record<string, unknown> };
  return { _meta, headers: seen?.headers };
}

describe("a gateway with a collector", () => {
  it("continues its client's trace to the server, with a span of its own between them [P-49]", async () => {
    const server = await registerServer(gateway(), "ledger", ledger().url);
    const key = await createKey(gateway(), server);
    const meta = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: "a=1", baggage: "b=2" };
    expect(await call(gateway(), "ledger", key.value, meta)).toContain("The sum is 42");
    await collector().until(() => collector().spans().length === 5 && collector().metrics().length === 1);
    const [root, ...parts] = collector().spans();
    expect(root).toMatchObject({ name: "tools/call add", traceId: TRACE, parentSpanId: SPAN, kind: 2 });
    expect(parts.map(({ name, traceId, parentSpanId }) => [name, traceId, parentSpanId])).toEqual(
      ["decision", "lease", "upstream", "journal"].map((name) => [name, TRACE, root?.spanId]),
    );
    const traceparent = `00-${TRACE}-${parts.find(({ name }) => name === "upstream")?.spanId}-01`;
    const { _meta, headers } = lastCall();
    expect(_meta).toMatchObject({ ...meta, traceparent });
    expect(headers?.get("traceparent")).toBe(traceparent);
    expect(collector().counts()).toEqual({ "ledger ok": 1 });
    expect(
      collector()
        .received.map(({ url }) => url)
        .toSorted(),
    ).toEqual(["/v1/metrics", "/v1/traces"]);
    expect(collector().received.map(({ headers: sent }) => sent.get("x-tenant"))).toEqual(["s3cr3t", "s3cr3t"]);
    expect(collector().texts()).not.toContain(key.value);
    // Nanoseconds since the epoch, and a span that holds its parts.
    const times = parts.slice(0, 3).flatMap((part) => [part.startTimeUnixNano, part.endTimeUnixNano].map(BigInt));
    expect(times.every((time) => time >= BigInt(root?.startTimeUnixNano ?? 0))).toBe(true);
    expect(times.every((time) => time <= BigInt(root?.endTimeUnixNano ?? 0))).toBe(true);
    expect(Math.abs(Number(BigInt(root?.startTimeUnixNano ?? 0) / 1_000_000n) - Date.now())).toBeLessThan(60_000);
  });

  it("answers while the collector hangs, and not when that is given up", async () => {
    const server = await registerServer(gateway(), "again", ledger().url);
    const key = await createKey(gateway(), server);
    const before = collector().received.length;
    collector().hang();
    for (let n = 0; n < 3; n++) expect(await call(gateway(), "again", key.value)).toContain("The sum is 42");
    expect(await calls(gateway(), key, 3)).toHaveLength(3);
    await collector().until(() => collector().received.length > before);
    expect(await call(gateway(), "again", key.value)).toContain("The sum is 42");
    expect(collector().givenUp()).toBe(0);
    await collector().until(() => collector().givenUp() > 0);
    expect(gateway().logs().join("\n")).not.toContain("s3cr3t");
  });
});

describe("a gateway whose collector is not there", () => {
  const lonely = running("the gateway", () => startGateway({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" }));

  it("answers its calls, logs their rows, and says what is lost", async () => {
    const server = await registerServer(lonely(), "ledger", ledger().url);
    const key = await createKey(lonely(), server);
    expect(await call(lonely(), "ledger", key.value)).toContain("The sum is 42");
    expect(await calls(lonely(), key, 1)).toMatchObject([{ ok: true }]);
    await collector().until(() => lonely().logs().join("\n").includes("telemetry_lost"));
  });
});

describe("a gateway without a collector", () => {
  const plain = running("the gateway", () => startGateway());

  it("lets a trace pass as it came, and drops one that is none [P-49]", async () => {
    const server = await registerServer(plain(), "ledger", ledger().url);
    const key = await createKey(plain(), server);
    const meta = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: "a=1" };
    await call(plain(), "ledger", key.value, meta);
    expect(lastCall()._meta).toMatchObject(meta);
    expect(lastCall().headers?.get("traceparent")).toBe(meta.traceparent);
    await call(plain(), "ledger", key.value, { traceparent: "00-nonsense", tracestate: "a=1", baggage: "b=2" });
    expect(lastCall()._meta).toMatchObject({ baggage: "b=2" });
    expect(Object.keys(lastCall()._meta)).not.toEqual(expect.arrayContaining(["traceparent"]));
    expect(Object.keys(lastCall()._meta)).not.toContain("tracestate");
    expect(lastCall().headers?.has("traceparent")).toBe(false);
  });
});
