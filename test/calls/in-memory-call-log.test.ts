/** That the call log in memory takes rows as the one in D1 does (OT-26). */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { CallRow } from "../../src/calls/call.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { inMemoryCallLog } from "../../src/calls/in-memory-call-log.ts";

const row = (id: string, created_at: number): CallRow => ({
  ...{ id, created_at, org_id: "acme", server: null, server_id: null, tool: "readme_agent", door: "/mcp" },
  ...{ sub: "ann", email: null, virtual_key_id: null, session_id: null, run_id: "r1", parent_run_id: null, args: null },
  ...{ exposed_name: "readme_agent", ok: true, outcome: "ok" },
  ...{ error: null, reason: null, duration_ms: 1, upstream_ms: null, attempts: 0, cost_nano: 0, definition_hash: null },
});

const ALL = { sort: { by: "created_at", direction: "desc" }, after: null, limit: 10 } as const;

const FORMS = [
  [
    "D1",
    () => {
      const store = d1CallStore(env.DB);
      return { append: store.append, stored: async () => (await store.list("acme", {}, ALL)).rows };
    },
  ],
  [
    "memory",
    () => {
      const log = inMemoryCallLog();
      return { append: log.append, stored: async () => [...log.rows] };
    },
  ],
] as const;

describe.each(FORMS)("the call log in %s", (_, create) => {
  it("has each row once, as it was first given", async () => {
    const log = create();
    await log.append(JSON.stringify([row("a", 1), row("b", 2)]));
    await log.append(JSON.stringify([{ ...row("a", 1), tool: "another" }, row("c", 3)]));
    const rows = (await log.stored()).toSorted((a, b) => a.created_at - b.created_at);
    expect(rows).toEqual([row("a", 1), row("b", 2), row("c", 3)]);
  });
});
