/** The schema of a `Session` object, append only: entry N brings version N to version N + 1. */
export const sessionMigrations: readonly string[] = [
  `CREATE TABLE session (
     one INTEGER PRIMARY KEY CHECK (one = 1),
     principal_id TEXT NOT NULL, org_id TEXT NOT NULL, door TEXT NOT NULL, revision TEXT NOT NULL,
     seen_at INTEGER NOT NULL
   );
   CREATE TABLE upstream (
     server_id TEXT PRIMARY KEY, session_id TEXT, revision TEXT NOT NULL, target_key TEXT NOT NULL
   );
   CREATE TABLE journal (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, call_id TEXT NOT NULL UNIQUE, row TEXT NOT NULL
   );`,
  "ALTER TABLE session ADD COLUMN takes_links INTEGER NOT NULL DEFAULT 0;",
];
