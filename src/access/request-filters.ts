/** What a request itself leaves out of what its principal may use (BF-52). It only ever narrows. Pure. */
import { sha256Hex } from "../platform/hash.ts";

export interface RequestFilters {
  /** Names of clients, as Bifrost calls servers, in lower case. Null: of every client. */
  readonly clients: ReadonlySet<string> | null;
  /** What the tools header names: see `toolKeys`. Null: every tool. */
  readonly tools: ReadonlySet<string> | null;
  /** Names what they leave over: requests with equal views are shown the same of what their principals may see. */
  readonly view: string;
}

/** A server and a tool by the names that filters know them by. */
interface FilteredServer {
  readonly name: string;
  readonly display_name: string;
}
interface FilteredTool {
  readonly name: string;
  readonly exposed_name: string;
}

export const NO_FILTERS: RequestFilters = { clients: null, tools: null, view: "" };

const ALL = "*";
/** No name of a client is longer: 128 characters, each of two units at most (RB-5). */
const MAX_CLIENT_LENGTH = 256;

/** The filters of a request, from its headers. A header that is there and names nothing leaves nothing over. */
export function filtersOf(headers: Headers): RequestFilters {
  const clients = entriesOf(headers.get("x-bf-mcp-include-clients"));
  const tools = entriesOf(headers.get("x-bf-mcp-include-tools"));
  if (clients === null && tools === null) return NO_FILTERS;
  const names = clients?.map((name) => name.toLowerCase()).toSorted() ?? null;
  return {
    clients: names === null ? null : new Set(names),
    tools: tools === null ? null : new Set(tools.flatMap(toolKeys)),
    view: sha256Hex(JSON.stringify([names, tools?.toSorted() ?? null])),
  };
}

/** Whether the filters leave a tool over. */
export function filtersPass(filters: RequestFilters, server: FilteredServer, tool: FilteredTool): boolean {
  const { tools } = filters;
  if (!passesClient(filters, server)) return false;
  if (tools === null || tools.has(ALL) || tools.has(tool.exposed_name)) return true;
  return namesOf(server).some((client) => tools.has(keyOf(client, tool.name)) || tools.has(keyOf(client, ALL)));
}

/**
 * Whether they leave anything of a server over.
 *
 * @param known Its tools, as far as anybody has seen them; they may be named without their server.
 */
export function filtersPassServer(
  filters: RequestFilters,
  server: FilteredServer,
  known: Iterable<FilteredTool>,
): boolean {
  const { tools } = filters;
  if (!passesClient(filters, server)) return false;
  if (tools === null || tools.has(ALL)) return true;
  const clients = namesOf(server).map((client) => keyOf(client, ""));
  if ([...tools].some((key) => clients.some((client) => key.startsWith(client)))) return true;
  return [...known].some(({ exposed_name }) => tools.has(exposed_name));
}

function passesClient({ clients }: RequestFilters, server: FilteredServer): boolean {
  return clients === null || clients.has(ALL) || namesOf(server).some((client) => clients.has(client));
}

function namesOf({ name, display_name }: FilteredServer): string[] {
  return [name.toLowerCase(), display_name.toLowerCase()];
}

/** The entries of a list; null for a header that is not there. */
function entriesOf(header: string | null): string[] | null {
  if (header === null) return null;
  const entries = header.split(",").map((entry) => entry.trim());
  return [...new Set(entries)].filter((entry) => entry !== "");
}

/**
 * What an entry may mean: an exposed name as it is, and `client-tool` for every hyphen that may be the one between
 * them, because names of clients and of tools have hyphens of their own; `<name>__<tool>` splits at the first place
 * only, as slugs have no underscore. Looked up, so that a long header does not cost its length for every tool.
 */
function toolKeys(entry: string): string[] {
  const keys = [entry];
  for (let at = entry.indexOf("-"); at !== -1 && at <= MAX_CLIENT_LENGTH; at = entry.indexOf("-", at + 1)) {
    keys.push(keyOf(entry.slice(0, at).toLowerCase(), entry.slice(at + 1)));
  }
  const at = entry.indexOf("__");
  if (at !== -1) keys.push(keyOf(entry.slice(0, at).toLowerCase(), entry.slice(at + 2)));
  return keys;
}

/** No header holds a line break, so that no entry looks like a key. */
function keyOf(client: string, tool: string): string {
  return `${client}\n${tool}`;
}
