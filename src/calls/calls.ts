/** The use cases of the call log. */
import { GatewayError } from "../failure/gateway-error.ts";
import { parsePage } from "../http/page.ts";
import type { Principal } from "../identity/principal.ts";
import type { CallRow } from "./call.ts";
import { type CallFilters, cursorOf, positionOf, questionOf, scopeOf, sortOf } from "./call-query.ts";
import type { CallStatsStore } from "./call-stats.store.ts";
import { statsOf } from "./call-stats.ts";
import { maySee, viewOf } from "./call-view.ts";
import type { CallSlice, CallStore } from "./calls.store.ts";
import type { CallExportQuery, CallPage, CallQuery, CallStats, CallStatsQuery, CallView } from "./calls.wire.ts";
import type { CallFormat } from "./export.ts";

export interface CallsDeps {
  readonly store: Pick<CallStore, "get" | "list">;
  readonly stats: CallStatsStore;
}

/** Calls that an export reads at a time: what it holds in memory. */
const EXPORTED_AT_ONCE = 1_000;

export type Calls = ReturnType<typeof createCalls>;

export function createCalls({ store, stats }: CallsDeps) {
  /** @throws GatewayError `not_found` */
  async function requireCall(scope: string, id: string): Promise<CallRow> {
    const row = await store.get(scope, id);
    if (row === null) throw missing();
    return row;
  }

  return {
    /**
     * The calls that the principal may see; members see their own. A page may have fewer rows than asked for before the
     * end (`CallStore.list`).
     *
     * @throws GatewayError `invalid_request` with the field, `forbidden`
     */
    async list(principal: Principal, query: CallQuery): Promise<CallPage> {
      const { page_size } = parsePage({ page_size: query.page_size });
      const { scope, filters, applied } = questionOf(principal, query);
      const sort = sortOf(query, scope);
      const after = query.cursor === undefined ? null : positionOf(query.cursor, sort);
      const { rows, next } = await store.list(scope, filters, { sort, after, limit: page_size });
      const next_cursor = next === null ? null : cursorOf(sort, next);
      return { rows: rows.map(viewOf), next_cursor, page_size, filters: applied, sort };
    },

    /** @throws GatewayError `not_found`, also for a call that is not the principal's to see */
    async get(principal: Principal, id: string, query: { org_id?: string | undefined }): Promise<CallView> {
      const row = await requireCall(scopeOf(principal, query.org_id), id);
      if (!maySee(principal, row)) throw missing();
      return viewOf(row);
    },

    /** @throws GatewayError `invalid_request` with the field, `forbidden` */
    async stats(principal: Principal, query: CallStatsQuery): Promise<CallStats> {
      const { scope, filters, applied } = questionOf(principal, query);
      return { ...statsOf(await stats.sums(scope, filters)), filters: applied };
    },

    /**
     * All calls that a list would show, in its order, as text; no more than a page of them is held in memory.
     *
     * @throws GatewayError `invalid_request` with the field, `forbidden`: before the first part is given
     */
    async *export(principal: Principal, query: CallExportQuery, format: CallFormat): AsyncGenerator<string, void> {
      const { scope, filters } = questionOf(principal, query);
      const sort = sortOf(query, scope);
      let after = null;
      let head = format.head;
      do {
        const page: Awaited<ReturnType<CallStore["list"]>> = await store.list(scope, filters, {
          ...{ sort, after },
          limit: EXPORTED_AT_ONCE,
        });
        yield head + format.text(page.rows.map(viewOf));
        head = "";
        after = page.next;
      } while (after !== null);
    },

    // For the surfaces of admins, which name the org and have filters of their own.

    /** A part of a list. `isCut`: there may be more in this part, and they are too far behind to be looked for. */
    async find(orgId: string, filters: CallFilters, { sort, limit, offset }: Omit<Required<CallSlice>, "after">) {
      const { rows, next } = await store.list(orgId, filters, { sort, after: null, limit, offset });
      return { rows: rows.map(viewOf), isCut: rows.length < limit && next !== null };
    },

    /** @throws GatewayError `not_found` */
    one: async (orgId: string, id: string): Promise<CallView> => viewOf(await requireCall(orgId, id)),

    /** @throws GatewayError `invalid_request`, field `from` (`CallStatsStore.sums`) */
    sumUp: async (orgId: string, filters: CallFilters) => statsOf(await stats.sums(orgId, filters)),

    names: stats.names,
    serversCalled: stats.serversCalled,
  };
}

function missing(): GatewayError {
  return new GatewayError("not_found", "There is no such call.");
}
