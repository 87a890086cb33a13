/** One decision for every door: `/mcp`, `/mcp/:server` and the execute door, each asked by its own code (PS-11). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { admit } from "../../src/access/admission.ts";
import { filtersOf } from "../../src/access/request-filters.ts";
import { executeTool } from "../../src/bifrost/execute.ts";
import { executeCall, type Format } from "../../src/bifrost/execute-call.ts";
import type { CallRow } from "../../src/calls/call.ts";
import type { Snapshot, Tool } from "../../src/catalog/snapshot.ts";
import type { OutgoingMessage } from "../../src/connector/exchange.ts";
import { GatewayError } from "../../src/failure/gateway-error.ts";
import { serveToolCall } from "../../src/gateway/call-door.ts";
import { readShape } from "../../src/gateway/client-message.ts";
import { legacyClient } from "../../src/gateway/legacy/client-side.ts";
import { modernClient } from "../../src/gateway/modern/client-side.ts";
import type { DoorRequest } from "../../src/gateway/request.ts";
import type { Principal } from "../../src/identity/principal.ts";
import { plainPlace } from "../../src/sessions/session.ts";
import { untraced } from "../../src/telemetry/call-trace.ts";
import { type Given, given, headersOf, principal, registry } from "../support/registries.ts";

/** What came of a call: the tool that was called, or why none was, and the answer's status. */
interface Decision {
  readonly called: string | null;
  readonly reason: string | null;
  readonly status: number;
}

/** The doors of one request, over servers that answer everything with nothing. */
function doors(snapshot: Snapshot, who: Principal, wish: Given) {
  const rows: CallRow[] = [];
  const sent: string[] = [];
  const services = {
    toolCalls: {
      sendTo: () => async (message: Pick<OutgoingMessage, "body">) => {
        const { id, params } = JSON.parse(message.body) as { id: unknown; params: { name: string } };
        sent.push(params.name);
        return Response.json({ jsonrpc: "2.0", id, result: { content: [] } });
      },
      targetOf: async () => ({
        ok: true,
        target: { server_id: "", server_url: "https://docs.example/mcp", headers: {}, token: null },
      }),
      builtIn: {
        async call(_: unknown, { tool }: { tool: string }) {
          sent.push(tool);
          return { content: [] };
        },
      },
      tasks: { open: (message: unknown) => message, close: (received: unknown) => received },
      states: { open: async ({ message }: { message: unknown }) => ({ message, resume: null }) },
      runs: { stamp: () => 0, admit: async () => ({ kind: "unasked" }) },
      loggedArguments: () => null,
      clock: () => 0,
      newId: () => "call",
    },
    telemetry: { trace: () => untraced(null) },
    journal: { mode: "sync", record: async (_: string, row: CallRow) => void rows.push(row) },
  };
  const base = {
    ...{ services, snapshot, principal: who, filters: filtersOf(new Headers(headersOf(wish))) },
    ...{ door: "", self: "https://gateway.example", headers: new Headers(), accepts: { json: true, sse: true } },
    ...{ signal: new AbortController().signal, waitUntil: () => undefined },
  } as unknown as Omit<DoorRequest, "slug">;
  const decided = async (answer: Promise<Response>): Promise<Decision> => {
    const { status } = await answer;
    const [row] = rows.splice(0);
    const [name] = sent.splice(0);
    return {
      called: name === undefined ? null : `${row?.server} ${name}`,
      reason: row?.reason ?? null,
      status,
    };
  };
  return {
    mcp(slug: string | null, name: string, side = modernClient) {
      const params = JSON.stringify({ name, arguments: {} });
      const shape = readShape(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`);
      if (shape.kind !== "message") throw new Error("the test's own message is none");
      return decided(
        serveToolCall({ ...base, slug }, side, shape.message, { name: "s", id: null, upstream: plainPlace("x") }),
      );
    },
    async execute(name: string, format: Format = "chat"): Promise<Decision | "ambiguous"> {
      const call = executeCall(format, name, { id: undefined, arguments: undefined });
      try {
        return await decided(executeTool(base, call, "request"));
      } catch (thrown) {
        if (GatewayError.from(thrown).message === "tool name is ambiguous") return "ambiguous";
        throw thrown;
      }
    },
  };
}

/** PS-26 as it is written: the tools that a name may mean, step by step. */
function meanings(snapshot: Snapshot, name: string): Tool[][] {
  const isBehind = (client: string, tool: string) =>
    name.length > tool.length &&
    name.slice(0, -tool.length).toLowerCase() === `${client.toLowerCase()}-` &&
    name.endsWith(tool);
  const all = [...snapshot.tools.values()];
  return [
    all.filter(({ exposed_name }) => exposed_name === name),
    all.filter(({ server: { record }, name: tool }) =>
      [record.name, record.display_name].some((client) => isBehind(client, tool)),
    ),
    all.filter((tool) => tool.name === name),
  ];
}

/** Most random headers leave nothing over, so that requests without any are as many. */
const wished = fc.oneof(given, fc.constant<Given>({}));

const statusOf = (reason: string | null) => (reason === null ? 200 : reason === "key_denied" ? 403 : 400);

describe("for random registries, principals and filters", () => {
  it("what one door refuses, all refuse, for the same reason [PS-11, T-45, R-30]", async () => {
    let [allowed, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(registry, principal, wished, async (snapshot, who, wish) => {
        const { mcp, execute } = doors(snapshot, who, wish);
        for (const tool of snapshot.tools.values()) {
          const { server } = tool;
          const decision = await mcp(server.record.name, tool.name);
          expect(decision.status).toBe(200);
          const { called, reason } = decision;
          expect(called).toBe(reason === null ? `${server.record.name} ${tool.name}` : null);
          const admission = admit(who, filtersOf(new Headers(headersOf(wish))), server, tool);
          expect(reason).toBe(admission.allowed ? null : admission.reason);
          expect(await mcp(null, tool.exposed_name)).toEqual(decision);
          expect(await mcp(null, tool.exposed_name, legacyClient)).toEqual(decision);
          for (const format of ["chat", "responses"] as const) {
            expect(await execute(tool.exposed_name, format)).toEqual({ called, reason, status: statusOf(reason) });
          }
          if (reason === null) allowed++;
          else refused++;
        }
      }),
      { numRuns: 150 },
    );
    expect(Math.min(allowed, refused)).toBeGreaterThan(50);
  });

  it("a name means at the execute door what it may mean among what is admitted [PS-26]", async () => {
    await fc.assert(
      fc.asyncProperty(registry, principal, wished, async (snapshot, who, wish) => {
        const { execute } = doors(snapshot, who, wish);
        const wanted = filtersOf(new Headers(headersOf(wish)));
        const names = [...snapshot.tools.values()].flatMap(({ name, exposed_name, server: { record } }) => [
          ...[name, exposed_name, `${record.name}-${name}`, `${record.display_name.toUpperCase()}-${name}`],
          ...[name.toUpperCase(), `${record.name}_${name}`, `${record.name}-`],
        ]);
        for (const name of new Set(names)) {
          const steps = meanings(snapshot, name);
          const admitted = steps.map((step) => step.filter((tool) => admit(who, wanted, tool.server, tool).allowed));
          const [first, ...others] = admitted.find((step) => step.length > 0) ?? [];
          const decision = await execute(name);
          if (others.length > 0) {
            expect(decision).toBe("ambiguous");
          } else if (first !== undefined) {
            const called = `${first.server.record.name} ${first.name}`;
            expect(decision).toEqual({ called, reason: null, status: 200 });
          } else {
            // The refusal is that of a tool which the name may mean, or of none.
            const reasons = new Set(
              steps.flat().flatMap((tool) => {
                const admission = admit(who, wanted, tool.server, tool);
                return admission.allowed ? [] : [admission.reason as string];
              }),
            );
            if (reasons.size === 0) reasons.add("not_visible");
            expect(decision).not.toBe("ambiguous");
            if (decision === "ambiguous") return;
            expect(decision.called).toBeNull();
            expect(reasons).toContain(decision.reason);
            expect(decision.status).toBe(statusOf(decision.reason));
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});
