/**
 * A client in the benchmark's own process, for what the load generator does not do: GET, lists of several pages, and
 * requests that are made once.
 */
import { Connection, requestHead, requestText } from "./connection.ts";
import { type Figures, quantile } from "./figures.ts";
import { type Exchange, listRequest, NUMBER, type Spoken } from "./wire.ts";

export interface Visitor {
  /** @returns The body. */
  get(path: string): Promise<string>;
  post(path: string, request: Spoken): Promise<string>;
  /** @throws Error when the answer is not a right one. */
  expect(path: string, exchange: Exchange): Promise<void>;
  close(): void;
}

/** @param headers Those that name the client. */
export function createVisitor(port: number, headers: Readonly<Record<string, string>>): Visitor {
  let connection = new Connection(port);
  const send = (text: string) => {
    if (connection.isClosed) connection = new Connection(port);
    return connection.send(text);
  };
  const post = (path: string, { headers: own, body }: Spoken) =>
    send(requestText(requestHead("POST", path, { ...own, ...headers }), body.replaceAll(NUMBER, "0")));
  return {
    get: (path) => send(requestText(requestHead("GET", path, headers), "")),
    post,
    expect: async (path, exchange) => {
      const text = await post(path, exchange);
      const expected = exchange.expects.replaceAll(NUMBER, "0");
      if (!text.includes(expected)) throw new Error(`an answer lacks ${expected}: ${text.slice(0, 300)}`);
    },
    close: () => connection.close(),
  };
}

/** Reads a tool list to its end. @param onPage Is given the text of every answer. */
export async function walkTools(visitor: Visitor, path: string, onPage?: (text: string) => void): Promise<void> {
  let cursor: string | undefined;
  do {
    const text = await visitor.post(path, listRequest("modern", cursor));
    onPage?.(text);
    // It follows the tools; to read them would measure the client.
    const at = text.lastIndexOf(CURSOR);
    cursor = at === -1 ? undefined : text.slice(at + CURSOR.length, text.indexOf('"', at + CURSOR.length));
  } while (cursor !== undefined);
}

const CURSOR = '"nextCursor":"';

/** Reads the admin list to its end. @returns How many servers it has. */
export async function walkServers(visitor: Visitor, pageSize: number): Promise<number> {
  for (let page = 0; ; page++) {
    const total = await readServers(visitor, page, pageSize);
    if ((page + 1) * pageSize >= total) return total;
  }
}

/** Reads one page of the admin list. @returns How many servers the whole list has. */
export async function readServers(visitor: Visitor, page: number, pageSize: number): Promise<number> {
  const text = await visitor.get(`/v1/servers?page=${page}&page_size=${pageSize}`);
  const total = /"total_rows":(\d+)/.exec(text)?.[1];
  if (total === undefined) throw new Error(`the list of servers has no total: ${text.slice(0, 300)}`);
  return Number(total);
}

/** Does something again and again, but at least twice. */
export async function repeat(forMs: number, work: () => Promise<unknown>): Promise<Figures> {
  const took: number[] = [];
  const startedAt = performance.now();
  while (took.length < 2 || performance.now() - startedAt < forMs) took.push(await timed(work));
  took.sort((a, b) => a - b);
  const perSecond = (1_000 * took.length) / took.reduce((total, ms) => total + ms, 0);
  return { p50Ms: quantile(took, 0.5), p95Ms: quantile(took, 0.95), perSecond };
}

/** @returns Milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
