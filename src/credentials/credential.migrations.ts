/** The schema of a `Credential` object, append only: entry N brings version N to version N + 1. */
export const credentialMigrations: readonly string[] = [
  `CREATE TABLE hot (
     one INTEGER PRIMARY KEY CHECK (one = 1),
     row TEXT NOT NULL, sealed TEXT NOT NULL, is_stored INTEGER NOT NULL, is_used INTEGER NOT NULL
   );`,
];
