/**
 * Brings the SQLite schema of a Durable Object up to this build, in its constructor.
 *
 * @param migrations Append only; entry N brings version N to version N + 1.
 * @throws Error when the stored schema is newer than the build: an old build must not touch it.
 */
export function migrateObject(storage: DurableObjectStorage, migrations: readonly string[]): void {
  const { sql } = storage;
  sql.exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)");
  const [stored] = sql.exec<{ version: number }>("SELECT version FROM schema_version").toArray();
  const version = stored?.version ?? 0;
  if (version > migrations.length) throw new Error(`schema ${version} is newer than this build`);
  if (version === migrations.length && stored !== undefined) return;
  storage.transactionSync(() => {
    for (const migration of migrations.slice(version)) sql.exec(migration);
    sql.exec("DELETE FROM schema_version");
    sql.exec("INSERT INTO schema_version VALUES (?)", migrations.length);
  });
}
