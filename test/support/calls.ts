/** Rows of the call log for tests. */
import { env } from "cloudflare:workers";
import type { CallRow } from "../../src/calls/call.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";

export const NOON = Date.parse("2026-11-01T12:00:00Z");

/** A call that succeeded, at noon. */
export function callRow(id: string, changes: Partial<CallRow> = {}): CallRow {
  return {
    id,
    created_at: NOON,
    org_id: "default",
    server: "docs",
    server_id: "srv_docs",
    tool: "search",
    exposed_name: "docs__search",
    door: "/mcp",
    sub: null,
    email: null,
    virtual_key_id: "key_1",
    session_id: null,
    run_id: null,
    parent_run_id: null,
    args: null,
    ok: true,
    outcome: "ok",
    error: null,
    reason: null,
    duration_ms: 12,
    upstream_ms: 9,
    attempts: 1,
    cost_nano: 0,
    definition_hash: "abc",
    ...changes,
  };
}

/** A call that was refused. */
export function refusedRow(id: string, changes: Partial<CallRow> = {}): CallRow {
  const refusal = { outcome: "refused", reason: "tool_blocked", error: "the tool is unknown or not allowed" } as const;
  return callRow(id, { ok: false, ...refusal, attempts: 0, upstream_ms: null, ...changes });
}

export async function addCalls(...rows: readonly CallRow[]): Promise<void> {
  await d1CallStore(env.DB).append(JSON.stringify(rows));
}

/** Numbers that look like chance, and are the same in every run. */
export function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Calls of several servers, keys, users, runs and outcomes, within some days around noon. */
export function someCalls(count: number, days: number, changes: Partial<CallRow> = {}): CallRow[] {
  const pick = chance(7);
  return Array.from({ length: count }, (_, n) => {
    const created_at = NOON - days * 43_200_000 + pick(days * 86_400_000);
    const [server, user, outcome] = [pick(3), pick(4), pick(6)];
    const failure = [
      { outcome: "tool_error", error: "tool returned an error" } as const,
      { outcome: "refused", reason: "tool_blocked", error: "the tool is unknown or not allowed" } as const,
    ][outcome];
    return callRow(`call_${String(n).padStart(5, "0")}`, {
      created_at,
      ...(server === 2 ? { server: null, server_id: null } : { server: `s${server}`, server_id: `srv_${server}` }),
      tool: `tool_${pick(3)}`,
      sub: user < 2 ? `user_${user}` : null,
      virtual_key_id: user < 3 ? `key_${pick(3)}` : null,
      run_id: pick(3) === 0 ? `run_${pick(4)}` : null,
      session_id: pick(3) === 0 ? `ses_${pick(4)}` : null,
      args: JSON.stringify({ q: `word${pick(5)}` }),
      duration_ms: pick(4) === 0 ? pick(60_000) : pick(50),
      ...(failure === undefined ? { cost_nano: pick(3) * 100_000_000 } : { ok: false, ...failure }),
      ...changes,
    });
  });
}
