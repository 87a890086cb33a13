/**
 * The runs of one `Session` object, in its SQLite: the stack, what budgets hold, and which run the row of a call is
 * of (OT-15 to OT-17, PS-40 to PS-43). Nothing here waits, so that each function is one transaction of the object.
 */
import { MAX_OPEN_RUNS, type RunDraft, type RunEnd, type RunPlace, type RunRow, STAMPS_PER_MS } from "../runs/run.ts";

/** What a call has to know before it may go upstream. */
export interface CallAsk {
  readonly call_id: string;
  /** The run that the client has named; null: the one on top of the stack. */
  readonly named: string | null;
  /** Nano-dollars that it costs if it succeeds. */
  readonly price_nano: number;
  /** How long it may take. */
  readonly timeout_ms: number;
}

/** An isolate, and for how long it may believe what it is told of budgets. */
export interface Believer {
  readonly holder: string;
  readonly forMs: number;
}

export type Admitted =
  /**
   * `isReserved`: its price is held until it has ended. `freeForMs`: no budget is open anywhere in this session, nor will
   * one be for so long; 0: one is, or will be.
   */
  | { readonly kind: "in"; readonly run_id: string | null; readonly isReserved: boolean; readonly freeForMs: number }
  /** @param short The run with the least left, and how much. */
  | { readonly kind: "refused"; readonly run_id: string; readonly short: { run_id: string; left_nano: number } }
  | { readonly kind: "not_open" };

export type Started =
  /** `opened`: its place among the calls of the session. `freeForMs`: as of `Admitted`. */
  | {
      readonly kind: "started";
      readonly parent_run_id: string | null;
      readonly opened: number;
      readonly freeForMs: number;
    }
  | { readonly kind: "too_many" }
  | { readonly kind: "not_open" };

/** A call that is not heard of for this long behind its deadline has cost its price (PS-41). */
const SETTLE_MS = 60_000;
/** How long an ended run is kept for rows that come late: no call lasts half as long. */
const KEEP_MS = 3_600_000;
/** Runs moved to D1 in one statement, which takes two megabytes. */
const MOVED_AT_ONCE = 100;

interface OpenRun extends Record<string, SqlStorageValue> {
  readonly run_id: string;
  /** JSON: the run itself and those that were open around it when it began, innermost first. */
  readonly chain: string;
}

interface TakenRow extends Record<string, SqlStorageValue> {
  readonly call_id: string;
  readonly run_id: string | null;
  readonly ok: number;
  readonly cost_nano: number;
  /** Null for a call that knows its run by itself. */
  readonly entered: number | null;
}

/** Whether a run was open when a call entered. */
const IS_OPEN = (run: string) =>
  `${run}.opened <= given.entered AND (${run}.closed IS NULL OR ${run}.closed > given.entered)`;

export type RunLedger = ReturnType<typeof createRunLedger>;

export function createRunLedger(sql: SqlStorage) {
  const open = (runId: string): OpenRun | undefined =>
    sql.exec<OpenRun>("SELECT run_id, chain FROM run WHERE run_id = ? AND closed IS NULL", runId).toArray()[0];
  const top = (): OpenRun | undefined =>
    sql.exec<OpenRun>("SELECT run_id, chain FROM run WHERE closed IS NULL ORDER BY seq DESC LIMIT 1").toArray()[0];
  const runOf = (named: string | null) => (named === null ? top() : open(named));
  const isAny = (query: string, ...given: SqlStorageValue[]) => sql.exec(query, ...given).toArray().length > 0;

  /** For how long an isolate may believe that this session has no budget, from the moment it asked. */
  function freeFor({ holder, forMs }: Believer, now: number): number {
    if (forMs === 0 || isAny("SELECT 1 FROM run WHERE closed IS NULL AND budget_nano IS NOT NULL LIMIT 1")) return 0;
    sql.exec("DELETE FROM belief WHERE until <= ?", now);
    sql.exec("INSERT OR REPLACE INTO belief VALUES (?, ?)", holder, now + forMs);
    return forMs;
  }

  /** A run begins or ends behind everything that has begun or ended before, whatever the clocks of isolates say. */
  function stampAfter(entered: number): number {
    const { last } = sql
      .exec<{ last: number | null }>(
        `SELECT MAX(at) AS last FROM (SELECT MAX(closed) AS at FROM run
           UNION ALL SELECT opened FROM (SELECT opened FROM run ORDER BY seq DESC LIMIT 1))`,
      )
      .one();
    return Math.max(entered, (last ?? 0) + 1);
  }

  function touch(chain: string, now: number): void {
    sql.exec(
      "UPDATE run SET active_at = ? WHERE closed IS NULL AND run_id IN (SELECT value FROM json_each(?))",
      ...[now, chain],
    );
  }

  /** Ends what a reservation holds. Without one there is nothing to do, so that it may be told twice. */
  function settle(callId: string, isOk: boolean): void {
    const [held] = sql
      .exec<{ run_ids: string; price_nano: number; is_spent: number }>(
        "DELETE FROM reservation WHERE call_id = ? RETURNING run_ids, price_nano, is_spent",
        callId,
      )
      .toArray();
    if (held === undefined || (isOk && held.is_spent === 1)) return;
    const reserved = held.is_spent === 1 ? 0 : -held.price_nano;
    const spent = isOk ? held.price_nano : held.is_spent === 1 ? -held.price_nano : 0;
    charge(held.run_ids, reserved, spent);
  }

  function charge(runIds: string, reserved: number, spent: number): void {
    sql.exec(
      `UPDATE run SET reserved_nano = reserved_nano + ?, spent_nano = spent_nano + ?, version = version + ?
       WHERE run_id IN (SELECT value FROM json_each(?))`,
      ...[reserved, spent, spent === 0 ? 0 : 1, runIds],
    );
  }

  /** Ends the open runs that have had no call since then (PS-43). */
  function abandon(idleSince: number, now: number): void {
    sql.exec(
      `UPDATE run SET closed = ?, outcome = 'abandoned', finished_at = ?, version = version + 1
       WHERE closed IS NULL AND active_at <= ?`,
      ...[stampAfter(now * STAMPS_PER_MS), now, idleSince],
    );
  }

  /** Counts a call in its run, and what it has cost in those around that have no budget: the others held it. */
  function count({ call_id, run_id, cost_nano, entered }: TakenRow, now: number): void {
    const [run] = sql.exec<OpenRun>("SELECT run_id, chain FROM run WHERE run_id = ?", run_id).toArray();
    const isCounted = "INSERT OR IGNORE INTO counted VALUES (?, ?) RETURNING 1";
    if (run === undefined || !isAny(isCounted, call_id, now)) return;
    sql.exec(
      "UPDATE run SET calls = calls + 1, cost_nano = cost_nano + ?, version = version + 1 WHERE run_id = ?",
      ...[cost_nano, run_id],
    );
    sql.exec(
      `UPDATE run SET spent_nano = spent_nano + ?1, version = version + 1
       WHERE ?1 > 0 AND budget_nano IS NULL AND (closed IS NULL OR closed > ?2)
         AND run_id IN (SELECT value FROM json_each(?3))`,
      ...[cost_nano, entered, run.chain],
    );
    touch(run.chain, now);
  }

  /** What has ended long ago is forgotten, once D1 has it. */
  function prune(now: number): void {
    sql.exec("DELETE FROM counted WHERE at <= ?", now - KEEP_MS);
    sql.exec("DELETE FROM run WHERE finished_at <= ? AND moved >= version", now - KEEP_MS);
    sql.exec("DELETE FROM reservation WHERE is_spent = 1 AND due_at <= ?", now - KEEP_MS);
  }

  return {
    /** Begins a run; repeating it is harmless. */
    start(
      { org_id, principal_id, session_id, entered, named }: RunPlace,
      draft: RunDraft,
      believer: Believer,
      now: number,
    ): Started {
      const { run_id, label, doctrine, budget_nano } = draft;
      const [begun] = sql
        .exec<{ parent_run_id: string | null; opened: number }>(
          "SELECT parent_run_id, opened FROM run WHERE run_id = ?",
          run_id,
        )
        .toArray();
      if (begun !== undefined) return { kind: "started", ...begun, freeForMs: freeFor(believer, now) };
      prune(now);
      const around = runOf(named);
      if (named !== null && around === undefined) return { kind: "not_open" };
      const { count } = sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM run WHERE closed IS NULL").one();
      if (count >= MAX_OPEN_RUNS) return { kind: "too_many" };
      const chain = [run_id, ...(JSON.parse(around?.chain ?? "[]") as string[]).filter((id) => open(id) !== undefined)];
      const parent_run_id = around?.run_id ?? null;
      const opened = stampAfter(entered);
      sql.exec(
        `INSERT INTO run (run_id, parent_run_id, chain, org_id, principal_id, session_id, label, doctrine, budget_nano,
           opened, started_at, active_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[run_id, parent_run_id, JSON.stringify(chain), org_id, principal_id, session_id, label, doctrine],
        ...[budget_nano, opened, now, now],
      );
      return { kind: "started", parent_run_id, opened, freeForMs: freeFor(believer, now) };
    },

    /**
     * Takes a run out, wherever it stands.
     *
     * @param by Names the request, so that its repetition is told what it has done.
     * @returns The place of its end among the calls of the session; null when it was not open.
     */
    finish(runId: string, { outcome, note }: RunEnd, by: string, entered: number, now: number): number | null {
      sql.exec(
        `UPDATE run SET closed = ?, outcome = ?, note = ?, ended_by = ?, finished_at = ?, version = version + 1
         WHERE run_id = ? AND closed IS NULL`,
        ...[stampAfter(entered), outcome, note, by, now, runId],
      );
      const [ended] = sql
        .exec<{ closed: number }>("SELECT closed FROM run WHERE run_id = ? AND ended_by = ?", runId, by)
        .toArray();
      return ended?.closed ?? null;
    },

    /**
     * Decides on a call before it goes upstream, and holds its price in every budget that it is in (PS-41): equal is
     * allowed. Repeating it is harmless.
     */
    admit({ call_id, named, price_nano, timeout_ms }: CallAsk, believer: Believer, now: number): Admitted {
      const run = runOf(named);
      if (named !== null && run === undefined) return { kind: "not_open" };
      const freeForMs = freeFor(believer, now);
      if (run === undefined) return { kind: "in", run_id: null, isReserved: false, freeForMs };
      const { run_id, chain } = run;
      const budgets =
        price_nano === 0 || isAny("SELECT 1 FROM reservation WHERE call_id = ?", call_id)
          ? []
          : sql
              .exec<{ run_id: string; left_nano: number }>(
                `SELECT run_id, budget_nano - spent_nano - reserved_nano AS left_nano FROM run
                 WHERE closed IS NULL AND budget_nano IS NOT NULL AND run_id IN (SELECT value FROM json_each(?))
                 ORDER BY left_nano`,
                chain,
              )
              .toArray();
      const [tightest] = budgets;
      if (tightest !== undefined && tightest.left_nano < price_nano) {
        return { kind: "refused", run_id, short: { ...tightest, left_nano: Math.max(0, tightest.left_nano) } };
      }
      if (budgets.length > 0) {
        const runIds = JSON.stringify(budgets.map((budget) => budget.run_id));
        const dueAt = now + timeout_ms + SETTLE_MS;
        sql.exec("INSERT INTO reservation VALUES (?, ?, ?, ?, 0)", ...[call_id, runIds, price_nano, dueAt]);
        charge(runIds, price_nano, 0);
      }
      touch(chain, now);
      const isReserved = isAny("SELECT 1 FROM reservation WHERE call_id = ?", call_id);
      return { kind: "in", run_id, isReserved, freeForMs };
    },

    /** How long others than this isolate may go on believing that there is no budget: the latest of their times. */
    believedUntil(holder: string): number | null {
      return sql
        .exec<{ until: number | null }>("SELECT MAX(until) AS until FROM belief WHERE holder <> ?", holder)
        .one().until;
    },

    /** A call has failed: what it held is free again. */
    release(callId: string): void {
      settle(callId, false);
    },

    /**
     * Takes rows of calls into the journal, each with the run that it entered in, and settles what they held. A row that
     * comes again is not counted again.
     *
     * A call that has cost something and had nothing held is of no run with a budget: it entered before that began,
     * whatever the clock of its isolate says. So no more is ever charged to a budget than has been held in it.
     *
     * @param rows JSON text of a list of `CallRow`.
     */
    journal(rows: string, now: number): void {
      if (!isAny("SELECT 1 FROM run LIMIT 1")) {
        sql.exec("INSERT OR IGNORE INTO journal (call_id, row) SELECT value ->> 'id', value FROM json_each(?)", rows);
        return;
      }
      const taken = sql
        .exec<TakenRow>(
          `WITH given AS (
             SELECT value AS row, value ->> 'cost_nano' AS cost_nano, value ->> 'entered' AS entered,
               value ->> 'run_id' AS run_id
             FROM json_each(?)
           ), placed AS (
             SELECT row, COALESCE(given.run_id, (
               SELECT r.run_id FROM run AS r WHERE ${IS_OPEN("r")} AND NOT (given.cost_nano > 0 AND EXISTS (
                 SELECT 1 FROM json_each(r.chain) AS c JOIN run AS b ON b.run_id = c.value
                 WHERE b.budget_nano IS NOT NULL AND ${IS_OPEN("b")}))
               ORDER BY r.seq DESC LIMIT 1)) AS run_id
             FROM given
           )
           INSERT OR IGNORE INTO journal (call_id, row)
           SELECT row ->> 'id', json_set(row, '$.run_id', run_id, '$.parent_run_id',
             (SELECT run.parent_run_id FROM run WHERE run.run_id = placed.run_id))
           FROM placed WHERE true
           RETURNING call_id, row ->> 'run_id' AS run_id, row ->> 'ok' AS ok, row ->> 'cost_nano' AS cost_nano,
             row ->> 'entered' AS entered`,
          rows,
        )
        .toArray();
      for (const row of taken) {
        settle(row.call_id, row.ok === 1);
        count(row, now);
      }
    },

    /** Does what time has brought: calls that were never heard of again, and runs that nobody uses. */
    sweep(idleMs: number, now: number): void {
      const due = sql
        .exec<{ call_id: string; run_ids: string; price_nano: number }>(
          "UPDATE reservation SET is_spent = 1 WHERE is_spent = 0 AND due_at <= ? RETURNING call_id, run_ids, price_nano",
          now,
        )
        .toArray();
      for (const { run_ids, price_nano } of due) charge(run_ids, -price_nano, price_nano);
      abandon(now - idleMs, now);
      prune(now);
    },

    /** The session is over: nobody can end what is open in it. */
    end(now: number): void {
      abandon(now, now);
    },

    /** When `sweep` has something to do; null: never. */
    nextSweep(idleMs: number): number | null {
      return sql
        .exec<{ at: number | null }>(
          `SELECT MIN(at) AS at FROM (SELECT MIN(active_at) + ? AS at FROM run WHERE closed IS NULL
             UNION ALL SELECT MIN(due_at) FROM reservation WHERE is_spent = 0)`,
          idleMs,
        )
        .one().at;
    },

    /** Runs whose present state is not in D1. */
    unmoved(): RunRow[] {
      return sql
        .exec<Record<keyof RunRow, SqlStorageValue>>(
          `SELECT run_id, org_id, principal_id, session_id, label, doctrine, parent_run_id, budget_nano,
             spent_nano, calls, cost_nano, outcome, note, started_at, finished_at, version
           FROM run WHERE moved < version ORDER BY seq LIMIT ?`,
          MOVED_AT_ONCE,
        )
        .toArray() as unknown as RunRow[];
    },

    /** They are there, as they were then. */
    moved(rows: readonly RunRow[]): void {
      for (const { run_id, version } of rows) sql.exec("UPDATE run SET moved = ? WHERE run_id = ?", version, run_id);
    },
  };
}
