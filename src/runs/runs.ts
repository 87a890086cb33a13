/** The use cases of runs on the JSON API: what has been done in them, and at what cost. */
import { GatewayError } from "../failure/gateway-error.ts";
import { parsePage } from "../http/page.ts";
import { isOrgAdmin, type Principal } from "../identity/principal.ts";
import { type Clock, isoTime } from "../platform/clock.ts";
import { scopeOf } from "../registry/reach.ts";
import { NANO } from "../registry/tool-policy.ts";
import type { RunRow } from "./run.ts";
import type { RunFilters, RunPosition, RunStore } from "./runs.store.ts";
import { Cursor, type RunPage, type RunQuery, type RunView } from "./runs.wire.ts";

export function createRuns({ store, clock }: { readonly store: RunStore; readonly clock: Clock }) {
  /** Admins of the platform see the runs of every org, unless they name one. */
  function scopeFor(principal: Principal, namedOrg: string | null): string {
    return namedOrg === null ? scopeOf(principal) : principal.org;
  }

  return {
    /**
     * Runs of the principal's org, newest first; members see their own.
     *
     * @throws GatewayError `invalid_request`, field `cursor`
     */
    async list(principal: Principal, query: RunQuery, namedOrg: string | null): Promise<RunPage> {
      const { page_size } = parsePage({ page_size: query.page_size });
      const { cursor } = query;
      const asked = filtersOf(query);
      const after = cursor === undefined ? null : positionOf(cursor);
      // A member who asks for somebody else's is shown none.
      const isForeign = !isOrgAdmin(principal) && asked.user_id !== undefined && asked.user_id !== principal.id;
      const own = isOrgAdmin(principal) ? {} : { user_id: principal.id };
      // One more than is shown tells whether there is a next page.
      const found = isForeign
        ? []
        : await store.list(scopeFor(principal, namedOrg), { ...asked, ...own }, after, page_size + 1);
      const rows = found.slice(0, page_size);
      const last = rows.at(-1);
      const now = clock();
      return {
        rows: rows.map((row) => viewOf(row, now)),
        next_cursor: found.length > page_size && last !== undefined ? cursorOf(last) : null,
        page_size,
        filters: shownFilters(asked),
        sort: { by: "started_at", direction: "desc" },
      };
    },

    /** @throws GatewayError `not_found`, for a member also when the run is somebody else's */
    async get(principal: Principal, runId: string, namedOrg: string | null): Promise<RunView> {
      const found = await store.get(scopeFor(principal, namedOrg), runId);
      if (found === null || (!isOrgAdmin(principal) && found.principal_id !== principal.id)) {
        throw new GatewayError("not_found", "There is no such run.");
      }
      return viewOf(found, clock());
    },
  };
}

function filtersOf({ open, outcome, user_id, from, to }: RunQuery): RunFilters {
  return {
    ...(open === undefined ? {} : { open: open === "true" }),
    ...(outcome === undefined ? {} : { outcome }),
    ...(user_id === undefined ? {} : { user_id }),
    ...(from === undefined ? {} : { from: Date.parse(from) }),
    ...(to === undefined ? {} : { to: Date.parse(to) }),
  };
}

function shownFilters({ from, to, ...filters }: RunFilters): Record<string, unknown> {
  return {
    ...filters,
    ...(from === undefined ? {} : { from: isoTime(from) }),
    ...(to === undefined ? {} : { to: isoTime(to) }),
  };
}

function cursorOf({ started_at, run_id }: RunRow): string {
  return btoa(JSON.stringify([started_at, run_id]));
}

/** A cursor decides nothing but where a page of what may be seen begins, so it is parsed and not authenticated. */
function positionOf(cursor: string): RunPosition {
  try {
    const [started_at, run_id] = Cursor.parse(JSON.parse(atob(cursor)));
    return { started_at, run_id };
  } catch (cause) {
    throw new GatewayError("invalid_request", "cursor is not one that this list gave.", { field: "cursor", cause });
  }
}

function viewOf(row: RunRow, now: number): RunView {
  const { run_id, org_id, session_id, label, doctrine, parent_run_id, outcome, note, calls } = row;
  const { started_at, finished_at, budget_nano } = row;
  return {
    ...{ run_id, org_id, user_id: row.principal_id, session_id, label, doctrine, parent_run_id },
    status: finished_at === null ? "open" : "finished",
    ...{ outcome, note, calls },
    cost_usd: row.cost_nano / NANO,
    spent_usd: row.spent_nano / NANO,
    budget_usd: budget_nano === null ? null : budget_nano / NANO,
    started_at: isoTime(started_at),
    finished_at: finished_at === null ? null : isoTime(finished_at),
    duration_ms: Math.max(0, (finished_at ?? now) - started_at),
  };
}
