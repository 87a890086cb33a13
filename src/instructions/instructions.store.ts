import { and, asc, count, desc, eq, getTableColumns, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { generations } from "../catalog/catalog.tables.ts";
import { withOutages } from "../failure/unavailable.ts";
import {
  type Instruction,
  type InstructionDraft,
  type InstructionKey,
  MAX_INSTRUCTIONS,
  roomConflict,
  versionConflict,
} from "./instruction.ts";
import { instructionRevisions, instructions } from "./instructions.tables.ts";
import type { InstructionFilter, InstructionStore } from "./instructions.ts";
import { Frontmatter } from "./instructions.wire.ts";

/** Instructions in D1. Each write is one batch that raises the generation of the org. */
export function d1InstructionStore(d1: D1Database): InstructionStore {
  const db = drizzle(d1);
  const isCurrent = (orgId: string, { group_id, kind, slug }: InstructionKey) =>
    and(
      eq(instructions.org_id, orgId),
      eq(instructions.kind, kind),
      eq(instructions.slug, slug),
      eq(instructions.group_id, group_id),
    );
  const isRevision = (orgId: string, { group_id, kind, slug }: InstructionKey) =>
    and(
      eq(instructionRevisions.org_id, orgId),
      eq(instructionRevisions.kind, kind),
      eq(instructionRevisions.slug, slug),
      eq(instructionRevisions.group_id, group_id),
    );
  const isListed = (orgId: string, { kind, groups }: InstructionFilter) =>
    and(
      eq(instructions.org_id, orgId),
      kind === undefined ? undefined : eq(instructions.kind, kind),
      groups === null
        ? undefined
        : sql`${instructions.group_id} IN (SELECT value FROM json_each(${JSON.stringify(groups)}))`,
    );
  const ORDER = [asc(instructions.kind), asc(instructions.slug), asc(instructions.group_id)];

  /** Breaks the batch, by a null where none may be, when another version is in force than its writer has seen. */
  const demandVersion = (orgId: string, draft: InstructionDraft) => {
    const current = sql`COALESCE((SELECT version FROM instructions WHERE ${isCurrent(orgId, draft)}), 0)`;
    const expected = draft.expected_version;
    return db
      .insert(generations)
      .select(sql`SELECT NULL, 0 WHERE ${expected === null ? 0 : 1} AND ${current} <> ${expected ?? 0}`);
  };
  /** The next version is counted by the statement that writes it, so that no two writers can have the same. */
  const insertRevision = (orgId: string, draft: InstructionDraft) => {
    const { group_id, kind, slug, title, description, body, frontmatter, set_by, updated_at } = draft;
    return db
      .insert(instructionRevisions)
      .select(
        sql`SELECT ${orgId}, ${kind}, ${slug}, ${group_id}, COALESCE(MAX(version), 0) + 1, ${title}, ${description},
          ${body}, ${JSON.stringify(frontmatter)}, ${set_by}, ${updated_at}
          FROM instruction_revisions WHERE ${isRevision(orgId, draft)}`,
      )
      .returning({ version: instructionRevisions.version });
  };
  /** Puts the last revision in force. */
  const promote = (orgId: string, draft: InstructionDraft) =>
    db
      .insert(instructions)
      .select(sql`SELECT * FROM instruction_revisions WHERE ${isRevision(orgId, draft)} ORDER BY version DESC LIMIT 1`)
      .onConflictDoUpdate({
        target: [instructions.org_id, instructions.kind, instructions.slug, instructions.group_id],
        set: Object.fromEntries(VERSIONED.map((column) => [column, sql.raw(`excluded.${column}`)])),
      });
  /** Breaks the batch when the org has more documents than it may have. */
  const demandRoom = (orgId: string) =>
    db
      .insert(generations)
      .select(
        sql`SELECT NULL, 0 WHERE (SELECT COUNT(*) FROM instructions WHERE org_id = ${orgId}) > ${MAX_INSTRUCTIONS}`,
      );
  const raiseGeneration = (orgId: string) =>
    db
      .update(generations)
      .set({ value: sql`${generations.value} + 1` })
      .where(eq(generations.org_id, orgId));

  async function explain(orgId: string, drafts: readonly InstructionDraft[], cause: unknown): Promise<unknown> {
    for (const draft of drafts) {
      if (draft.expected_version === null) continue;
      const [current] = await db
        .select({ version: instructions.version })
        .from(instructions)
        .where(isCurrent(orgId, draft));
      if ((current?.version ?? 0) !== draft.expected_version) return versionConflict(cause);
    }
    const [total] = await db.select({ total: count() }).from(instructions).where(eq(instructions.org_id, orgId));
    return (total?.total ?? 0) >= MAX_INSTRUCTIONS ? roomConflict(cause) : cause;
  }

  return withOutages<InstructionStore>({
    async latest(orgId, key) {
      const [row] = await db.select().from(instructions).where(isCurrent(orgId, key));
      return row === undefined ? null : parsed(row);
    },

    async places(orgId, kind, slug) {
      const { group_id } = instructionRevisions;
      const [places, live] = await db.batch([
        db
          .selectDistinct({ group_id })
          .from(instructionRevisions)
          .where(
            and(
              eq(instructionRevisions.org_id, orgId),
              eq(instructionRevisions.kind, kind),
              eq(instructionRevisions.slug, slug),
            ),
          )
          .orderBy(asc(group_id)),
        db
          .select({ group_id: instructions.group_id })
          .from(instructions)
          .where(and(eq(instructions.org_id, orgId), eq(instructions.kind, kind), eq(instructions.slug, slug))),
      ]);
      const isLive = new Set(live.map((row) => row.group_id));
      return places.map((place) => ({ group_id: place.group_id, isLive: isLive.has(place.group_id) }));
    },

    async list(orgId, filter, { page, page_size }) {
      const where = isListed(orgId, filter);
      const { body: _, frontmatter: __, ...entry } = getTableColumns(instructions);
      const [rows, [total]] = await db.batch([
        db
          .select(entry)
          .from(instructions)
          .where(where)
          .orderBy(...ORDER)
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(instructions).where(where),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async documents(orgId, filter, offset, limit) {
      const rows = await db
        .select()
        .from(instructions)
        .where(isListed(orgId, filter))
        .orderBy(...ORDER)
        .limit(limit)
        .offset(offset);
      return rows.map(parsed);
    },

    async put(orgId, drafts) {
      try {
        const written = drafts.map((draft) => [insertRevision(orgId, draft), promote(orgId, draft)] as const);
        const results = await db.batch([
          raiseGeneration(orgId),
          ...drafts.map((draft) => demandVersion(orgId, draft)),
          ...written.flat(),
          demandRoom(orgId),
        ]);
        const first = 1 + drafts.length;
        return drafts.map((_, at) => {
          const [row] = results[first + 2 * at] as { version: number }[];
          if (row === undefined) throw new Error("an insert returned no row");
          return row.version;
        });
      } catch (cause) {
        throw await explain(orgId, drafts, cause);
      }
    },

    async history(orgId, key, { page, page_size }) {
      const where = isRevision(orgId, key);
      const { body: _, frontmatter: __, ...entry } = getTableColumns(instructionRevisions);
      const [rows, [total]] = await db.batch([
        db
          .select(entry)
          .from(instructionRevisions)
          .where(where)
          .orderBy(desc(instructionRevisions.version))
          .limit(page_size)
          .offset(page * page_size),
        db.select({ total: count() }).from(instructionRevisions).where(where),
      ]);
      return { rows, total: total?.total ?? 0 };
    },

    async revision(orgId, key, version) {
      const [row] = await db
        .select()
        .from(instructionRevisions)
        .where(and(isRevision(orgId, key), eq(instructionRevisions.version, version)));
      return row === undefined ? null : parsed(row);
    },

    async delete(orgId, key) {
      const [removed] = await db.batch([
        db.delete(instructions).where(isCurrent(orgId, key)).returning({ slug: instructions.slug }),
        db
          .update(generations)
          .set({ value: sql`${generations.value} + 1` })
          .where(and(eq(generations.org_id, orgId), sql`changes() > 0`)),
      ]);
      return removed.length > 0;
    },
  });
}

/** The columns that a version brings. */
const VERSIONED = ["version", "title", "description", "body", "frontmatter", "set_by", "updated_at"] as const;

function parsed(row: Instruction): Instruction {
  return { ...row, frontmatter: Frontmatter.parse(row.frontmatter) };
}
