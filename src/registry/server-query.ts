/** Filters and order of the server list, as far as a query can be read. Pure. */
import type { ServerFilters, ServerSort } from "./registry.store.ts";
import type { ServerQuery } from "./registry.wire.ts";
import { parseEnabled } from "./server-record.ts";

/** RG-4: blank and unreadable filters are dropped. */
export function filtersOf({ id, name, transport, enabled }: ServerQuery): ServerFilters {
  const text = (value: string | undefined) => (value === undefined || value.trim() === "" ? undefined : value.trim());
  const [idText, nameText, transportText] = [text(id), text(name), text(transport)];
  const flag = text(enabled) === undefined ? undefined : readable(() => parseEnabled(enabled));
  return {
    ...(idText === undefined ? {} : { id: idText }),
    ...(nameText === undefined ? {} : { name: nameText }),
    ...(transportText === undefined ? {} : { transport: transportText }),
    ...(flag === undefined ? {} : { enabled: flag }),
  };
}

function readable<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

const SORT_FIELDS = ["id", "name", "transport", "enabled", "timeout_ms"] as const;

/** RG-5: an unknown field sorts by id, an unknown direction ascends. */
export function sortOf({ sort, direction }: ServerQuery): ServerSort {
  return {
    by: SORT_FIELDS.find((field) => field === sort) ?? "id",
    direction: direction === "desc" ? "desc" : "asc",
  };
}
