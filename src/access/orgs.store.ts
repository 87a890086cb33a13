import { and, asc, count, eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { callSums, toolCalls } from "../calls/calls.tables.ts";
import { generations } from "../catalog/catalog.tables.ts";
import { tokens } from "../credentials/credentials.tables.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import { instructionRevisions, instructions } from "../instructions/instructions.tables.ts";
import { serverContexts, serverOrgs } from "../registry/registry.tables.ts";
import { runs } from "../runs/runs.tables.ts";
import { groups, orgs, virtualKeys } from "./access.tables.ts";

/** A tenant: what agents see and what people may do is always of one org. */
export interface Org {
  readonly org_id: string;
  readonly name: string;
  readonly readme: string;
  readonly instructions: string;
  /** How many days calls stay in the log; null: for ever. */
  readonly call_retention_days: number | null;
  /** Milliseconds since the Unix epoch. */
  readonly created: number;
}

/** A part of an org, with admins of its own. */
export interface Group {
  readonly org_id: string;
  readonly group_id: string;
  readonly name: string;
  readonly created: number;
}

/** Orgs and their groups in D1. Each write is one batch that raises the generation of the org. */
export interface OrgStore {
  get(orgId: string): Promise<Org | null>;
  /** Those of these orgs that exist, by id; null for all there are. */
  list(orgIds: readonly string[] | null, page: PageRequest): Promise<{ rows: Org[]; total: number }>;
  /** @throws GatewayError `conflict`, field `org_id`: taken, or the log still holds calls of a former org of that id */
  insert(orgId: string, org: Org): Promise<void>;
  /** @returns The org as stored; null when there is none. */
  update(orgId: string, change: Partial<Omit<Org, "org_id" | "created">>): Promise<Org | null>;
  /**
   * Removes an org and everything of it.
   *
   * @returns False when there is none.
   * @throws GatewayError `conflict` while a server belongs to it alone: that must not become everybody's by this.
   */
  remove(orgId: string): Promise<boolean>;
  group(orgId: string, groupId: string): Promise<Group | null>;
  groups(orgId: string, page: PageRequest): Promise<{ rows: Group[]; total: number }>;
  /** @throws GatewayError `conflict`, field `group_id` */
  insertGroup(orgId: string, group: Group): Promise<void>;
  renameGroup(orgId: string, groupId: string, name: string): Promise<Group | null>;
  /** Removes a group with its instructions. @returns Whether there was one. */
  removeGroup(orgId: string, groupId: string): Promise<boolean>;
}

export function d1OrgStore(d1: D1Database): OrgStore {
  const db = drizzle(d1);
  // The blocklist stays out of it: not every member may know it (OT-12).
  const org = {
    org_id: orgs.org_id,
    name: orgs.name,
    readme: orgs.readme,
    instructions: orgs.instructions,
    call_retention_days: orgs.call_retention_days,
    created: orgs.created,
  };
  const ofGroup = (orgId: string, groupId: string) => and(eq(groups.org_id, orgId), eq(groups.group_id, groupId));
  const raiseGeneration = (orgId: string) =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(and(eq(generations.org_id, orgId), sql`changes() > 0`));
  /** Whether a former org of that id has left calls: the next must not find them in its log. */
  const hasCalls = (orgId: string) => sql`(EXISTS (SELECT 1 FROM ${toolCalls} WHERE ${eq(toolCalls.org_id, orgId)})
    OR EXISTS (SELECT 1 FROM ${callSums} WHERE ${eq(callSums.org_id, orgId)}))`;
  /** Servers that no other org has. */
  const alone = (orgId: string) => sql`SELECT 1 FROM server_orgs AS own WHERE own.org_id = ${orgId}
    AND NOT EXISTS (SELECT 1 FROM server_orgs AS o WHERE o.server_id = own.server_id AND o.org_id <> ${orgId})`;

  return withOutages<OrgStore>({
    async get(orgId) {
      const [found] = await db.select(org).from(orgs).where(eq(orgs.org_id, orgId));
      return found ?? null;
    },

    async list(orgIds, { page, page_size }) {
      const own = sql`(SELECT value FROM json_each(${JSON.stringify(orgIds ?? [])}))`;
      const where = orgIds === null ? undefined : sql`${orgs.org_id} IN ${own}`;
      const [rows, [total]] = await db.batch([
        db
          .select(org)
          .from(orgs)
          .where(where)
          .orderBy(asc(orgs.org_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(orgs).where(where),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async insert(orgId, created) {
      try {
        await db.batch([
          // Breaks the batch, by a null where none may be.
          db.insert(generations).select(sql`SELECT NULL, 0 WHERE ${hasCalls(orgId)}`),
          db.insert(orgs).values({ ...created, org_id: orgId }),
          // At random, so that no cache takes it for a former org of that id.
          db.insert(generations).select(sql`SELECT ${orgId}, abs(random() % 1000000000000)`),
        ]);
      } catch (cause) {
        const [taken] = await db.select(org).from(orgs).where(eq(orgs.org_id, orgId));
        if (taken !== undefined) {
          throw new GatewayError("conflict", "An org with this org_id exists already.", { field: "org_id", cause });
        }
        if ((await db.all(sql`SELECT 1 WHERE ${hasCalls(orgId)}`)).length === 0) throw cause;
        const message =
          "The calls of a former org with this org_id are still being removed, which may take some hours.";
        throw new GatewayError("conflict", message, { field: "org_id", cause });
      }
    },

    async update(orgId, change) {
      const [updated] = await db.batch([
        // An update without a column to set is no statement of SQL.
        db
          .update(orgs)
          .set({ org_id: orgId, ...change })
          .where(eq(orgs.org_id, orgId))
          .returning(org),
        raiseGeneration(orgId),
      ]);
      return updated[0] ?? null;
    },

    async remove(orgId) {
      const exclusive = sql`EXISTS (${alone(orgId)})`;
      try {
        const [, removed] = await db.batch([
          // Breaks the batch, by a null where none may be.
          db.insert(generations).select(sql`SELECT NULL, 0 WHERE ${exclusive}`),
          db.delete(orgs).where(eq(orgs.org_id, orgId)).returning({ org_id: orgs.org_id }),
          db.delete(generations).where(and(eq(generations.org_id, orgId), sql`changes() > 0`)),
          db.delete(serverOrgs).where(eq(serverOrgs.org_id, orgId)),
          db.delete(serverContexts).where(eq(serverContexts.org_id, orgId)),
          db.delete(tokens).where(eq(tokens.org_id, orgId)),
          db.delete(runs).where(eq(runs.org_id, orgId)),
        ]);
        return removed.length > 0;
      } catch (cause) {
        if ((await db.all(alone(orgId))).length === 0) throw cause;
        throw new GatewayError("conflict", "A server belongs to this org alone. Delete it or give it to another org.", {
          cause,
        });
      }
    },

    async group(orgId, groupId) {
      const [group] = await db.select().from(groups).where(ofGroup(orgId, groupId));
      return group ?? null;
    },

    async groups(orgId, { page, page_size }) {
      const ofOrg = eq(groups.org_id, orgId);
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(groups)
          .where(ofOrg)
          .orderBy(asc(groups.group_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(groups).where(ofOrg),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async insertGroup(orgId, group) {
      try {
        await db.batch([db.insert(groups).values({ ...group, org_id: orgId }), raiseGeneration(orgId)]);
      } catch (cause) {
        const [taken] = await db.select().from(groups).where(ofGroup(orgId, group.group_id));
        if (taken === undefined) throw cause;
        throw new GatewayError("conflict", "A group with this group_id exists already.", { field: "group_id", cause });
      }
    },

    async renameGroup(orgId, groupId, name) {
      const [updated] = await db.batch([
        db.update(groups).set({ name }).where(ofGroup(orgId, groupId)).returning(),
        raiseGeneration(orgId),
      ]);
      return updated[0] ?? null;
    },

    async removeGroup(orgId, groupId) {
      // What a group has written goes with it, so that no later group of that id inherits it. A group that only the
      // identity provider knows is none that could be removed.
      const isStored = sql`EXISTS (SELECT 1 FROM groups WHERE org_id = ${orgId} AND group_id = ${groupId})`;
      const [, , removed] = await db.batch([
        db
          .delete(instructions)
          .where(and(eq(instructions.org_id, orgId), eq(instructions.group_id, groupId), isStored)),
        db
          .delete(instructionRevisions)
          .where(and(eq(instructionRevisions.org_id, orgId), eq(instructionRevisions.group_id, groupId), isStored)),
        db.delete(groups).where(ofGroup(orgId, groupId)).returning({ id: groups.group_id }),
        raiseGeneration(orgId),
        // A later group of that id is another one.
        db
          .update(virtualKeys)
          .set({ group_id: null })
          .where(and(eq(virtualKeys.org_id, orgId), eq(virtualKeys.group_id, groupId))),
      ]);
      return removed.length > 0;
    },
  });
}
