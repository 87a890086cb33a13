/**
 * The way of a call row to its `Session` object: gathered in the isolate for a few milliseconds, then sent in one RPC.
 * Measured on workerd, one RPC per call divides the throughput of the gateway by four.
 */
import type { Clock } from "../platform/clock.ts";
import { causesOf, log } from "../platform/log.ts";
import type { CallRow } from "./call.ts";

/** Rows that wait in this isolate, by session. Plain values: the request that began a batch sends it. */
export type JournalMemory = Map<string, { rows: CallRow[]; readonly since: number }>;

export interface JournalDeps {
  readonly memory: JournalMemory;
  /** Hands rows, as JSON text, to the object; returns once they are in its storage. Sending a row twice is harmless. */
  readonly send: (sessionName: string, rows: string) => Promise<void>;
  /** `sync`: a call is not answered before its row is stored. */
  readonly mode: "gathered" | "sync";
  /** How long a row waits for others in `gathered` mode. */
  readonly gatherMs: number;
  readonly clock: Clock;
}

/** How long a row waits for others by default (PS-34). */
export const GATHER_MS = 20;
const GATHER_ROWS = 100;
/** A batch whose sender has not come back for this long is sent by the next call: its request may have been killed. */
const OVERDUE_MS = 1_000;

export type Journal = ReturnType<typeof createJournal>;

export function createJournal({ memory, send, mode, gatherMs, clock }: JournalDeps) {
  /** Never rejects: a failing journal neither fails nor changes a call (OT-24). */
  async function deliver(sessionName: string, rows: readonly CallRow[]): Promise<void> {
    if (rows.length === 0) return;
    try {
      await send(sessionName, JSON.stringify(rows));
    } catch (thrown) {
      log("error", "journal_lost", { rows: rows.map(({ id }) => id), causes: causesOf(thrown) });
    }
  }

  async function flush(sessionName: string): Promise<void> {
    const batch = memory.get(sessionName);
    memory.delete(sessionName);
    await deliver(sessionName, batch?.rows ?? []);
  }

  return {
    mode,

    /**
     * Takes one row. The returned promise must be kept alive (`waitUntil`); in `sync` mode the answer waits for it.
     *
     * @returns When this row, or the batch that this call is responsible for, is stored or given up.
     */
    async record(sessionName: string, row: CallRow): Promise<void> {
      if (mode === "sync") return deliver(sessionName, [row]);
      const waiting = memory.get(sessionName);
      if (waiting === undefined) {
        memory.set(sessionName, { rows: [row], since: clock() });
        await new Promise((resolve) => setTimeout(resolve, gatherMs));
        return flush(sessionName);
      }
      waiting.rows.push(row);
      if (waiting.rows.length >= GATHER_ROWS || clock() - waiting.since > OVERDUE_MS) await flush(sessionName);
    },
  };
}
