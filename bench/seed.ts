/**
 * Registered servers, written straight into D1 as a discovery would have left them. Their `Connector` objects do not
 * exist, so that no alarm looks at them.
 */
import { createHash } from "node:crypto";
import type { Database, Statement } from "./database.ts";
import { definitionsOf } from "./definitions.ts";
import type { Tool } from "./tools.ts";

/** A parameter takes two megabytes at most. */
const SERVERS_PER_STATEMENT = 50;

/** @param serverUrl Where the first of them, `bench`, is. The others are where nobody answers, and nobody asks. */
export async function seedServers(database: Database, count: number, serverUrl: string): Promise<void> {
  for (let from = 0; from < count; from += SERVERS_PER_STATEMENT) {
    const length = Math.min(SERVERS_PER_STATEMENT, count - from);
    const seeded = Array.from({ length }, (_, at) => ({ id: serverId(from + at), ...definitionsOf(from + at) }));
    const servers = seeded.map(({ id, server }) => {
      return { id, name: server, url: server === "bench" ? serverUrl : `https://${server}.example.com/mcp` };
    });
    const tools = seeded.flatMap(({ id, tools }) => tools.map((tool) => toolRow(id, tool)));
    await database.run([statement(INSERT_SERVERS, servers), statement(INSERT_TOOLS, tools)]);
  }
}

function serverId(index: number): string {
  return `srv_${String(index).padStart(26, "0")}`;
}

function toolRow(id: string, tool: Tool) {
  const definition = JSON.stringify(tool);
  return { id, tool: tool.name, definition, hash: createHash("sha256").update(definition).digest("hex") };
}

function statement(sql: string, rows: readonly object[]): Statement {
  return { sql, params: [JSON.stringify(rows)] };
}

const SEEDED_AT = Date.UTC(2026, 8, 1);

const INSERT_SERVERS = `INSERT INTO servers (server_id, name, name_key, display_name, connection_type, server_url,
    enabled, auth_type, tool_mode, allow_on_all_virtual_keys, status, state, era, created, created_by, modified,
    modified_by)
  SELECT value ->> 'id', value ->> 'name', value ->> 'name', value ->> 'name', 'http', value ->> 'url',
    1, 'none', 'list', 1, 'active', 'connected', 'modern', ${SEEDED_AT}, 'bench', ${SEEDED_AT}, 'bench'
  FROM json_each(?)`;

const INSERT_TOOLS = `INSERT INTO server_tools (server_id, tool, known, is_new, allowed, definition, definition_hash,
    approved_definition, approved_hash, first_seen, last_seen)
  SELECT value ->> 'id', value ->> 'tool', 1, 0, 1, value ->> 'definition', value ->> 'hash',
    value ->> 'definition', value ->> 'hash', ${SEEDED_AT}, ${SEEDED_AT}
  FROM json_each(?)`;
