import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

/** Runs as their sessions have left them (PS-43). Nothing is referenced: a run outlives its session, key and server. */
export const runs = sqliteTable(
  "runs",
  {
    run_id: text().primaryKey(),
    org_id: text().notNull(),
    principal_id: text().notNull(),
    session_id: text(),
    label: text().notNull(),
    doctrine: text(),
    parent_run_id: text(),
    /** Nano-dollars (PS-42). */
    budget_nano: integer(),
    spent_nano: integer().notNull(),
    calls: integer().notNull(),
    cost_nano: integer().notNull(),
    outcome: text({ enum: ["done", "abandoned", "failed", "blocked"] }),
    note: text(),
    started_at: integer().notNull(),
    /** Null while it is open. */
    finished_at: integer(),
    version: integer().notNull(),
  },
  (table) => {
    const byTime = [table.started_at, table.run_id] as const;
    return [
      // The list of all orgs, of one, of a principal in it, and of what is open in it.
      index("runs_by_age").on(...byTime),
      index("runs_by_time").on(table.org_id, ...byTime),
      index("runs_by_principal").on(table.org_id, table.principal_id, ...byTime),
      index("runs_open")
        .on(table.org_id, ...byTime)
        .where(sql`finished_at IS NULL`),
    ];
  },
);
