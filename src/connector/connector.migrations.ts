/** The schema of a `Connector` object, append only: entry N brings version N to version N + 1. */
export const connectorMigrations: readonly string[] = [
  `CREATE TABLE plan (
     one INTEGER PRIMARY KEY CHECK (one = 1),
     failures INTEGER NOT NULL, health_at INTEGER, discovery_at INTEGER
   );`,
  "CREATE TABLE own (origin TEXT PRIMARY KEY);",
];
