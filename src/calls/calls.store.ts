import { and, desc, eq, getTableColumns, lt, or, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import type { CallRow } from "./call.ts";
import { toolCalls } from "./calls.tables.ts";

export interface CallFilters {
  readonly server_id?: string;
  readonly tool?: string;
  readonly virtual_key_id?: string;
  readonly ok?: boolean;
  /** Of one user. */
  readonly sub?: string;
}

/** The row a page begins behind. */
export interface CallPosition {
  readonly created_at: number;
  readonly id: string;
}

/** The call log in D1. */
export interface CallStore {
  /**
   * Adds rows of any org, in one statement; a row that is there already stays as it is.
   *
   * @param rows JSON text of a list of `CallRow`, two megabytes at most (D1).
   */
  append(rows: string): Promise<void>;
  /** Newest first. */
  list(orgId: string, filters: CallFilters, after: CallPosition | null, limit: number): Promise<CallRow[]>;
}

export function d1CallStore(d1: D1Database): CallStore {
  const db = drizzle(d1);
  return withOutages<CallStore>({
    async append(rows) {
      // A row that has waited in its object since before a column was there gets that column's default.
      const values = Object.entries(getTableColumns(toolCalls)).map(([name, column]) => {
        const value = sql.raw(`value ->> '${name}'`);
        return column.default === undefined ? value : sql`COALESCE(${value}, ${column.default})`;
      });
      await db
        .insert(toolCalls)
        .select(sql`SELECT ${sql.join(values, sql`, `)} FROM json_each(${rows}) WHERE true`)
        .onConflictDoNothing();
    },

    async list(orgId, filters, after, limit) {
      const earlier =
        after === null
          ? undefined
          : or(
              lt(toolCalls.created_at, after.created_at),
              and(eq(toolCalls.created_at, after.created_at), lt(toolCalls.id, after.id)),
            );
      return db
        .select()
        .from(toolCalls)
        .where(
          and(
            eq(toolCalls.org_id, orgId),
            filters.server_id === undefined ? undefined : eq(toolCalls.server_id, filters.server_id),
            filters.tool === undefined ? undefined : eq(toolCalls.tool, filters.tool),
            filters.virtual_key_id === undefined ? undefined : eq(toolCalls.virtual_key_id, filters.virtual_key_id),
            filters.sub === undefined ? undefined : eq(toolCalls.sub, filters.sub),
            filters.ok === undefined ? undefined : eq(toolCalls.ok, filters.ok),
            earlier,
          ),
        )
        .orderBy(desc(toolCalls.created_at), desc(toolCalls.id))
        .limit(limit);
    },
  });
}
