/** A call log of any size, made by the database itself: a quarter of a year of an org, and a tenth of it of another. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./build.ts";
import type { Database } from "./database.ts";

/** The days that the log is about. */
export const DAYS = 90;
/** Its last instant. */
export const UNTIL = Date.UTC(2026, 8, 1);
const FROM = UNTIL - DAYS * 86_400_000;

export const SERVERS = 20;
export const TOOLS_PER_SERVER = 10;
export const KEYS = 100;
export const USERS = 50;

/** Rows of one statement: its transaction is held in memory. */
const AT_ONCE = 100_000;

/** @param count How many calls. */
export async function seedCalls(database: Database, count: number): Promise<void> {
  await database.run([
    { sql: "INSERT OR IGNORE INTO orgs (org_id, name, created) VALUES ('acme', 'Acme', 0)" },
    { sql: "INSERT OR IGNORE INTO generations (org_id, value) VALUES ('acme', 0)" },
  ]);
  for (let from = 0; from < count; from += AT_ONCE) {
    const step = Math.floor((UNTIL - FROM) / count);
    await database.run([{ sql: insertCalls(from, Math.min(count, from + AT_ONCE), step) }]);
  }
  for (const sql of sumsStatements()) await database.run([{ sql }]);
}

/** Some of everything is used much more than the rest; a third of the calls are of users, one in twenty fails. */
function insertCalls(from: number, to: number, stepMs: number): string {
  const share = (salt: number) => `(((i * 7919 + i / 13 * ${salt}) % 1000003) / 1000003.0)`;
  return `INSERT INTO tool_calls (id, created_at, org_id, server, server_id, tool, exposed_name, door, sub, virtual_key_id,
      session_id, run_id, args, ok, outcome, error, duration_ms, upstream_ms, attempts, definition_hash, cost_nano)
    WITH RECURSIVE numbers (i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM numbers WHERE i < ${to - 1}),
      picks AS MATERIALIZED (SELECT i, CAST(pow(${share(104_729)}, 2) * ${SERVERS} AS INTEGER) AS server,
        CAST(pow(${share(224_737)}, 2) * ${TOOLS_PER_SERVER} AS INTEGER) AS tool,
        CAST(pow(${share(350_377)}, 3) * ${KEYS} AS INTEGER) AS key, CAST(${share(479_909)} * ${USERS} AS INTEGER) AS user,
        i % 3 = 0 AS is_user, i % 20 = 7 AS has_failed, CAST(exp(2 + 6 * ${share(611_953)}) AS INTEGER) AS took
        FROM numbers)
    SELECT printf('call_%026d', i), ${FROM} + i * ${stepMs}, iif(i % 10 = 9, 'acme', 'default'), 'server-' || server,
      printf('srv_%026d', server), 'tool_' || server || '_' || tool, 'server-' || server || '__tool', '/mcp',
      iif(is_user, 'user-' || user, NULL), iif(is_user, NULL, printf('key_%026d', key)),
      iif(i % 2, 'ses_' || (i / 200), NULL), iif(i % 5 = 0, printf('run_%028d', i / 1000), NULL),
      '{"query":"what the agent of call ' || i || ' was looking for","limit":25,"filter":"{\\"kind\\":\\"page\\"}"}',
      NOT has_failed, iif(has_failed, 'tool_error', 'ok'), iif(has_failed, 'tool returned an error', NULL),
      took, took - 2, 1, printf('%064x', i % 200), iif(has_failed, 0, 1000000 * (tool + 1))
    FROM picks`;
}

/** The statements of the migration that count the calls that were there before it. */
function sumsStatements(): string[] {
  const folder = join(ROOT, "migrations");
  const files = readdirSync(folder).filter((file) => file.endsWith(".sql"));
  const found = files
    .flatMap((file) => readFileSync(join(folder, file), "utf8").split("--> statement-breakpoint"))
    .filter((sql) => sql.trim().startsWith("INSERT INTO `call_sums`"));
  if (found.length === 0) throw new Error("no migration counts the calls that are there");
  return found;
}
