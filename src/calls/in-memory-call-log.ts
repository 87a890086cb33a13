/** The call log in memory, as far as it is written: to compose what logs by itself, and for tests (OT-26). */
import type { CallRow } from "./call.ts";
import type { CallStore } from "./calls.store.ts";

/** @returns What takes rows as `CallStore` does, and the rows it has taken, in that order. */
export function inMemoryCallLog(): Pick<CallStore, "append"> & { readonly rows: readonly CallRow[] } {
  const rows: CallRow[] = [];
  return {
    rows,
    async append(text) {
      const given: CallRow[] = JSON.parse(text);
      for (const row of given) if (!rows.some(({ id }) => id === row.id)) rows.push(row);
    },
  };
}
