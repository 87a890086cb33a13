/** What is recorded of calls, and when: with a collector that the test scripts. */
import { describe, expect, it, vi } from "vitest";
import { createTelemetry, createTelemetryMemory } from "../../src/telemetry/telemetry.ts";
import { agentOf } from "../support/agent.ts";
import { callRow } from "../support/calls.ts";
import { collectorAt, OTLP } from "../support/collector.ts";
import { startGateway } from "../support/gateway.ts";
import type { Collected } from "../support/otlp.ts";
import { type Script, scriptedServer } from "../support/upstream.ts";

const TRACE = "8f3c1d5e7a9b40c2d4e6f80a1b2c3d4e";
const SPAN = "1a2b3c4d5e6f7081";
const SEARCH = { name: "search", arguments: { q: "c4n4ry" } };

async function startTraced(
  script: Partial<Script> = {},
  vars: Record<string, unknown> = {},
  answer?: (collected: Collected) => Response | Promise<Response>,
) {
  const upstream = scriptedServer({ era: "modern", tools: ['{"name":"search"}'], ...script });
  const collector = collectorAt(OTLP, upstream.network, answer);
  const gateway = startGateway(collector.network, { OTEL_EXPORTER_OTLP_ENDPOINT: OTLP, ...vars });
  return { upstream, collector, gateway, agent: await agentOf(gateway, { name: "docs" }) };
}

describe("a call", () => {
  it("is a span with one for each part of it, all of one trace", async () => {
    const { agent, collector } = await startTraced();
    await agent.modern("/mcp", "tools/call", { ...SEARCH, name: "docs__search" });
    const [call, ...parts] = collector.spans();
    expect(collector.spans().map(({ name }) => name)).toEqual([
      ...["tools/call search", "decision", "lease", "upstream", "journal"],
    ]);
    expect(call).toMatchObject({ kind: 2, status: { code: 0 } });
    expect(call).not.toHaveProperty("parentSpanId");
    expect(call?.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(parts.map(({ traceId, parentSpanId }) => [traceId, parentSpanId])).toEqual(
      parts.map(() => [call?.traceId, call?.spanId]),
    );
    expect(new Set(collector.spans().map(({ spanId }) => spanId)).size).toBe(5);
    const [row] = await agent.rows();
    expect(call?.attributes).toEqual({
      "mcp.method.name": "tools/call",
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": "search",
      "postern.client.era": "modern",
      "postern.call.id": row?.["id"],
      "postern.org.id": "default",
      "postern.server.id": agent.server_id,
      "postern.server.name": "docs",
      "postern.door": "/mcp",
      "postern.outcome": "ok",
      "postern.attempts": 1,
      "postern.cost_usd": 0,
    });
  });

  it("continues the trace of its client, and is the parent of what the server does [P-49]", async () => {
    const { agent, collector, upstream } = await startTraced();
    const meta = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: "a=1", baggage: "b=2" };
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta });
    const [call] = collector.spans();
    expect(call).toMatchObject({ traceId: TRACE, parentSpanId: SPAN });
    const sent = collector.spans().find(({ name }) => name === "upstream");
    const traceparent = `00-${TRACE}-${sent?.spanId}-01`;
    const [got] = upstream.calls();
    expect(got?.message).toMatchObject({ params: { _meta: { ...meta, traceparent } } });
    expect(got?.headers.get("traceparent")).toBe(traceparent);
    expect(got?.headers.get("tracestate")).toBe("a=1");
  });

  it.each(["modern", "legacy"] as const)("begins a trace where its client has none, for a %s server", async (era) => {
    const { agent, collector, upstream } = await startTraced({ era });
    await agent.legacy("/mcp/docs", "tools/call", SEARCH);
    const sent = collector.spans().find(({ name }) => name === "upstream");
    const traceparent = `00-${sent?.traceId}-${sent?.spanId}-01`;
    const [got] = upstream.calls();
    expect(got?.headers.get("traceparent")).toBe(traceparent);
    // A message that had no `_meta` gets none for this.
    const meta = (got?.message["params"] as { _meta?: Record<string, unknown> } | undefined)?._meta;
    expect(meta?.["traceparent"]).toBe(era === "modern" ? traceparent : undefined);
  });

  it("of a trace that its client does not sample is counted, and nothing else", async () => {
    const { agent, collector, upstream } = await startTraced();
    const traceparent = `00-${TRACE}-${SPAN}-00`;
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta: { traceparent } });
    expect(collector.spans()).toEqual([]);
    expect(collector.counts()).toEqual({ "docs ok": 1 });
    expect(upstream.calls()[0]?.headers.get("traceparent")).toBe(traceparent);
  });

  it("that is tried twice has an upstream span for each, with why the first came to nothing", async () => {
    let calls = 0;
    const call: Script["call"] = () =>
      ++calls === 1
        ? new Response("", { status: 503 })
        : Response.json({ jsonrpc: "2.0", id: 1, result: { content: [] } });
    const { agent, collector, upstream } = await startTraced({ call });
    await agent.modern("/mcp/docs", "tools/call", SEARCH);
    const tries = collector.spans().filter(({ name }) => name === "upstream");
    expect(tries.map(({ attributes, status }) => [attributes, status.code])).toEqual([
      [{ "postern.attempt": 1, "error.type": "upstream_failed" }, 2],
      [{ "postern.attempt": 2 }, 0],
    ]);
    expect(collector.spans()[0]?.attributes).toMatchObject({ "postern.attempts": 2, "postern.outcome": "ok" });
    expect(upstream.calls().map(({ headers }) => headers.get("traceparent")?.split("-")[2])).toEqual(
      tries.map(({ spanId }) => spanId),
    );
  });

  it("that is refused says why, and nothing of a name that its client has made up", async () => {
    const { agent, collector } = await startTraced();
    await agent.modern("/mcp/docs", "tools/call", { name: "c4n4ry", arguments: {} });
    expect(collector.spans().map(({ name }) => name)).toEqual(["tools/call", "decision", "journal"]);
    expect(collector.spans()[0]).toMatchObject({
      status: { code: 2 },
      attributes: { "postern.outcome": "refused", "postern.reason": "tool_unknown", "error.type": "refused" },
    });
    expect(collector.texts()).not.toContain("c4n4ry");
  });

  it("is counted by server and outcome, as a delta", async () => {
    const failing: Script["call"] = () => new Response("", { status: 404 });
    const { agent, collector, upstream } = await startTraced();
    await Promise.all([1, 2].map(() => agent.modern("/mcp/docs", "tools/call", SEARCH)));
    upstream.change({ call: failing });
    await agent.modern("/mcp/docs", "tools/call", SEARCH);
    await agent.modern("/mcp", "tools/call", { ...SEARCH, name: "nobody__search" });
    expect(collector.counts()).toEqual({ "docs ok": 2, "docs upstream_failed": 1, " refused": 1 });
    const [metric] = collector.metrics();
    expect(metric).toMatchObject({ name: "postern.calls", sum: { aggregationTemporality: 1, isMonotonic: true } });
  });

  it("in JOURNAL_MODE=sync has the journal within it", async () => {
    const { agent, collector } = await startTraced({}, { JOURNAL_MODE: "sync" });
    await agent.modern("/mcp/docs", "tools/call", SEARCH);
    const [call] = collector.spans();
    const journal = collector.spans().find(({ name }) => name === "journal");
    expect(call?.spanId).toBe(journal?.parentSpanId);
    expect(BigInt(call?.endTimeUnixNano ?? 0) >= BigInt(journal?.endTimeUnixNano ?? 1)).toBe(true);
  });
});

describe("what is exported", () => {
  it("shows the collector its headers, and holds no argument, credential, answer or text", async () => {
    const call: Script["call"] = ({ message }) =>
      Response.json({
        ...{ jsonrpc: "2.0", id: message["id"] },
        result: { content: [{ type: "text", text: "answer-c4n4ry" }], isError: true },
      });
    const vars = { OTEL_EXPORTER_OTLP_HEADERS: "Authorization=Basic%20c2VjcmV0,x-tenant=blue" };
    const { gateway, collector, upstream } = await startTraced({ call }, vars);
    const agent = await agentOf(gateway, {
      ...{ name: "secret", server_url: "https://docs.example/mcp?token=url-c4n4ry" },
      config: { headers: { "X-Key": "key-c4n4ry" } },
    });
    await agent.modern("/mcp/secret", "tools/call", SEARCH, { meta: { baggage: "b=c4n4ry" } });
    expect(upstream.calls()[0]?.headers.get("X-Key")).toBe("key-c4n4ry");
    expect(upstream.calls()[0]?.headers.get("x-tenant")).toBeNull();
    expect(collector.spans().length).toBe(5);
    const [first] = collector.received;
    expect(first?.headers.get("Authorization")).toBe("Basic c2VjcmV0");
    expect(first?.headers.get("x-tenant")).toBe("blue");
    expect(first?.headers.get("Content-Type")).toBe("application/json");
    expect(collector.texts()).not.toContain("c4n4ry");
    expect(collector.texts()).not.toContain(agent.key.value);
    expect(collector.texts()).not.toContain("c2VjcmV0");
  });

  it("names the gateway, and its isolate", async () => {
    const { agent, collector } = await startTraced();
    await agent.modern("/mcp/docs", "tools/call", SEARCH);
    expect(collector.resource()).toEqual({
      "service.name": "postern",
      "service.version": expect.any(String),
      "service.instance.id": expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it("is one request of each kind for calls of the same moment", async () => {
    const { agent, collector } = await startTraced();
    await Promise.all(Array.from({ length: 8 }, () => agent.modern("/mcp/docs", "tools/call", SEARCH)));
    expect(collector.received.map(({ url }) => url).toSorted()).toEqual([`${OTLP}/v1/metrics`, `${OTLP}/v1/traces`]);
    expect(collector.spans().length).toBe(40);
  });

  it("is nothing, and goes nowhere, where no collector is configured", async () => {
    const { agent, collector } = await startTraced({}, { OTEL_EXPORTER_OTLP_ENDPOINT: "" });
    await agent.modern("/mcp/docs", "tools/call", SEARCH);
    expect(collector.received).toEqual([]);
  });

  it("is no business of the registry's allowlist", async () => {
    const { gateway, collector, agent } = await startTraced();
    await agent.modern("/mcp/docs", "tools/call", SEARCH);
    expect(collector.received.length).toBe(2);
    const { entries } = await (await gateway.admin("GET", "/v1/allowlist")).json<{ entries: unknown[] }>();
    expect(JSON.stringify(entries)).not.toContain(new URL(OTLP).hostname);
  });
});

describe("a collector that", () => {
  it.each<[string, () => Response | Promise<Response>]>([
    ["refuses everything", () => new Response("c4n4ry", { status: 500 })],
    ["cannot be reached", () => Promise.reject(new Error("connection refused"))],
    ["sends elsewhere", () => Response.redirect("https://elsewhere.example/v1/traces", 307)],
  ])("%s loses a batch, fails no call, and is told of in the log", async (_, answer) => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { agent, collector } = await startTraced({}, { OTEL_EXPORTER_OTLP_HEADERS: "k=s3cr3t" }, answer);
    const response = await agent.modern("/mcp/docs", "tools/call", SEARCH);
    expect(await response.json()).toMatchObject({ result: { content: [] } });
    expect(await agent.rows()).toMatchObject([{ outcome: "ok" }]);
    expect(collector.received.every(({ url }) => url.startsWith(OTLP))).toBe(true);
    const lines = warn.mock.calls.flat().filter((line) => `${line}`.includes("telemetry_lost"));
    expect(lines.length).toBe(2);
    expect(lines.join()).not.toMatch(/c4n4ry|s3cr3t/);
  });

  it("hangs is given up, and holds up no call", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { agent, collector } = await startTraced({}, {}, () => new Promise<Response>(() => undefined));
    const response = await agent.modern("/mcp/docs", "tools/call", SEARCH);
    expect(await response.json()).toMatchObject({ result: { content: [] } });
    const lines = warn.mock.calls.flat().map((line) => JSON.parse(`${line}`));
    expect(lines.map(({ event, causes }) => [event, `${causes}`.includes("Timeout")])).toEqual([
      ["telemetry_lost", true],
      ["telemetry_lost", true],
    ]);
    expect(collector.received.length).toBe(2);
  });

  it("is too slow for more than four batches at a time has the next one dropped", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const memory = createTelemetryMemory();
    const now = Date.now();
    const sent: string[] = [];
    const telemetry = createTelemetry({
      ...{ settings: { endpoint: OTLP, headers: {} }, memory, clock: () => now },
      send: async ({ url }) => {
        sent.push(url);
        return new Response();
      },
    });
    const callOnce = async () => {
      const work: Promise<unknown>[] = [];
      const waitUntil = (one: Promise<unknown>) => void work.push(one);
      const call = { message: { meta: {} }, headers: new Headers(), tool: { name: "a" }, era: null, waitUntil };
      telemetry.trace(call).answered(callRow("call_1"), { stored: Promise.resolve(), isAwaited: false });
      // Work may leave more work behind.
      for (let done = 0; done < work.length; done++) await work[done];
    };
    memory.sending = [1, 2, 3, 4].map((n) => now + n);
    await callOnce();
    expect(sent).toEqual([]);
    expect(warn.mock.calls.map(([line]) => JSON.parse(line).event)).toEqual(["telemetry_dropped"]);
    // One that should have come to its end by now is not waited for: its request has ended before it.
    memory.sending = [0, 2, 3, 4].map((n) => now + n);
    await callOnce();
    expect(sent).toEqual([`${OTLP}/v1/traces`, `${OTLP}/v1/metrics`]);
    expect(memory).toMatchObject({ spans: [], since: null, sending: [2, 3, 4].map((n) => now + n) });
  });
});
