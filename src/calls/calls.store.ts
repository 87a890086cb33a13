import { and, asc, desc, eq, getTableColumns, type SQL, Subquery, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { alias } from "drizzle-orm/sqlite-core";
import { withOutages } from "../failure/unavailable.ts";
import { EVERY_ORG } from "../registry/reach.ts";
import type { CallRow } from "./call.ts";
import {
  type CallColumns,
  EXAMINED,
  entriesOf,
  indexedBy,
  isBehind,
  matches,
  narrow,
  timeRange,
  valueRange,
} from "./call-filters.store.ts";
import type { CallFilters, CallPosition, CallSort } from "./call-query.ts";
import { ADDED, newSums, outcomeOf, SUM_KEY } from "./call-sums.store.ts";
import { callSums, toolCalls } from "./calls.tables.ts";

export interface CallSlice {
  readonly sort: CallSort;
  /** The row that it begins behind; null at the beginning. */
  readonly after: CallPosition | null;
  readonly limit: number;
  /** Rows to leave out at the beginning. */
  readonly offset?: number;
}

/** The call log in D1. A scope is an org, or `EVERY_ORG`. */
export interface CallStore {
  /**
   * Adds rows of any org, and counts them, in one transaction; a row that is there already stays as it is, and counts no
   * second time.
   *
   * @param rows JSON text of a list of `CallRow`, two megabytes at most (D1).
   */
  append(rows: string): Promise<void>;
  get(scope: string, id: string): Promise<CallRow | null>;
  /**
   * Rows in an order. No more than `EXAMINED` entries of an index are looked at, so that there may be fewer rows than
   * asked for, and none, before the end.
   *
   * @returns `next`: where to go on; null at the end.
   */
  list(scope: string, filters: CallFilters, slice: CallSlice): Promise<{ rows: CallRow[]; next: CallPosition | null }>;
}

export function d1CallStore(d1: D1Database, examined = EXAMINED): CallStore {
  const db = drizzle(d1);
  const candidates = alias(toolCalls, CANDIDATES);

  /** What matches among some candidates, in order. */
  const find = (scope: string, filters: CallFilters, { sort, limit, offset = 0 }: CallSlice, from: SQL, also?: SQL) =>
    db
      .select(getTableColumns(candidates))
      .from(new Subquery(from, getTableColumns(candidates), CANDIDATES))
      .where(and(matches(candidates, scope, filters), also))
      .orderBy(...orderOf(candidates, sort))
      // One more than is asked for tells whether there is more.
      .limit(limit + 1)
      .offset(offset);

  return withOutages<CallStore>({
    async append(rows) {
      // A row that has waited in its object since before a column was there gets that column's default.
      const values = Object.entries(getTableColumns(toolCalls)).map(([name, column]) => {
        if (column === toolCalls.outcome) return outcomeOf(sql`value`);
        const value = sql.raw(`value ->> '${name}'`);
        return column.default === undefined ? value : sql`COALESCE(${value}, ${column.default})`;
      });
      await db.batch([
        // Before the rows are there: what is there already is not counted.
        db.insert(callSums).select(newSums(rows)).onConflictDoUpdate({ target: SUM_KEY, set: ADDED }),
        db
          .insert(toolCalls)
          .select(sql`SELECT ${sql.join(values, sql`, `)} FROM json_each(${rows}) WHERE true`)
          .onConflictDoNothing(),
      ]);
    },

    async get(scope, id) {
      const ofScope = scope === EVERY_ORG ? undefined : eq(toolCalls.org_id, scope);
      const [row] = await db
        .select()
        .from(toolCalls)
        .where(and(eq(toolCalls.id, id), ofScope));
      return row ?? null;
    },

    async list(scope, filters, slice) {
      const { sort, after } = slice;
      const few = sort.by === "created_at" ? null : await narrow(db, scope, filters, examined);
      if (few !== null) {
        const all = sql`SELECT * FROM ${indexedBy(few.index)} WHERE ${entriesOf(few)}`;
        const [value, id] = [candidates[COLUMNS[sort.by]], candidates.id];
        const isLeft = after === null ? undefined : isBehind(value, id, sort.direction, after);
        return pageOf(await find(scope, filters, slice, all, isLeft), slice, null);
      }
      const range = sort.by === "created_at" ? timeRange(scope, filters) : valueRange(sort.by, scope, filters);
      const walk = (columns: SQL, part: SQL) => sql`SELECT ${columns} FROM ${indexedBy(range.index)}
        WHERE ${entriesOf(range, sort.direction, after)}
        ORDER BY ${sql.join(orderOf(toolCalls, sort), sql`, `)} LIMIT ${part}`;
      const [found, [last = null]] = await db.batch([
        find(scope, filters, slice, walk(sql`*`, sql`${examined}`)),
        // Where the candidates end, if there are more.
        db
          .select({ value: sql<number>`value`, id: sql<string>`id` })
          .from(sql`(${walk(sql`${range.column} AS value, id`, sql`1 OFFSET ${examined - 1}`)}) AS last`),
      ]);
      return pageOf(found, slice, last);
    },
  });
}

const CANDIDATES = "candidates";
type Row = typeof toolCalls.$inferSelect;
const COLUMNS = { created_at: "created_at", duration_ms: "duration_ms", cost_usd: "cost_nano" } as const;

function orderOf(table: CallColumns, { by, direction }: CallSort): SQL[] {
  return [table[COLUMNS[by]], table.id].map((column) => (direction === "asc" ? asc : desc)(column));
}

/** @param last Where to go on when there are no more rows up to there; null at the end. */
function pageOf(found: Row[], { sort, limit }: CallSlice, last: CallPosition | null) {
  const rows = found.slice(0, limit);
  const end = found.length > limit ? rows.at(-1) : undefined;
  return { rows, next: end === undefined ? last : { value: end[COLUMNS[sort.by]], id: end.id } };
}
