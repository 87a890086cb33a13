/** What the first requests of an isolate cost: they find nothing in memory. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Bundles } from "./build.ts";
import type { Cleanup } from "./cleanup.ts";
import { memoryOf } from "./processes.ts";
import type { Usage } from "./storage.ts";
import type { Subject } from "./subjects.ts";
import { createVisitor, timed } from "./visitor.ts";
import { exchange, type Method } from "./wire.ts";
import { startGateway } from "./workers.ts";

/** What an isolate is asked before anything else. */
export interface FirstRequest {
  readonly method: Method;
  /** So many clients ask it at the same time. */
  readonly clients: number;
}

export interface ColdStart {
  /** Until the last of the clients has its answer. */
  readonly firstMs: number;
  /** The same when the isolate is warm, and what it remembers of D1 is too old to be used; NaN for several clients. */
  readonly anewMs: number;
  /** What the first requests took from D1. */
  readonly usage: Usage;
  /** The most memory that they made the process hold. */
  readonly peakMb: number;
}

/** How long the isolate may trust what it remembers. It forgets it after twice that. */
const TTL_MS = 50;

/**
 * Starts another gateway on the database of this one, asks it, and ends it.
 *
 * @param name Unlike that of every other process of the run.
 */
export async function measureColdStart(
  cleanup: Cleanup,
  bundles: Bundles,
  name: string,
  { database, headers }: Subject,
  { method, clients }: FirstRequest,
): Promise<ColdStart> {
  const gateway = await startGateway(cleanup, bundles, name, database, { SNAPSHOT_TTL_MS: String(TTL_MS) });
  const visitors = Array.from({ length: clients }, () => createVisitor(gateway.port, headers));
  const request = exchange("modern", method, "bench__");
  const ask = () => Promise.all(visitors.map((visitor) => visitor.expect("/mcp", request)));
  try {
    const before = await database.usage();
    const firstMs = await timed(ask);
    const usage = difference(await database.usage(), before);
    const { peakMb } = memoryOf(gateway.pid);
    if (clients > 1) return { firstMs, anewMs: Number.NaN, usage, peakMb };
    await sleep(3 * TTL_MS);
    return { firstMs, anewMs: await timed(ask), usage, peakMb };
  } finally {
    for (const visitor of visitors) visitor.close();
    await gateway.stop();
  }
}

/** What was used between two readings. */
export function difference(after: Usage, before: Usage): Usage {
  return {
    statements: after.statements - before.statements,
    rows_read: after.rows_read - before.rows_read,
    rows_written: after.rows_written - before.rows_written,
    answered: after.answered - before.answered,
  };
}
