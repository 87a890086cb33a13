/** Where two definitions differ, for an admin who decides between them. Pure. */

/** One field that differs; a side that does not have it is left out. */
export interface FieldDiff {
  /** The path, members and indexes joined by dots: `inputSchema.properties.q.type`. */
  readonly field: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** Differences that are listed one by one; a definition with more is another definition altogether. */
const MAX_DIFFS = 1_000;

/** @param before JSON text of the definition in force. @param after That of the proposed one. */
export function diffDefinitions(before: string, after: string): FieldDiff[] {
  const diffs: FieldDiff[] = [];
  compare("", JSON.parse(before), JSON.parse(after), diffs);
  return diffs.slice(0, MAX_DIFFS);
}

function compare(field: string, before: unknown, after: unknown, diffs: FieldDiff[]): void {
  if (Object.is(before, after) || diffs.length >= MAX_DIFFS) return;
  if (!isTree(before) || !isTree(after) || Array.isArray(before) !== Array.isArray(after)) {
    diffs.push({
      field,
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    });
    return;
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    compare(field === "" ? key : `${field}.${key}`, own(before, key), own(after, key), diffs);
  }
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function own(value: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}
