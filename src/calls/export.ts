/** Calls as text for other programs: a line of JSON for each, or a row of a spreadsheet. Pure. */
import { CallView } from "./calls.wire.ts";

export interface CallFormat {
  readonly mediaType: string;
  readonly extension: string;
  /** What comes before the first call. */
  readonly head: string;
  readonly text: (calls: readonly CallView[]) => string;
}

const COLUMNS = Object.keys(CallView.shape) as (keyof CallView)[];

export const ndjson: CallFormat = {
  mediaType: "application/x-ndjson",
  extension: "ndjson",
  head: "",
  text: (calls) => calls.map((call) => `${JSON.stringify(CallView.parse(call))}\n`).join(""),
};

/** RFC 4180, with a header. */
export const csv: CallFormat = {
  mediaType: "text/csv; charset=utf-8",
  extension: "csv",
  head: `${COLUMNS.join(",")}\r\n`,
  text: (calls) => calls.map((call) => `${COLUMNS.map((name) => cellOf(call[name])).join(",")}\r\n`).join(""),
};

function cellOf(value: CallView[keyof CallView]): string {
  if (value === null) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const text = harmless(typeof value === "string" ? value : JSON.stringify(value));
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Spreadsheets take a text that begins so for a formula. What agents and servers have named stays a text. */
function harmless(text: string): string {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}
