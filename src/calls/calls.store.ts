import { and, desc, eq, lt, or } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import type { CallRow } from "./call.ts";
import { toolCalls } from "./calls.tables.ts";

export interface CallFilters {
  readonly server_id?: string;
  readonly tool?: string;
  readonly virtual_key_id?: string;
  readonly ok?: boolean;
}

/** The row a page begins behind. */
export interface CallPosition {
  readonly created_at: number;
  readonly id: string;
}

/** The call log in D1. */
export interface CallStore {
  /** Adds rows of any org, in one batch; a row that is there already stays as it is. */
  append(rows: readonly CallRow[]): Promise<void>;
  /** Newest first. */
  list(orgId: string, filters: CallFilters, after: CallPosition | null, limit: number): Promise<CallRow[]>;
}

export function d1CallStore(d1: D1Database): CallStore {
  const db = drizzle(d1);
  return withOutages<CallStore>({
    async append(rows) {
      const [first, ...rest] = rows.map((row) => db.insert(toolCalls).values(row).onConflictDoNothing());
      if (first !== undefined) await db.batch([first, ...rest]);
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
            filters.ok === undefined ? undefined : eq(toolCalls.ok, filters.ok),
            earlier,
          ),
        )
        .orderBy(desc(toolCalls.created_at), desc(toolCalls.id))
        .limit(limit);
    },
  });
}
