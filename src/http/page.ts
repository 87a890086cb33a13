import * as z from "zod";
import type { PageQuery } from "./page.wire.ts";

/** The part of a list that was asked for, as applied (RG-3). */
export interface PageRequest {
  /** Zero-based. */
  readonly page: number;
  readonly page_size: number;
}

const DEFAULT_PAGE_SIZE = 25;
const MAX_PAGE_SIZE = 200;

/** RG-3: unreadable numbers count as absent, others are clamped; a list never refuses its paging. */
export function parsePage(query: PageQuery): PageRequest {
  return {
    page: Math.max(0, integerOf(query.page) ?? 0),
    page_size: Math.min(MAX_PAGE_SIZE, Math.max(1, integerOf(query.page_size) ?? DEFAULT_PAGE_SIZE)),
  };
}

function integerOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*-?\d{1,9}\s*$/.test(text) ? Number(text) : undefined;
}

/** The body of a native list (PS-71). */
export function pageOf<T extends z.ZodType>(row: T) {
  return z.strictObject({
    rows: z.array(row),
    total_rows: z.int(),
    page: z.int(),
    page_size: z.int(),
    filters: z.record(z.string(), z.unknown()),
    sort: z.strictObject({ by: z.string(), direction: z.enum(["asc", "desc"]) }),
  });
}

export interface Page<T> extends PageRequest {
  readonly rows: T[];
  readonly total_rows: number;
  readonly filters: Record<string, unknown>;
  readonly sort: { by: string; direction: "asc" | "desc" };
}
