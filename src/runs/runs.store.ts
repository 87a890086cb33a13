import { and, desc, eq, getTableColumns, gte, isNotNull, isNull, lt, or, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import { EVERY_ORG } from "../registry/reach.ts";
import type { Outcome, RunRow } from "./run.ts";
import { runs } from "./runs.tables.ts";

export interface RunFilters {
  readonly open?: boolean;
  readonly outcome?: Outcome;
  /** Of one principal. */
  readonly user_id?: string;
  /** Milliseconds since the Unix epoch: begun then or later. */
  readonly from?: number;
  /** Begun before. */
  readonly to?: number;
}

/** The run that a page begins behind. */
export interface RunPosition {
  readonly started_at: number;
  readonly run_id: string;
}

/** Runs in D1. */
export interface RunStore {
  /**
   * Adds runs of any org, or brings them up to date; a state older than the one that is there changes nothing, and an
   * org that has gone gets no runs any more.
   *
   * @param rows JSON text of a list of `RunRow`, two megabytes at most (D1).
   */
  append(rows: string): Promise<void>;
  /** Newest first. @param scope An org, or `EVERY_ORG`. */
  list(scope: string, filters: RunFilters, after: RunPosition | null, limit: number): Promise<RunRow[]>;
  get(scope: string, runId: string): Promise<RunRow | null>;
}

export function d1RunStore(d1: D1Database): RunStore {
  const db = drizzle(d1);
  // Two statements: one for all would find no index.
  const isIn = (scope: string): SQL => (scope === EVERY_ORG ? sql`${scope} = ${EVERY_ORG}` : eq(runs.org_id, scope));

  return withOutages<RunStore>({
    async append(rows) {
      const columns = Object.keys(getTableColumns(runs));
      const values = columns.map((name) => sql.raw(`value ->> '${name}'`));
      await db
        .insert(runs)
        .select(
          sql`SELECT ${sql.join(values, sql`, `)} FROM json_each(${rows})
            WHERE EXISTS (SELECT 1 FROM orgs WHERE org_id = value ->> 'org_id')`,
        )
        .onConflictDoUpdate({
          target: runs.run_id,
          set: Object.fromEntries(columns.map((name) => [name, sql.raw(`excluded.${name}`)])),
          setWhere: sql`excluded.version > ${runs.version}`,
        });
    },

    async list(scope, { open, outcome, user_id, from, to }, after, limit) {
      const earlier =
        after === null
          ? undefined
          : or(
              lt(runs.started_at, after.started_at),
              and(eq(runs.started_at, after.started_at), lt(runs.run_id, after.run_id)),
            );
      return db
        .select()
        .from(runs)
        .where(
          and(
            isIn(scope),
            open === undefined ? undefined : open ? isNull(runs.finished_at) : isNotNull(runs.finished_at),
            outcome === undefined ? undefined : eq(runs.outcome, outcome),
            user_id === undefined ? undefined : eq(runs.principal_id, user_id),
            from === undefined ? undefined : gte(runs.started_at, from),
            to === undefined ? undefined : lt(runs.started_at, to),
            earlier,
          ),
        )
        .orderBy(desc(runs.started_at), desc(runs.run_id))
        .limit(limit);
    },

    async get(scope, runId) {
      const [found] = await db
        .select()
        .from(runs)
        .where(and(isIn(scope), eq(runs.run_id, runId)));
      return found ?? null;
    },
  });
}
