/** What a store asks of D1, statement by statement. */
import { env } from "cloudflare:workers";

/** A database that remembers each statement with what was bound to it. */
export function recordingDatabase() {
  const statements: { sql: string; bound: unknown[] }[] = [];
  const db = new Proxy(env.DB, {
    get(target, property) {
      if (property === "prepare") {
        return (sql: string) => {
          const statement = { sql, bound: [] as unknown[] };
          statements.push(statement);
          const prepared = target.prepare(sql);
          return new Proxy(prepared, {
            get(of, name) {
              if (name === "bind") {
                return (...bound: unknown[]) => {
                  statement.bound = bound;
                  return of.bind(...bound);
                };
              }
              const value = Reflect.get(of, name);
              return typeof value === "function" ? value.bind(of) : value;
            },
          });
        };
      }
      const value = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { db, statements };
}

/** How SQLite goes about a statement: the lines of EXPLAIN QUERY PLAN. */
export async function planOf({ sql, bound }: { readonly sql: string; readonly bound: readonly unknown[] }) {
  const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .bind(...bound)
    .all<{ detail: string }>();
  return results.map(({ detail }) => detail);
}
