import { and, asc, count, eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { generations } from "../catalog/catalog.tables.ts";
import { tokens } from "../credentials/credentials.tables.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { PageRequest } from "../http/page.ts";
import type { OrgRole, Standing } from "../identity/principal.ts";
import { groupMembers, members, orgs } from "./access.tables.ts";

/** Somebody who belongs to an org. */
export interface Member {
  readonly org_id: string;
  readonly user_id: string;
  readonly role: OrgRole;
  readonly email: string | null;
  /** Milliseconds since the Unix epoch. */
  readonly created: number;
}

/** Somebody in a group of an org. */
export interface GroupMember {
  readonly org_id: string;
  readonly group_id: string;
  readonly user_id: string;
  readonly is_admin: boolean;
}

/** Members of orgs and groups in D1. Each write is one batch that raises the generation of the org. */
export interface MemberStore {
  standing(orgId: string, userId: string): Promise<Standing>;
  /** The orgs of one person, sorted: the one read that comes before the org is known. */
  orgsOf(userId: string): Promise<string[]>;
  list(orgId: string, page: PageRequest): Promise<{ rows: Member[]; total: number }>;
  /**
   * Adds a member, or gives one another role.
   *
   * @param keepsAdmin Refuses to lower the last org admin.
   * @throws GatewayError `conflict` for the last org admin
   */
  put(orgId: string, member: Member, keepsAdmin: boolean): Promise<Member>;
  /** @returns Whether there was one. @throws GatewayError `conflict` for the last org admin, where one is to be kept */
  remove(orgId: string, userId: string, keepsAdmin: boolean): Promise<boolean>;
  groupMembers(orgId: string, groupId: string, page: PageRequest): Promise<{ rows: GroupMember[]; total: number }>;
  groupMember(orgId: string, groupId: string, userId: string): Promise<GroupMember | null>;
  /** @returns False when the group or the member of the org does not exist. */
  putGroupMember(orgId: string, member: GroupMember): Promise<boolean>;
  removeGroupMember(orgId: string, groupId: string, userId: string): Promise<boolean>;
}

export function d1MemberStore(d1: D1Database): MemberStore {
  const db = drizzle(d1);
  const ofMember = (orgId: string, userId: string) => and(eq(members.org_id, orgId), eq(members.user_id, userId));
  const inGroup = (orgId: string, groupId: string) =>
    and(eq(groupMembers.org_id, orgId), eq(groupMembers.group_id, groupId));
  const raiseGeneration = (orgId: string) =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(and(eq(generations.org_id, orgId), sql`changes() > 0`));
  /** Whether somebody is the only org admin. */
  const isLast = (orgId: string, userId: string) => sql`SELECT 1 FROM members
    WHERE org_id = ${orgId} AND user_id = ${userId} AND role = 'org_admin' AND NOT EXISTS (
      SELECT 1 FROM members WHERE org_id = ${orgId} AND role = 'org_admin' AND user_id <> ${userId})`;
  /** Breaks the batch, by a null where none may be, when it would take the last org admin away. */
  const demandAnother = (orgId: string, userId: string, isDemanded: boolean) =>
    db
      .insert(generations)
      .select(sql`SELECT NULL, 0 WHERE ${isDemanded ? 1 : 0} AND EXISTS (${isLast(orgId, userId)})`);
  const explain = async (orgId: string, userId: string, cause: unknown) => {
    if ((await db.all(isLast(orgId, userId))).length === 0) return cause;
    return new GatewayError("conflict", "This is the last admin of the org.", { cause });
  };

  return withOutages<MemberStore>({
    async standing(orgId, userId) {
      const [found, [member], inGroups, [generation]] = await db.batch([
        db.select({ org_id: orgs.org_id }).from(orgs).where(eq(orgs.org_id, orgId)),
        db.select().from(members).where(ofMember(orgId, userId)),
        db
          .select()
          .from(groupMembers)
          .where(and(eq(groupMembers.org_id, orgId), eq(groupMembers.user_id, userId))),
        db.select().from(generations).where(eq(generations.org_id, orgId)),
      ]);
      return {
        exists: found.length > 0,
        role: member?.role ?? null,
        groups: new Map(inGroups.map(({ group_id, is_admin }) => [group_id, is_admin])),
        generation: generation?.value ?? 0,
      };
    },

    async orgsOf(userId) {
      const rows = await db
        .select({ org_id: members.org_id })
        .from(members)
        .where(eq(members.user_id, userId))
        .orderBy(asc(members.org_id));
      return rows.map(({ org_id }) => org_id);
    },

    async list(orgId, { page, page_size }) {
      const ofOrg = eq(members.org_id, orgId);
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(members)
          .where(ofOrg)
          .orderBy(asc(members.user_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(members).where(ofOrg),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async put(orgId, { user_id, role, email, created }, keepsAdmin) {
      try {
        const [, [row]] = await db.batch([
          demandAnother(orgId, user_id, keepsAdmin && role !== "org_admin"),
          db
            .insert(members)
            .values({ org_id: orgId, user_id, role, email, created })
            .onConflictDoUpdate({ target: [members.org_id, members.user_id], set: { role, email } })
            .returning(),
          raiseGeneration(orgId),
        ]);
        if (row === undefined) throw new Error("an upsert returned no row");
        return row;
      } catch (cause) {
        throw await explain(orgId, user_id, cause);
      }
    },

    async remove(orgId, userId, keepsAdmin) {
      try {
        const [, removed] = await db.batch([
          demandAnother(orgId, userId, keepsAdmin),
          db.delete(members).where(ofMember(orgId, userId)).returning({ id: members.user_id }),
          raiseGeneration(orgId),
          db.delete(tokens).where(and(eq(tokens.org_id, orgId), eq(tokens.user_id, userId))),
        ]);
        return removed.length > 0;
      } catch (cause) {
        throw await explain(orgId, userId, cause);
      }
    },

    async groupMembers(orgId, groupId, { page, page_size }) {
      const where = inGroup(orgId, groupId);
      const [rows, [total]] = await db.batch([
        db
          .select()
          .from(groupMembers)
          .where(where)
          .orderBy(asc(groupMembers.user_id))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(groupMembers).where(where),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async groupMember(orgId, groupId, userId) {
      const [row] = await db
        .select()
        .from(groupMembers)
        .where(and(inGroup(orgId, groupId), eq(groupMembers.user_id, userId)));
      return row ?? null;
    },

    async putGroupMember(orgId, { group_id, user_id, is_admin }) {
      const [written] = await db.batch([
        db
          .insert(groupMembers)
          .select(
            sql`SELECT ${orgId}, ${group_id}, ${user_id}, ${is_admin ? 1 : 0}
              WHERE EXISTS (SELECT 1 FROM groups WHERE org_id = ${orgId} AND group_id = ${group_id})
                AND EXISTS (SELECT 1 FROM members WHERE org_id = ${orgId} AND user_id = ${user_id})`,
          )
          .onConflictDoUpdate({
            target: [groupMembers.org_id, groupMembers.group_id, groupMembers.user_id],
            set: { is_admin },
          })
          .returning({ id: groupMembers.user_id }),
        raiseGeneration(orgId),
      ]);
      return written.length > 0;
    },

    async removeGroupMember(orgId, groupId, userId) {
      const [removed] = await db.batch([
        db
          .delete(groupMembers)
          .where(and(inGroup(orgId, groupId), eq(groupMembers.user_id, userId)))
          .returning({ id: groupMembers.user_id }),
        raiseGeneration(orgId),
      ]);
      return removed.length > 0;
    },
  });
}
