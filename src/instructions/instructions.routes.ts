import * as z from "zod";
import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { isoTime } from "../platform/clock.ts";
import type { Instruction, InstructionEntry } from "./instruction.ts";
import {
  BlocklistView,
  DiffQuery,
  DiffView,
  EntryView,
  ExportQuery,
  ExportView,
  GroupQuery,
  ImportInput,
  ImportView,
  InstructionInput,
  InstructionView,
  ListQuery,
  RestoreInput,
  RevisionsQuery,
} from "./instructions.wire.ts";

const Deleted = z.strictObject({ deleted: z.literal(true) });
const ALL = "/v1/instructions";
const ONE = `${ALL}/:kind/:slug`;

export const instructionOperations = [
  operation(
    {
      method: "GET",
      path: ALL,
      needs: "member",
      summary: "List the instructions of the org and of one's groups",
      query: ListQuery,
      status: 200,
      answer: pageOf(EntryView),
    },
    async ({ services, principal, query }) => {
      const page = await services.instructions.list(principal, query);
      return { ...page, rows: page.rows.map(entryOf) };
    },
  ),
  operation(
    {
      method: "GET",
      path: `${ALL}/blocklist`,
      needs: "org_admin",
      summary: "Read which names the org forbids in its instructions",
      status: 200,
      answer: BlocklistView,
    },
    async ({ services, principal }) => {
      const { terms, forbid_attribution } = await services.blocklists.get(principal);
      return { terms: [...terms], forbid_attribution };
    },
  ),
  operation(
    {
      method: "PUT",
      path: `${ALL}/blocklist`,
      needs: "org_admin",
      summary: "Replace the names that the org forbids in its instructions",
      body: BlocklistView,
      status: 200,
      answer: BlocklistView,
    },
    async ({ services, principal, body }) => {
      const { terms, forbid_attribution } = await services.blocklists.set(principal, body);
      return { terms: [...terms], forbid_attribution };
    },
  ),
  operation(
    {
      method: "POST",
      path: `${ALL}/import`,
      needs: "member",
      summary: "Write many instructions from Markdown files, or none of them; for those who may write each",
      body: ImportInput,
      status: 200,
      answer: ImportView,
      failures: ["conflict"],
    },
    async ({ services, principal, body }) => {
      const files = await services.instructionFiles.import(principal, body.files);
      return { files: files.map(({ group_id, ...file }) => ({ ...file, group: groupOf(group_id) })) };
    },
  ),
  operation(
    {
      id: "export_instructions",
      method: "GET",
      path: `${ALL}/export`,
      needs: "member",
      summary: "Read instructions as Markdown files, as many as one import takes",
      query: ExportQuery,
      status: 200,
      answer: ExportView,
    },
    ({ services, principal, query }) =>
      services.instructionFiles.export(principal, query, query.from === undefined ? 0 : Number(query.from)),
  ),
  operation(
    {
      method: "GET",
      path: ONE,
      needs: "member",
      summary: "Read an instruction",
      query: GroupQuery,
      status: 200,
      answer: InstructionView,
    },
    async ({ services, principal, param, query }) =>
      viewOf(await services.instructions.get(principal, { ...nameIn(param), ...query })),
  ),
  operation(
    {
      method: "PUT",
      path: ONE,
      needs: "member",
      summary: "Write the next version of an instruction; for admins of the org, or of the group",
      query: GroupQuery,
      body: InstructionInput,
      status: 200,
      answer: InstructionView,
      failures: ["conflict"],
    },
    async ({ services, principal, param, query, body }) =>
      viewOf(await services.instructions.set(principal, { ...nameIn(param), ...query }, body)),
  ),
  operation(
    {
      method: "DELETE",
      path: ONE,
      needs: "member",
      summary: "Delete an instruction and keep its revisions; for admins of the org, or of the group",
      query: GroupQuery,
      status: 200,
      answer: Deleted,
    },
    async ({ services, principal, param, query }) => {
      await services.instructions.remove(principal, { ...nameIn(param), ...query });
      return { deleted: true as const };
    },
  ),
  operation(
    {
      method: "GET",
      path: `${ONE}/revisions`,
      needs: "member",
      summary: "List the versions of an instruction, the latest first",
      query: RevisionsQuery,
      status: 200,
      answer: pageOf(EntryView),
    },
    async ({ services, principal, param, query }) => {
      const { group } = query;
      const page = await services.instructions.revisions(principal, { ...nameIn(param), group }, query);
      return { ...page, rows: page.rows.map(entryOf) };
    },
  ),
  operation(
    {
      method: "GET",
      path: `${ONE}/revisions/:version`,
      needs: "member",
      summary: "Read one version of an instruction",
      query: GroupQuery,
      status: 200,
      answer: InstructionView,
    },
    async ({ services, principal, param, query }) => {
      const version = Number(param("version"));
      return viewOf(await services.instructions.revision(principal, { ...nameIn(param), ...query }, version));
    },
  ),
  operation(
    {
      method: "POST",
      path: `${ONE}/restore`,
      needs: "member",
      summary: "Write an earlier version again, as the next one; for admins of the org, or of the group",
      query: GroupQuery,
      body: RestoreInput,
      status: 200,
      answer: InstructionView,
      failures: ["conflict"],
    },
    async ({ services, principal, param, query, body }) =>
      viewOf(await services.instructions.restore(principal, { ...nameIn(param), ...query }, body)),
  ),
  operation(
    {
      method: "GET",
      path: `${ONE}/diff`,
      needs: "member",
      summary: "Compare two versions of an instruction, by default the last two",
      query: DiffQuery,
      status: 200,
      answer: DiffView,
    },
    async ({ services, principal, param, query: { group, from, to } }) => {
      const between = { from: numberOf(from), to: numberOf(to) };
      const named = { ...nameIn(param), group };
      const { group_id, changes, hunks, ...diff } = await services.instructions.diff(principal, named, between);
      return {
        ...diff,
        group: groupOf(group_id),
        changes: [...changes],
        hunks: hunks.map((hunk) => ({ ...hunk, removed: [...hunk.removed], added: [...hunk.added] })),
      };
    },
  ),
];

function nameIn(param: (name: string) => string) {
  return { kind: param("kind"), slug: param("slug") };
}

function numberOf(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}

function groupOf(groupId: string): string | null {
  return groupId === "" ? null : groupId;
}

function entryOf(entry: InstructionEntry): z.infer<typeof EntryView> {
  const { kind, slug, group_id, title, description, version, set_by, updated_at } = entry;
  return { kind, slug, group: groupOf(group_id), title, description, version, set_by, updated_at: isoTime(updated_at) };
}

function viewOf(instruction: Instruction): z.infer<typeof InstructionView> {
  return { ...entryOf(instruction), body: instruction.body, frontmatter: { ...instruction.frontmatter } };
}
