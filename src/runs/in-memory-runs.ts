/** The stacks of runs in memory: to compose the built-in server by itself, and for tests (OT-26). */
import { MAX_OPEN_RUNS, type RunRow, type RunStacks, runNotOpen, tooManyRuns } from "./run.ts";

/** @returns The stacks, and every run there has been, in the order of their beginnings. Calls are not counted. */
export function inMemoryRuns(clock: () => number): RunStacks & { readonly rows: readonly RunRow[] } {
  const rows: (RunRow & { readonly stack: string })[] = [];
  const openOf = (stack: string) => rows.filter((row) => row.stack === stack && row.finished_at === null);

  return {
    rows,

    async start(place, draft) {
      const { stack, org_id, principal_id, session_id, named } = place;
      const open = openOf(stack);
      const around = named === null ? open.at(-1) : open.find(({ run_id }) => run_id === named);
      if (named !== null && around === undefined) throw runNotOpen(named);
      if (open.length >= MAX_OPEN_RUNS) throw tooManyRuns();
      const parent_run_id = around?.run_id ?? null;
      const counted = { spent_nano: 0, calls: 0, cost_nano: 0 };
      const standing = { outcome: null, note: null, started_at: clock(), finished_at: null, version: 1 };
      rows.push({ ...draft, stack, org_id, principal_id, session_id, parent_run_id, ...counted, ...standing });
      return { parent_run_id };
    },

    async finish({ stack }, runId, end) {
      const at = rows.findIndex((row) => row.stack === stack && row.run_id === runId && row.finished_at === null);
      const row = rows[at];
      if (row === undefined) return false;
      rows[at] = { ...row, ...end, finished_at: clock(), version: row.version + 1 };
      return true;
    },

    async active({ stack, named }) {
      return named ?? openOf(stack).at(-1)?.run_id ?? null;
    },
  };
}
