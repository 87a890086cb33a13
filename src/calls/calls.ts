/** The use cases of the call log. */
import { GatewayError } from "../failure/gateway-error.ts";
import { parsePage } from "../http/page.ts";
import { isOrgAdmin, type Principal } from "../identity/principal.ts";
import { isoTime } from "../platform/clock.ts";
import { NANO } from "../registry/tool-policy.ts";
import type { CallRow } from "./call.ts";
import type { CallFilters, CallPosition, CallStore } from "./calls.store.ts";
import { type CallPage, type CallQuery, type CallView, Cursor } from "./calls.wire.ts";

export function createCalls({ store }: { store: CallStore }) {
  return {
    /**
     * The calls of the principal's org, newest first; members see their own.
     *
     * @throws GatewayError `invalid_request`, field `cursor`
     */
    async list(principal: Principal, query: CallQuery): Promise<CallPage> {
      const { page_size } = parsePage({ page_size: query.page_size });
      const filters = filtersOf(query);
      const after = query.cursor === undefined ? null : positionOf(query.cursor);
      // One more than is shown tells whether there is a next page.
      const own = isOrgAdmin(principal) ? {} : { sub: principal.id };
      const found = await store.list(principal.org, { ...filters, ...own }, after, page_size + 1);
      const rows = found.slice(0, page_size);
      const last = rows.at(-1);
      return {
        rows: rows.map(viewOf),
        next_cursor: found.length > page_size && last !== undefined ? cursorOf(last) : null,
        page_size,
        filters: { ...filters },
        sort: { by: "created_at", direction: "desc" },
      };
    },
  };
}

function filtersOf({ server_id, tool, virtual_key_id, ok }: CallQuery): CallFilters {
  return {
    ...(server_id === undefined ? {} : { server_id }),
    ...(tool === undefined ? {} : { tool }),
    ...(virtual_key_id === undefined ? {} : { virtual_key_id }),
    ...(ok === undefined ? {} : { ok: ok === "true" }),
  };
}

function cursorOf({ created_at, id }: CallRow): string {
  return btoa(JSON.stringify([created_at, id]));
}

/** A cursor decides nothing but where a page of the caller's own org begins, so it is parsed and not authenticated. */
function positionOf(cursor: string): CallPosition {
  try {
    const [created_at, id] = Cursor.parse(JSON.parse(atob(cursor)));
    return { created_at, id };
  } catch (cause) {
    throw new GatewayError("invalid_request", "cursor is not one that this list gave.", { field: "cursor", cause });
  }
}

function viewOf({ org_id: _, args, created_at, cost_nano, ...row }: CallRow): CallView {
  return {
    ...row,
    cost_usd: cost_nano / NANO,
    created_at: isoTime(created_at),
    args: args === null ? null : JSON.parse(args),
  };
}
