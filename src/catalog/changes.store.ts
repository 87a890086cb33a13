import { and, asc, count, desc, eq, inArray, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { isVisibleTo, servers } from "../registry/registry.tables.ts";
import { generations, serverTools, toolChanges } from "./catalog.tables.ts";
import { type ChangeState, type Decision, INSTRUCTIONS, type ToolChange } from "./tool-change.ts";

/**
 * Changed definitions in D1, of servers that a scope sees: an org, or `EVERY_ORG`. What a discovery finds is written by
 * the catalog's store.
 */
export interface ChangeStore {
  /** Changes of one server, newest first. */
  changes(
    scope: string,
    serverId: string,
    state: ChangeState | null,
    page: PageRequest,
  ): Promise<{ rows: ToolChange[]; total: number }>;
  change(scope: string, serverId: string, changeId: string): Promise<ToolChange | null>;
  /**
   * Decides held changes of a server, in one batch with what is in force from now on.
   *
   * @param changeId One of them; null for all.
   * @returns The changes that were decided: none where nothing was held (any more).
   */
  decide(scope: string, serverId: string, changeId: string | null, decision: Decision): Promise<ToolChange[]>;
}

export function d1ChangeStore(d1: D1Database): ChangeStore {
  const db = drizzle(d1);
  const isOfVisible = (scope: string, serverId: string) =>
    sql`EXISTS (SELECT 1 FROM servers WHERE ${servers.server_id} = ${serverId} AND ${isVisibleTo(scope)})`;

  const raiseGeneration = () =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(eq(generations.org_id, "*"));

  return withOutages<ChangeStore>({
    async changes(scope, serverId, state, { page, page_size }) {
      const where = and(
        eq(toolChanges.server_id, serverId),
        isOfVisible(scope, serverId),
        state === null ? undefined : eq(toolChanges.state, state),
      );
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(toolChanges)
          .where(where)
          .orderBy(desc(toolChanges.found_at), asc(toolChanges.change_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(toolChanges).where(where),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async change(scope, serverId, changeId) {
      const [row] = await db
        .select()
        .from(toolChanges)
        .where(
          and(eq(toolChanges.server_id, serverId), eq(toolChanges.change_id, changeId), isOfVisible(scope, serverId)),
        );
      return row ?? null;
    },

    async decide(scope, serverId, changeId, { state, by, at }) {
      const isHeld = and(
        isOfVisible(scope, serverId),
        eq(toolChanges.server_id, serverId),
        eq(toolChanges.state, "held"),
        changeId === null ? undefined : eq(toolChanges.change_id, changeId),
      );
      const proposed = (column: "proposed" | "proposed_hash") =>
        sql`(SELECT ${sql.raw(column)} FROM tool_changes WHERE ${isHeld} AND tool = ${serverTools.tool})`;
      const decided = db.update(toolChanges).set({ state, decided_at: at, decided_by: by }).where(isHeld).returning();
      if (state === "refused") return decided;
      const held = sql`SELECT proposed ->> '$' FROM tool_changes WHERE ${isHeld} AND tool = ${INSTRUCTIONS}`;
      const [, , rows] = await db.batch([
        db
          .update(servers)
          .set({ approved_instructions: sql`(${held})` })
          .where(and(eq(servers.server_id, serverId), sql`EXISTS (${held})`)),
        db
          .update(serverTools)
          .set({ approved_definition: proposed("proposed"), approved_hash: proposed("proposed_hash") })
          .where(
            and(
              eq(serverTools.server_id, serverId),
              inArray(serverTools.tool, db.select({ tool: toolChanges.tool }).from(toolChanges).where(isHeld)),
            ),
          ),
        decided,
        raiseGeneration(),
      ]);
      return rows;
    },
  });
}
