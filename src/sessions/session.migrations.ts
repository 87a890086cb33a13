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
  `CREATE TABLE run (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, parent_run_id TEXT, chain TEXT NOT NULL,
     org_id TEXT NOT NULL, principal_id TEXT NOT NULL, session_id TEXT, label TEXT NOT NULL, doctrine TEXT,
     budget_nano INTEGER, spent_nano INTEGER NOT NULL DEFAULT 0, reserved_nano INTEGER NOT NULL DEFAULT 0,
     calls INTEGER NOT NULL DEFAULT 0, cost_nano INTEGER NOT NULL DEFAULT 0,
     opened INTEGER NOT NULL, closed INTEGER,
     started_at INTEGER NOT NULL, active_at INTEGER NOT NULL, finished_at INTEGER,
     outcome TEXT, note TEXT, ended_by TEXT,
     version INTEGER NOT NULL DEFAULT 1, moved INTEGER NOT NULL DEFAULT 0
   );
   CREATE INDEX run_by_end ON run (closed);
   CREATE TABLE reservation (
     call_id TEXT PRIMARY KEY, run_ids TEXT NOT NULL, price_nano INTEGER NOT NULL, due_at INTEGER NOT NULL,
     is_spent INTEGER NOT NULL
   );
   CREATE TABLE counted (call_id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE belief (holder TEXT PRIMARY KEY, until INTEGER NOT NULL);`,
  `ALTER TABLE session DROP COLUMN takes_links;
   ALTER TABLE session ADD COLUMN client TEXT NOT NULL DEFAULT '{"capabilities":{}}';
   CREATE TABLE followed (server_id TEXT NOT NULL, uri TEXT NOT NULL, PRIMARY KEY (server_id, uri)) WITHOUT ROWID;`,
];
