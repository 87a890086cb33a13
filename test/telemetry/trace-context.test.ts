/** W3C trace context through the gateway, with nothing recorded: what servers of both eras get of what clients give. */
import { describe, expect, it } from "vitest";
import { agentOf } from "../support/agent.ts";
import { DOOR } from "../support/execute.ts";
import { startGateway } from "../support/gateway.ts";
import { type Script, type Seen, scriptedServer } from "../support/upstream.ts";

const TRACE = "8f3c1d5e7a9b40c2d4e6f80a1b2c3d4e";
const PARENT = `00-${TRACE}-1a2b3c4d5e6f7081-01`;
const OTHER = `00-${"b".repeat(32)}-${"c".repeat(16)}-00`;

async function startDocs(era: Script["era"]) {
  const upstream = scriptedServer({ era, tools: ['{"name":"search"}'] });
  const agent = await agentOf(startGateway(upstream.network), { name: "docs" });
  const got = (): Seen => {
    const [call] = upstream.calls();
    if (call === undefined) throw new Error("nothing has arrived");
    return call;
  };
  return { agent, got };
}

function metaOf({ message }: Seen): Record<string, unknown> {
  return (message["params"] as { _meta?: Record<string, unknown> })._meta ?? {};
}

/** What of a request speaks of traces. */
function contextIn(seen: Seen) {
  const { traceparent, tracestate, baggage } = metaOf(seen);
  const headers = Object.fromEntries(
    ["traceparent", "tracestate", "baggage"].flatMap((name) => {
      const value = seen.headers.get(name);
      return value === null ? [] : [[name, value]];
    }),
  );
  return { meta: JSON.parse(JSON.stringify({ traceparent, tracestate, baggage })), headers };
}

const SEARCH = { name: "search", arguments: {} };
const MALFORMED = [
  ["is too short", "00-abc-def-01"],
  ["has another trace id than hexadecimal digits", PARENT.replace("8f", "8G")],
  ["has a trace of zeros", PARENT.replace(TRACE, "0".repeat(32))],
  ["has a parent of zeros", PARENT.replace("1a2b3c4d5e6f7081", "0".repeat(16))],
  ["is of a version that there is never", PARENT.replace("00-", "ff-")],
  ["has more than its version has", `${PARENT}-more`],
  ["is no text", 7],
] as const;

describe.each(["modern", "legacy"] as const)("to a %s server", (era) => {
  const state = { tracestate: "vendor=a:b,other=1", baggage: "tenant=blue;ttl=3,x=%20" };

  it("what a modern client gives in _meta goes on as it came, and in the headers of the request [P-49]", async () => {
    const { agent, got } = await startDocs(era);
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta: { traceparent: PARENT, ...state } });
    expect(contextIn(got())).toEqual({
      meta: { traceparent: PARENT, ...state },
      headers: { traceparent: PARENT, tracestate: state.tracestate },
    });
  });

  it("a legacy client's _meta counts as well [P-49]", async () => {
    const { agent, got } = await startDocs(era);
    await agent.legacy("/mcp/docs", "tools/call", { ...SEARCH, _meta: { traceparent: PARENT } });
    expect(contextIn(got())).toEqual({ meta: { traceparent: PARENT }, headers: { traceparent: PARENT } });
  });

  it.each(MALFORMED)("one that %s is dropped with its state, and the rest goes on [P-49]", async (_, traceparent) => {
    const { agent, got } = await startDocs(era);
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta: { traceparent, ...state, note: 1 } });
    expect(contextIn(got())).toEqual({ meta: { baggage: state.baggage }, headers: {} });
    expect(metaOf(got())["note"]).toBe(1);
  });

  it("headers of the client's request count where _meta says nothing [P-49]", async () => {
    const { agent, got } = await startDocs(era);
    const headers = { traceparent: PARENT, tracestate: "a=1", baggage: "person=ann" };
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { headers });
    const carried = { traceparent: PARENT, tracestate: "a=1" };
    expect(contextIn(got())).toEqual({ meta: era === "modern" ? carried : {}, headers: carried });
  });

  it("a malformed one in _meta gives way to the one of the headers, and its state too [P-49]", async () => {
    const { agent, got } = await startDocs(era);
    const meta = { traceparent: "00", tracestate: "stale=1" };
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta, headers: { traceparent: PARENT } });
    expect(contextIn(got())).toEqual({ meta: { traceparent: PARENT }, headers: { traceparent: PARENT } });
  });

  it("_meta comes before the headers [P-49]", async () => {
    const { agent, got } = await startDocs(era);
    const headers = { traceparent: OTHER, tracestate: "a=1" };
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta: { traceparent: PARENT }, headers });
    expect(contextIn(got())).toEqual({ meta: { traceparent: PARENT }, headers: { traceparent: PARENT } });
  });

  it("the execute door takes the headers", async () => {
    const { agent, got } = await startDocs(era);
    const body = JSON.stringify({ type: "function", function: { name: "docs__search", arguments: "{}" } });
    const answer = await agent.post(DOOR, body, { traceparent: PARENT });
    expect(answer.status).toBe(200);
    expect(contextIn(got())).toEqual({
      meta: era === "modern" ? { traceparent: PARENT } : {},
      headers: { traceparent: PARENT },
    });
  });

  it("a call that stands in no trace is put in none", async () => {
    const { agent, got } = await startDocs(era);
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta: { baggage: "a=1" } });
    expect(contextIn(got())).toEqual({ meta: { baggage: "a=1" }, headers: {} });
  });

  it("a state that no header can hold stays where it is", async () => {
    const { agent, got } = await startDocs(era);
    const meta = { traceparent: PARENT, tracestate: "a=\r\nb" };
    await agent.modern("/mcp/docs", "tools/call", SEARCH, { meta });
    expect(contextIn(got())).toEqual({ meta, headers: { traceparent: PARENT } });
  });
});
