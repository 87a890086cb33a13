/**
 * Secrets that may be seen nowhere: whatever the scripted authorization server makes has a form of its own, and every
 * answer, stored row and log line of every test is searched for it (RB-17, T-1).
 */
import { env } from "cloudflare:workers";
import { expect } from "vitest";

/** Tokens, client secrets and codes of `authorization-server.ts`, as they are or in base64 with a name before them. */
const SECRET = /\b(access|refresh|secret|code)-\d+-[0-9a-f]{8}-[0-9a-f]{4}-/;

const logged: string[] = [];
let isPlanted = false;

/** Called by whoever makes such a secret. */
export function planted(): void {
  isPlanted = true;
}

/** Listens to the log of the whole test file. */
export function watchLog(): void {
  for (const level of ["log", "info", "warn", "error"] as const) {
    const write = console[level];
    console[level] = (...values: unknown[]) => {
      logged.push(values.map(String).join(" "));
      write(...values);
    };
  }
}

export function expectNoSecret(text: string, where: string): void {
  expect(SECRET.exec(text)?.[0] ?? null, `a secret in ${where}`).toBeNull();
}

/** An answer of the gateway; streams are their test's to read. */
export async function expectSecretless(method: string, path: string, response: Response): Promise<void> {
  if (!isPlanted) return;
  const headers = [...response.headers].filter(([name]) => name !== "location").map(([, value]) => value);
  expectNoSecret(headers.join("\n"), `headers of ${method} ${path}`);
  const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream") ?? false;
  if (!isStream) expectNoSecret(await response.clone().text(), `the answer to ${method} ${path}`);
}

/** What a test has left in the database, in KV and in the log. */
export async function expectNothingLeft(): Promise<void> {
  const lines = logged.splice(0);
  if (!isPlanted) return;
  isPlanted = false;
  for (const line of lines) expectNoSecret(line, `the log: ${line.slice(0, 80)}`);
  const tables = await env.DB.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all<{ name: string }>();
  const named = tables.results.filter(({ name }) => !/^(_cf|sqlite|d1)_/.test(name));
  const contents = await env.DB.batch(named.map(({ name }) => env.DB.prepare(`SELECT * FROM "${name}"`)));
  contents.forEach(({ results }, at) => void expectNoSecret(JSON.stringify(results), `table ${named[at]?.name}`));
  for (const { name } of (await env.TOKENS.list()).keys) expectNoSecret((await env.TOKENS.get(name)) ?? "", "KV");
}
