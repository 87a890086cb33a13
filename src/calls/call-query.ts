/** What is asked of the call log: which calls, in which order, from where on. Pure. */
import { GatewayError } from "../failure/gateway-error.ts";
import { isOrgAdmin, type Principal } from "../identity/principal.ts";
import { isoTime } from "../platform/clock.ts";
import { EVERY_ORG } from "../registry/reach.ts";
import { type CallPage, type CallQuery, type CallStatsQuery, Cursor, type Outcome } from "./calls.wire.ts";

/** All of it must apply to a call; of a list, one of its members. */
export interface CallFilters {
  readonly server_id?: readonly string[];
  readonly tool?: readonly string[];
  readonly virtual_key_id?: readonly string[];
  /** Of one user. */
  readonly sub?: string;
  readonly run_id?: string;
  readonly session_id?: string;
  readonly ok?: boolean;
  readonly outcome?: Outcome;
  readonly reason?: string;
  /** Milliseconds since the Unix epoch. */
  readonly from?: number;
  /** The first instant behind the range. */
  readonly to?: number;
  readonly min_duration_ms?: number;
  readonly max_duration_ms?: number;
  /** A part of the tool, the error or the arguments; ASCII letters ignore case. */
  readonly text?: string;
}

export type CallSort = CallPage["sort"];

/** A row in an order: what the rows are ordered by, in nano-dollars for costs, and its id where that is equal. */
export interface CallPosition {
  readonly value: number;
  readonly id: string;
}

/** Calls of one org, or of `EVERY_ORG`. */
export interface CallQuestion {
  readonly scope: string;
  readonly filters: CallFilters;
  /** The filters in the words of the question. */
  readonly applied: Record<string, unknown>;
}

/**
 * The calls that somebody asks for and may see: members their own, org admins those of the org, admins of the platform
 * those of any org they name, or of all.
 *
 * @throws GatewayError `forbidden` or `invalid_request`, field `org_id`
 */
export function questionOf(principal: Principal, query: CallStatsQuery): CallQuestion {
  const { ok, from, to, min_duration_ms, max_duration_ms, text, outcome, reason, run_id, session_id } = query;
  const scope = scopeOf(principal, query.org_id);
  const own = isOrgAdmin(principal) ? query.user_id : principal.id;
  const [fromAt, toAt] = [from, to].map((time) => (time === undefined ? undefined : Date.parse(time)));
  const [minMs, maxMs] = [min_duration_ms, max_duration_ms].map((ms) => (ms === undefined ? undefined : Number(ms)));
  const isOk = ok === undefined ? undefined : ok === "true";
  const shared = {
    ok: isOk,
    outcome,
    reason,
    run_id,
    session_id,
    min_duration_ms: minMs,
    max_duration_ms: maxMs,
    text,
  };
  const filters = given({
    ...shared,
    server_id: listOf(query.server_id),
    tool: listOf(query.tool),
    virtual_key_id: listOf(query.virtual_key_id),
    sub: own,
    from: fromAt,
    to: toAt,
  });
  const { org_id, server_id, tool, virtual_key_id, user_id } = query;
  const times = { from: shown(fromAt), to: shown(toAt) };
  const applied = given({ org_id, server_id, tool, virtual_key_id, user_id, ...shared, ...times });
  // Somebody else's calls are not a member's to see.
  if (own !== query.user_id && query.user_id !== undefined)
    return { scope, filters: { ...filters, ...NO_CALLS }, applied };
  return { scope, filters, applied };
}

/** No call lies in it. */
export const NO_CALLS = { from: 0, to: 0 } satisfies CallFilters;

/** @throws GatewayError `forbidden` or `invalid_request`, field `org_id` */
export function scopeOf({ org, isPlatformAdmin }: Principal, asked: string | undefined): string {
  if (asked === undefined) return org;
  if (asked !== EVERY_ORG) {
    const message = "org_id is * for all orgs, or left out: an org is named by X-Org-Id.";
    throw new GatewayError("invalid_request", message, { field: "org_id" });
  }
  if (isPlatformAdmin) return EVERY_ORG;
  throw new GatewayError("forbidden", "The calls of all orgs are for admins of the platform.", { field: "org_id" });
}

/** @throws GatewayError `invalid_request`, field `sort`: the calls of all orgs have one order only. */
export function sortOf({ sort = "created_at", direction = "desc" }: Partial<CallQuery>, scope: string): CallSort {
  if (scope !== EVERY_ORG || sort === "created_at") return { by: sort, direction };
  throw new GatewayError("invalid_request", "sort is created_at where org_id is *.", { field: "sort" });
}

export function cursorOf({ by, direction }: CallSort, { value, id }: CallPosition): string {
  return btoa(JSON.stringify([by, direction, value, id]));
}

/**
 * A cursor decides nothing but where a page of what the caller may see begins, so it is parsed and not authenticated.
 *
 * @throws GatewayError `invalid_request`, field `cursor`
 */
export function positionOf(cursor: string, sort: CallSort): CallPosition {
  const refusal = (message: string, cause?: unknown) =>
    new GatewayError("invalid_request", message, { field: "cursor", cause });
  let parts: readonly [by: string, direction: string, value: number, id: string];
  try {
    parts = Cursor.parse(JSON.parse(atob(cursor)));
  } catch (cause) {
    throw refusal("cursor is not one that this list gave.", cause);
  }
  const [by, direction, value, id] = parts;
  if (by !== sort.by || direction !== sort.direction) throw refusal("cursor belongs to another order.");
  return { value, id };
}

/** Only the fields that have a value. */
export function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function listOf(value: string | undefined): readonly string[] | undefined {
  return value === undefined ? undefined : [value];
}

function shown(at: number | undefined): string | undefined {
  return at === undefined ? undefined : isoTime(at);
}
