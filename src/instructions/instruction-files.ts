/** The use cases of instructions as files: import and export of many at once. The format is `instruction-file.ts`. */
import { FAILURES, type FailureDetail, GatewayError } from "../failure/gateway-error.ts";
import { MAX_BODY_BYTES } from "../http/body.ts";
import { type Caller, requireAnyWriter, requireRank } from "./caller.ts";
import type { InstructionContent, InstructionKey } from "./instruction.ts";
import { filePathOf, readFile, writeFile } from "./instruction-file.ts";
import { checkWrite } from "./instruction-write.ts";
import { filterFor, type InstructionsDeps } from "./instructions.ts";

export interface InstructionFile {
  readonly path: string;
  readonly content: string;
}

/** What fits in one import fits in one export: an answer can be sent back as it is. */
const MAX_FILES = 100;
const MAX_BYTES = MAX_BODY_BYTES - 64 * 1024;
/** Documents that are read at once: 2 MiB of bodies at most. */
const CHUNK = 8;

export function createInstructionFiles({ store, blocklists, hasGroup, onWritten, clock }: InstructionsDeps) {
  return {
    /**
     * Writes every file as the next version of its document, or none of them.
     *
     * @throws GatewayError `forbidden` for whoever may write none, before anything is read; `forbidden` or
     *   `invalid_request` with a detail for each file that is refused; `conflict` for an org that is full
     */
    async import(caller: Caller, files: readonly InstructionFile[]) {
      requireAnyWriter(caller);
      const blocklist = await blocklists.read(caller.org);
      const documents: (InstructionKey & InstructionContent)[] = [];
      const details: FailureDetail[] = [];
      const seen = new Map<string, string>();
      // Many files of one group are one question.
      const groups = new Map<string, Promise<boolean>>();
      const hasGroupOnce = (orgId: string, groupId: string) => {
        const known = groups.get(groupId) ?? hasGroup(orgId, groupId);
        groups.set(groupId, known);
        return known;
      };
      for (const { path, content } of files) {
        try {
          const document = readFile(content);
          await checkWrite({ hasGroup: hasGroupOnce }, caller, document, async () => blocklist);
          const other = seen.get(filePathOf(document));
          if (other !== undefined) throw new GatewayError("invalid_request", `${other} is the same instruction.`);
          seen.set(filePathOf(document), path);
          documents.push(document);
        } catch (thrown) {
          const { code, field, message } = GatewayError.from(thrown);
          if (FAILURES[code].status >= 500) throw thrown;
          details.push({ path, code, ...(field === undefined ? {} : { field }), message });
        }
      }
      if (details.length > 0) {
        const code = details.some((detail) => detail.code === "forbidden") ? "forbidden" : "invalid_request";
        throw new GatewayError(code, `${details.length} of ${files.length} files are refused. Nothing was written.`, {
          details,
        });
      }
      const stamp = { set_by: caller.id, updated_at: clock(), expected_version: null };
      const versions = await store.put(
        caller.org,
        documents.map((document) => ({ ...document, ...stamp })),
      );
      onWritten();
      return documents.map(({ kind, slug, group_id }, at) => ({
        path: files[at]?.path ?? "",
        ...{ kind, slug, group_id },
        version: versions[at] ?? 0,
      }));
    },

    /**
     * What somebody may see, as files, sorted by kind and slug.
     *
     * @param from How many documents to leave out: what an answer before this one has given.
     * @returns `next` is the `from` of the rest; null when this is the end.
     */
    async export(
      caller: Caller,
      filter: { kind?: string | undefined; group?: string | undefined },
      from: number,
    ): Promise<{ files: InstructionFile[]; next: number | null }> {
      requireRank(caller, "member");
      const files: InstructionFile[] = [];
      let bytes = 0;
      for (;;) {
        const at = from + files.length;
        const chunk = await store.documents(caller.org, filterFor(caller, filter), at, CHUNK);
        for (const document of chunk) {
          const file = { path: filePathOf(document), content: writeFile(document) };
          bytes += new TextEncoder().encode(JSON.stringify(file)).length + 1;
          if (files.length > 0 && (bytes > MAX_BYTES || files.length >= MAX_FILES)) {
            return { files, next: from + files.length };
          }
          files.push(file);
        }
        if (chunk.length < CHUNK) return { files, next: null };
      }
    },
  };
}
