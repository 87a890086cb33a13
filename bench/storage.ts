/**
 * D1 and KV for a bare workerd, which brings the bindings but not the services behind them. Miniflare has both, but it
 * puts a Worker of its own into the path of every outgoing request.
 *
 * `Database` answers the HTTP that the D1 binding speaks, at `/query` and `/execute`, and tells at `/usage` what that
 * has cost. What else comes is for KV, which forgets everything: no measured request reads it.
 */

/** Sums over all statements since the database woke: the rows are those of D1's `meta`, which it bills. */
export interface Usage {
  readonly statements: number;
  readonly rows_read: number;
  readonly rows_written: number;
  /** Length of what was answered. */
  readonly answered: number;
}

type Value = string | number | null | ArrayBuffer;

/** The part of `DurableObjectState` in use; the Worker types do not fit beside those of Node. */
interface State {
  readonly storage: {
    readonly sql: {
      readonly databaseSize: number;
      exec(
        sql: string,
        ...params: unknown[]
      ): {
        readonly columnNames: string[];
        readonly rowsRead: number;
        readonly rowsWritten: number;
        raw(): Iterable<Value[]>;
      };
    };
    transactionSync<T>(work: () => T): T;
  };
}

interface Query {
  readonly sql: string;
  readonly params?: readonly (Value | number[])[] | null;
}

interface Environment {
  readonly DATABASE: {
    idFromName(name: string): unknown;
    get(id: unknown): { fetch(request: Request): Promise<Response> };
  };
}

/** One D1 database. A request holds one query, or several that succeed or fail together. */
export class Database {
  readonly #storage: State["storage"];
  #usage: Usage = { statements: 0, rows_read: 0, rows_written: 0, answered: 0 };

  constructor(state: State) {
    this.#storage = state.storage;
  }

  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/usage") return Response.json(this.#usage);
    const format = searchParams.get("resultsFormat");
    const queries: Query | Query[] = await request.json();
    try {
      const answers = this.#storage.transactionSync(() =>
        [queries].flat().map((query) => this.#answer(query, format === "ROWS_AND_COLUMNS")),
      );
      const text = JSON.stringify(answers);
      this.#usage = { ...this.#usage, answered: this.#usage.answered + text.length };
      return new Response(text, { headers: { "Content-Type": "application/json" } });
    } catch (thrown) {
      return Response.json({ success: false, error: thrown instanceof Error ? thrown.message : String(thrown) });
    }
  }

  #answer({ sql, params }: Query, asColumns: boolean): object {
    const before = this.#counters();
    // The binding sends bytes as an array of numbers.
    const values = (params ?? []).map((value) => (Array.isArray(value) ? new Uint8Array(value) : value));
    const cursor = this.#storage.sql.exec(sql, ...values);
    const rows = [...cursor.raw()].map((row) =>
      row.map((value) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value)),
    );
    const columns = cursor.columnNames;
    const after = this.#counters();
    const { rowsRead: rows_read, rowsWritten: rows_written } = cursor;
    this.#usage = {
      ...this.#usage,
      statements: this.#usage.statements + 1,
      rows_read: this.#usage.rows_read + rows_read,
      rows_written: this.#usage.rows_written + rows_written,
    };
    return {
      success: true,
      results: asColumns
        ? { columns, rows }
        : rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]]))),
      meta: {
        served_by: "bench",
        duration: 0,
        changes: after.changes - before.changes,
        last_row_id: after.lastRowId,
        changed_db: after.changes !== before.changes,
        size_after: this.#storage.sql.databaseSize,
        rows_read,
        rows_written,
      },
    };
  }

  #counters(): { changes: number; lastRowId: number } {
    const [row] = this.#storage.sql.exec("SELECT total_changes(), last_insert_rowid()").raw();
    return { changes: Number(row?.[0]), lastRowId: Number(row?.[1]) };
  }
}

const DATABASE_PATHS = ["/query", "/execute", "/usage"];

export default {
  async fetch(request: Request, { DATABASE }: Environment): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (request.method === "POST" && DATABASE_PATHS.includes(pathname)) {
      return DATABASE.get(DATABASE.idFromName("bench")).fetch(request);
    }
    return new Response(null, { status: request.method === "GET" ? 404 : 200 });
  },
};
