/**
 * The use cases of instructions: versioned documents that agents are served (OT-6 to OT-14). It knows no tool and no
 * route. Roles are those of the caller that is given; for the built-in tools that is `withinOrg(principal)` (OT-20).
 */
import { GatewayError } from "../failure/gateway-error.ts";
import { type Page, type PageRequest, parsePage } from "../http/page.ts";
import type { PageQuery } from "../http/page.wire.ts";
import type { Clock } from "../platform/clock.ts";
import type { BlocklistStore } from "./blocklists.ts";
import { type Caller, requireRank, requireWriter, visibleGroups } from "./caller.ts";
import {
  type Instruction,
  type InstructionContent,
  type InstructionDraft,
  type InstructionEntry,
  type InstructionKey,
  MAX_INSTRUCTIONS,
} from "./instruction.ts";
import { checkWrite, type WriteDeps } from "./instruction-write.ts";
import { diffLines, type Hunk } from "./line-diff.ts";

/** Documents and their revisions, of one org at a time; `d1InstructionStore`, or `inMemoryInstructions` (OT-13). */
export interface InstructionStore {
  /** The version in force. */
  latest(orgId: string, key: InstructionKey): Promise<Instruction | null>;
  /** The groups that have a document of this name, or have had one; sorted, the org itself (`""`) first. */
  places(orgId: string, kind: string, slug: string): Promise<{ group_id: string; isLive: boolean }[]>;
  /** The versions in force, sorted by kind, slug and group. */
  list(
    orgId: string,
    filter: InstructionFilter,
    page: PageRequest,
  ): Promise<{ rows: InstructionEntry[]; total: number }>;
  /** The same whole, from one on. */
  documents(orgId: string, filter: InstructionFilter, offset: number, limit: number): Promise<Instruction[]>;
  /**
   * Writes documents together or not at all, each as its next version.
   *
   * @returns The versions, in the order of the drafts.
   * @throws GatewayError `conflict` for another version than a draft expects, and for an org that is full
   */
  put(orgId: string, drafts: readonly InstructionDraft[]): Promise<number[]>;
  /** Every version there has been, the latest first. */
  history(orgId: string, key: InstructionKey, page: PageRequest): Promise<{ rows: InstructionEntry[]; total: number }>;
  revision(orgId: string, key: InstructionKey, version: number): Promise<Instruction | null>;
  /** Ends what is in force; its revisions stay. @returns Whether there was one. */
  delete(orgId: string, key: InstructionKey): Promise<boolean>;
}

export interface InstructionFilter {
  readonly kind?: string;
  /** Empty for the org's own; null for those of the org and of all its groups. */
  readonly groups: readonly string[] | null;
}

export interface InstructionsDeps extends WriteDeps {
  readonly store: InstructionStore;
  readonly blocklists: Pick<BlocklistStore, "read">;
  /** What follows a committed write. */
  readonly onWritten: () => void;
  readonly clock: Clock;
}

/** A document as it is asked for. */
export interface Named {
  readonly kind: string;
  readonly slug: string;
  /** Empty: the org's own. Left out: for reading wherever it is, for writing the org's own. */
  readonly group?: string | undefined;
}

export interface Given {
  readonly body: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly frontmatter?: Readonly<Record<string, string>> | undefined;
  readonly expected_version?: number | undefined;
}

export interface InstructionDiff extends InstructionKey {
  readonly from: number;
  readonly to: number;
  /** Null where a version does not have the field. */
  readonly changes: readonly {
    readonly field: string;
    readonly before: string | null;
    readonly after: string | null;
  }[];
  readonly hunks: readonly Hunk[];
}

/** A page as long as any list can be. */
const EVERYTHING: PageRequest = { page: 0, page_size: MAX_INSTRUCTIONS };
const SORT = { by: "kind", direction: "asc" } as const;

export function createInstructions({ store, blocklists, hasGroup, onWritten, clock }: InstructionsDeps) {
  /**
   * Finds the one document that is meant: the org's own before those of groups, and one in force before one that was.
   *
   * @throws GatewayError `forbidden`; `not_found`; `invalid_request`, field `group`, when several groups have it
   */
  async function locate(caller: Caller, named: Named, isLiveOnly: boolean): Promise<InstructionKey> {
    requireRank(caller, "member");
    const { kind, slug, group } = named;
    const visible = visibleGroups(caller);
    const found = (await store.places(caller.org, kind, slug)).filter(
      ({ group_id, isLive }) =>
        (isLive || !isLiveOnly) &&
        (group === undefined || group_id === group) &&
        (group_id === "" || visible === null || visible.includes(group_id)),
    );
    const live = found.filter(({ isLive }) => isLive);
    const candidates = live.length > 0 ? live : found;
    const [first, ...others] = candidates;
    if (first === undefined) throw notFound(named);
    if (first.group_id !== "" && others.length > 0) {
      const names = candidates.map(({ group_id }) => group_id).join(", ");
      const text = `several groups have the instruction ${kind}/${slug}; name one in group: ${names}`;
      throw new GatewayError("invalid_request", text, { field: "group" });
    }
    return { group_id: first.group_id, kind, slug };
  }

  async function write(caller: Caller, named: Named, given: Given): Promise<Instruction> {
    const key = keyOf(named);
    const { body, title = "", description = "", frontmatter = {}, expected_version = null } = given;
    const content: InstructionContent = { title, description, body, frontmatter };
    await checkWrite({ hasGroup }, caller, { ...key, ...content }, () => blocklists.read(caller.org));
    const stamp = { set_by: caller.id, updated_at: clock() };
    const [version] = await store.put(caller.org, [{ ...key, ...content, ...stamp, expected_version }]);
    if (version === undefined) throw new Error("a write returned no version");
    onWritten();
    return { org_id: caller.org, ...key, ...content, version, ...stamp };
  }

  /** @throws GatewayError `not_found` */
  async function revisionOf(org: string, key: InstructionKey, version: number): Promise<Instruction> {
    const found = Number.isSafeInteger(version) ? await store.revision(org, key, version) : null;
    if (found === null) throw new GatewayError("not_found", `revision not found: ${key.kind}/${key.slug}`);
    return found;
  }

  return {
    /** What there is for somebody, sorted by kind and slug: an index without bodies (OT-8). */
    async index(caller: Caller, filter: { kind?: string | undefined; group?: string | undefined } = {}) {
      requireRank(caller, "member");
      return (await store.list(caller.org, filterFor(caller, filter), EVERYTHING)).rows;
    },

    /** The same as a page. */
    async list(
      caller: Caller,
      query: PageQuery & { kind?: string | undefined; group?: string | undefined },
    ): Promise<Page<InstructionEntry>> {
      requireRank(caller, "member");
      const page = parsePage(query);
      const { kind, group } = query;
      const { rows, total } = await store.list(caller.org, filterFor(caller, query), page);
      const filters = { ...(kind === undefined ? {} : { kind }), ...(group === undefined ? {} : { group }) };
      return { rows, total_rows: total, ...page, filters, sort: SORT };
    },

    /** The version in force (OT-9). @throws GatewayError as `locate` */
    async get(caller: Caller, named: Named): Promise<Instruction> {
      const found = await store.latest(caller.org, await locate(caller, named, true));
      if (found === null) throw notFound(named);
      return found;
    },

    /**
     * Writes the next version (OT-10 to OT-12).
     *
     * @throws GatewayError `forbidden`, then `invalid_request` with the argument; `conflict` for an `expected_version`
     *   that is not the one in force, and for an org that is full
     */
    set: write,

    /** Ends a document; its revisions stay, and its versions go on. @throws GatewayError `forbidden`, `not_found` */
    async remove(caller: Caller, named: Named): Promise<void> {
      const key = keyOf(named);
      requireWriter(caller, key.group_id);
      if (!(await store.delete(caller.org, key))) throw notFound(named);
      onWritten();
    },

    /** Every version, the latest first; of a deleted document too. @throws GatewayError as `locate` */
    async revisions(caller: Caller, named: Named, query: PageQuery): Promise<Page<InstructionEntry>> {
      const key = await locate(caller, named, false);
      const page = parsePage(query);
      const { rows, total } = await store.history(caller.org, key, page);
      return { rows, total_rows: total, ...page, filters: {}, sort: { by: "version", direction: "desc" } };
    },

    /** One version. @throws GatewayError as `locate` */
    async revision(caller: Caller, named: Named, version: number): Promise<Instruction> {
      return revisionOf(caller.org, await locate(caller, named, false), version);
    },

    /**
     * Writes a version again, as the next one. The blocklist as it is decides, not that of then.
     *
     * @throws GatewayError as `set`; `not_found`
     */
    async restore(
      caller: Caller,
      named: Named,
      { version, expected_version }: { version: number; expected_version?: number | undefined },
    ): Promise<Instruction> {
      const key = keyOf(named);
      requireWriter(caller, key.group_id);
      const { title, description, body, frontmatter } = await revisionOf(caller.org, key, version);
      return write(caller, named, { title, description, body, frontmatter, expected_version });
    },

    /**
     * What differs between two versions.
     *
     * @param between Without `to` the latest version, without `from` the one before it.
     * @throws GatewayError as `locate`
     */
    async diff(
      caller: Caller,
      named: Named,
      between: { from?: number | undefined; to?: number | undefined },
    ): Promise<InstructionDiff> {
      const key = await locate(caller, named, false);
      const { total: last } = await store.history(caller.org, key, { page: 0, page_size: 1 });
      const { to = last } = between;
      const { from = Math.max(1, to - 1) } = between;
      const [before, after] = await Promise.all([revisionOf(caller.org, key, from), revisionOf(caller.org, key, to)]);
      const changes = changedFields(before, after);
      return { ...key, from, to, changes, hunks: diffLines(before.body, after.body) };
    },
  };
}

/** What somebody may see of what a filter asks for. */
export function filterFor(
  caller: Caller,
  { kind, group }: { kind?: string | undefined; group?: string | undefined },
): InstructionFilter {
  const visible = visibleGroups(caller);
  const all = visible === null ? null : ["", ...visible];
  const groups = group === undefined ? all : all === null || all.includes(group) ? [group] : [];
  return { ...(kind === undefined ? {} : { kind }), groups };
}

function keyOf({ kind, slug, group = "" }: Named): InstructionKey {
  return { group_id: group, kind, slug };
}

function notFound({ kind, slug }: Named): GatewayError {
  return new GatewayError("not_found", `instruction not found: ${kind}/${slug}`);
}

function changedFields(before: InstructionContent, after: InstructionContent): InstructionDiff["changes"] {
  const [old, young] = [before, after].map(({ title, description, frontmatter }) => {
    const more = Object.entries(frontmatter).map(([name, value]) => [`frontmatter.${name}`, value] as const);
    return new Map<string, string>([["title", title], ["description", description], ...more]);
  });
  const fields = new Set([...(old?.keys() ?? []), ...(young?.keys() ?? [])]);
  return [...fields]
    .map((field) => ({ field, before: old?.get(field) ?? null, after: young?.get(field) ?? null }))
    .filter((change) => change.before !== change.after);
}
