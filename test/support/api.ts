/** The JSON API as an admin's program uses it, and what the gateway has stored. */
import { env } from "cloudflare:workers";
import { expect } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import type { TestGateway } from "./gateway.ts";

/** A network on which nothing is reachable. */
export const offline = (): Promise<Response> => Promise.reject(new Error("connection refused"));

/** Registers a server, by default one that is off, so that nothing is contacted. */
export async function register(gateway: TestGateway, fields: Record<string, unknown> = {}): Promise<ServerView> {
  const body = { name: "docs", server_url: "https://docs.example/mcp", enabled: false, ...fields };
  return accepted(await gateway.admin("POST", "/v1/servers", body), 201);
}

/** The body of an answer that must have succeeded. */
export async function accepted<T>(response: Response, status = 200): Promise<T> {
  const body = await response.json<T>();
  expect({ status: response.status, body }).toEqual({ status, body });
  return body;
}

interface Refusal {
  readonly code: string;
  readonly field?: string;
}

/** What a program may rely on in a refusal: status and code, and the field when one is to blame. */
export async function refusal(response: Response): Promise<{ status: number; code: string; field?: string }> {
  const body = await response.json<Refusal & { extra_fields?: Refusal }>();
  // On the Bifrost surface both stand one level deeper.
  const { code, field } = body.extra_fields ?? body;
  return { status: response.status, code, ...(field === undefined ? {} : { field }) };
}

/** Every row of every table. Equal before and after a request, it shows that the request has stored nothing. */
export async function stored(): Promise<Record<string, Record<string, unknown>[]>> {
  const { results: tables } = await env.DB.prepare(
    `SELECT name FROM sqlite_master WHERE type = 'table'
      AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name <> 'd1_migrations'`,
  ).all<{ name: string }>();
  const rows = await env.DB.batch<Record<string, unknown>>(
    tables.map(({ name }) => env.DB.prepare(`SELECT * FROM "${name}" ORDER BY 1, 2`)),
  );
  return Object.fromEntries(tables.map(({ name }, at) => [name, rows[at]?.results ?? []]));
}

/** The one column of the one row that a query finds. */
export async function storedValue<T>(query: string, ...parameters: unknown[]): Promise<T | null> {
  const row = await env.DB.prepare(query)
    .bind(...parameters)
    .first<Record<string, T>>();
  return row === null ? null : (Object.values(row)[0] ?? null);
}

/** How often a write has raised the generation of the registry (`*`) or of an org. */
export async function generationOf(orgId = "*"): Promise<number> {
  return (await storedValue<number>("SELECT value FROM generations WHERE org_id = ?", orgId)) ?? -1;
}

/** A second org beside `default`. */
export async function createOrg(orgId: string): Promise<void> {
  await env.DB.batch([
    env.DB.prepare("INSERT INTO orgs (org_id, name, created) VALUES (?1, ?1, 0)").bind(orgId),
    env.DB.prepare("INSERT INTO generations (org_id, value) VALUES (?, 0)").bind(orgId),
  ]);
}
