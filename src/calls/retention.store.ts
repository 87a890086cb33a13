import { and, asc, eq, inArray, lt, type SQL, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import type { CallRow } from "./call.ts";
import { indexedBy } from "./call-filters.store.ts";
import { SUM_KEY } from "./call-sums.store.ts";
import { callSums, toolCalls } from "./calls.tables.ts";

/** What of an org's log has had its time. */
export interface Expired {
  readonly org_id: string;
  /** The first instant that stays; infinite for an org that is no more. */
  readonly before: number;
}

/** What ends the stay of calls in D1. */
export interface RetentionStore {
  /** The orgs that have calls to be removed: those older than their org keeps them, and all of orgs that are no more. */
  expired(now: number): Promise<Expired[]>;
  /** The oldest calls of an org before an instant, of one day in UTC; the oldest first. */
  oldest(orgId: string, before: number, limit: number): Promise<CallRow[]>;
  /** Removes calls. What was counted of them stays counted. */
  remove(orgId: string, ids: readonly string[]): Promise<void>;
  /** Removes some of what was counted of an org. @returns Whether there was any. */
  forgetSums(orgId: string, limit: number): Promise<boolean>;
}

const DAY_MS = 86_400_000;

export function d1RetentionStore(d1: D1Database): RetentionStore {
  const db = drizzle(d1);
  return withOutages<RetentionStore>({
    async expired(now) {
      const kept = await db.all<Expired>(sql`
        SELECT org_id, ${now - (now % DAY_MS)} - call_retention_days * ${DAY_MS} AS before FROM orgs
        WHERE call_retention_days IS NOT NULL AND EXISTS (
          SELECT 1 FROM tool_calls WHERE tool_calls.org_id = orgs.org_id
            AND created_at < ${now - (now % DAY_MS)} - call_retention_days * ${DAY_MS})
        ORDER BY org_id`);
      const former = await db.all<{ org_id: string }>(sql`
        SELECT org_id FROM (${orgsOf(toolCalls)} UNION ${orgsOf(callSums)})
        WHERE org_id NOT IN (SELECT org_id FROM orgs) ORDER BY org_id`);
      return [...kept, ...former.map(({ org_id }) => ({ org_id, before: Number.MAX_SAFE_INTEGER }))];
    },

    async oldest(orgId, before, limit) {
      const oldest = sql`SELECT created_at - created_at % ${DAY_MS} + ${DAY_MS} FROM ${indexedBy("tool_calls_by_time")}
        WHERE org_id = ${orgId} ORDER BY created_at LIMIT 1`;
      return db
        .select()
        .from(toolCalls)
        .where(
          and(
            eq(toolCalls.org_id, orgId),
            lt(toolCalls.created_at, before),
            sql`${toolCalls.created_at} < (${oldest})`,
          ),
        )
        .orderBy(asc(toolCalls.created_at), asc(toolCalls.id))
        .limit(limit);
    },

    async remove(orgId, ids) {
      const listed = sql`(SELECT value FROM json_each(${JSON.stringify(ids)}))`;
      await db.delete(toolCalls).where(and(eq(toolCalls.org_id, orgId), inArray(toolCalls.id, listed)));
    },

    async forgetSums(orgId, limit) {
      const key = sql.raw(SUM_KEY.map(({ name }) => name).join(", "));
      const some = sql`SELECT ${key} FROM ${callSums} WHERE ${eq(callSums.org_id, orgId)} LIMIT ${limit}`;
      const removed = await db
        .delete(callSums)
        .where(sql`(${key}) IN (${some})`)
        .returning({ org_id: callSums.org_id });
      return removed.length > 0;
    },
  });
}

/** The orgs of a table whose key or index begins with them: it leaps from one to the next. */
function orgsOf(table: typeof toolCalls | typeof callSums): SQL {
  return sql`SELECT org_id FROM (
    WITH RECURSIVE found (org_id) AS (
      SELECT MIN(org_id) FROM ${table}
      UNION ALL SELECT (SELECT MIN(org_id) FROM ${table} WHERE org_id > found.org_id) FROM found WHERE org_id IS NOT NULL
    ) SELECT org_id FROM found) WHERE org_id IS NOT NULL`;
}
