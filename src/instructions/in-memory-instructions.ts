/**
 * Everything that instructions need from outside, in memory: to compose them by themselves, and for tests (OT-13,
 * OT-25, OT-26). Each behaves as its form in D1 does, and lasts as long as the value.
 */
import type { Standing } from "../identity/principal.ts";
import { type BlocklistStore, DEFAULT_BLOCKLIST } from "./blocklists.ts";
import type { RoleStore } from "./caller.ts";
import {
  type Instruction,
  type InstructionEntry,
  type InstructionKey,
  MAX_INSTRUCTIONS,
  roomConflict,
  versionConflict,
} from "./instruction.ts";
import type { InstructionFilter, InstructionStore } from "./instructions.ts";
import type { Blocklist } from "./zero-names.ts";

export function inMemoryInstructions(): InstructionStore {
  /** Every version there has been, the earliest first. */
  const revisions = new Map<string, Instruction[]>();
  /** What is in force. */
  const current = new Map<string, Instruction>();
  const at = (orgId: string, { group_id, kind, slug }: InstructionKey) => JSON.stringify([orgId, group_id, kind, slug]);
  const listed = (orgId: string, { kind, groups }: InstructionFilter) =>
    [...current.values()]
      .filter((document) => document.org_id === orgId && (kind === undefined || document.kind === kind))
      .filter(({ group_id }) => groups === null || groups.includes(group_id))
      .toSorted((a, b) => compare(a.kind, b.kind) || compare(a.slug, b.slug) || compare(a.group_id, b.group_id));

  return {
    latest: async (orgId, key) => current.get(at(orgId, key)) ?? null,

    places: async (orgId, kind, slug) =>
      [...revisions]
        .flatMap(([key, [first]]) =>
          first?.org_id === orgId && first.kind === kind && first.slug === slug
            ? [{ group_id: first.group_id, isLive: current.has(key) }]
            : [],
        )
        .toSorted((a, b) => compare(a.group_id, b.group_id)),

    async list(orgId, filter, { page, page_size }) {
      const all = listed(orgId, filter);
      return { rows: all.slice(page * page_size, (page + 1) * page_size).map(entryOf), total: all.length };
    },

    documents: async (orgId, filter, offset, limit) => listed(orgId, filter).slice(offset, offset + limit),

    // Nothing is awaited between reading and writing, so that no other write comes in between.
    async put(orgId, drafts) {
      for (const draft of drafts) {
        const { expected_version } = draft;
        const { version = 0 } = current.get(at(orgId, draft)) ?? {};
        if (expected_version !== null && expected_version !== version) throw versionConflict();
      }
      const added = new Set(drafts.map((draft) => at(orgId, draft)).filter((key) => !current.has(key)));
      if (listed(orgId, { groups: null }).length + added.size > MAX_INSTRUCTIONS) throw roomConflict();
      return drafts.map(({ expected_version: _, ...draft }) => {
        const key = at(orgId, draft);
        const before = revisions.get(key) ?? [];
        const written: Instruction = { ...draft, org_id: orgId, version: before.length + 1 };
        revisions.set(key, [...before, written]);
        current.set(key, written);
        return written.version;
      });
    },

    async history(orgId, key, { page, page_size }) {
      const all = (revisions.get(at(orgId, key)) ?? []).toReversed();
      return { rows: all.slice(page * page_size, (page + 1) * page_size).map(entryOf), total: all.length };
    },

    revision: async (orgId, key, version) => revisions.get(at(orgId, key))?.[version - 1] ?? null,

    delete: async (orgId, key) => current.delete(at(orgId, key)),
  };
}

/** @param initial By org. */
export function inMemoryBlocklists(initial: Readonly<Record<string, Blocklist>> = {}): BlocklistStore {
  const blocklists = new Map(Object.entries(initial));
  return {
    read: async (orgId) => blocklists.get(orgId) ?? DEFAULT_BLOCKLIST,
    async write(orgId, blocklist) {
      blocklists.set(orgId, blocklist);
    },
  };
}

/** @param members By org and user; `groups` says of each group of a user whether they administer it. */
export function inMemoryRoles(
  members: Readonly<
    Record<string, Readonly<Record<string, { role: Standing["role"]; groups?: Readonly<Record<string, boolean>> }>>>
  >,
): RoleStore {
  const byOrg = new Map(Object.entries(members).map(([org, users]) => [org, new Map(Object.entries(users))]));
  return {
    async standing(orgId, userId) {
      const { role = null, groups = {} } = byOrg.get(orgId)?.get(userId) ?? {};
      return { role, groups: new Map(Object.entries(groups)) };
    },
  };
}

function entryOf({ body: _, frontmatter: __, ...entry }: Instruction): InstructionEntry {
  return entry;
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
