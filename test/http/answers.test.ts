/** The form of what the native API answers: the bare object, or a page (RB-39, PS-71). */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { operations } from "../../src/app.ts";
import type { OperationSpec } from "../../src/http/operation.ts";
import { createOrg, register } from "../support/api.ts";
import { startGateway } from "../support/gateway.ts";
import { scriptedServer } from "../support/upstream.ts";

// A stream is a file, and not an answer in JSON.
const native = operations
  .map(({ spec }) => spec)
  .filter(({ surface, media }) => surface === undefined && media === undefined);
const PAGE = ["filters", "page", "page_size", "rows", "sort", "total_rows"];
const CURSOR_PAGE = ["filters", "next_cursor", "page_size", "rows", "sort"];
/** The lists that go by a cursor. */
const BY_CURSOR = ["/v1/calls", "/v1/runs"];

const nameOf = ({ method, path }: OperationSpec) => `${method} ${path}`;
const lists = native.filter(({ method, summary }) => method === "GET" && /^List /.test(summary));

/** A gateway with one of everything that there are lists of, and paths to it. */
async function startFull() {
  const gateway = startGateway(scriptedServer({ era: "modern", tools: ['{"name":"a"}', '{"name":"b"}'] }).network);
  await createOrg("acme");
  const { server_id } = await register(gateway, { enabled: true });
  await register(gateway, { name: "other" });
  const made: [string, string, unknown][] = [
    ["PUT", "/v1/orgs/default/members/ann", { role: "member" }],
    ["PUT", "/v1/orgs/default/members/bob", { role: "member" }],
    ["POST", "/v1/orgs/default/groups", { group_id: "one", name: "One" }],
    ["POST", "/v1/orgs/default/groups", { group_id: "two", name: "Two" }],
    ["PUT", "/v1/orgs/default/groups/one/members/ann", {}],
    ["POST", "/v1/virtual-keys", { name: "one" }],
    ["PUT", "/v1/instructions/rule/one", { body: "One." }],
    ["PUT", "/v1/instructions/rule/one", { body: "Two." }],
    ["PUT", "/v1/instructions/rule/two", { body: "One." }],
    ["PUT", `/v1/servers/${server_id}/contexts/default`, { context: "one" }],
    ["PUT", `/v1/servers/${server_id}/contexts/acme`, { context: "two" }],
  ];
  for (const [method, path, body] of made) expect((await gateway.admin(method, path, body)).status).toBeLessThan(300);
  await env.DB.batch([
    env.DB.prepare("UPDATE servers SET auth_type = 'oauth' WHERE server_id = ?").bind(server_id),
    env.DB.prepare("INSERT INTO tokens VALUES (?, '', '', 'tok_1', 1, NULL, NULL, 0, 0, '[]', 0, 0)").bind(server_id),
    ...["ann", "bob"].map((user) =>
      env.DB.prepare("INSERT INTO tokens VALUES (?, 'default', ?, ?, 1, NULL, NULL, 0, 0, '[]', 0, 0)").bind(
        server_id,
        user,
        `tok_${user}`,
      ),
    ),
  ]);
  const values: Record<string, string> = {
    server_id,
    org_id: "default",
    group_id: "one",
    gid: "one",
    kind: "rule",
    slug: "one",
  };
  const at = (path: string) => path.replace(/:(\w+)/g, (_, name: string) => values[name] ?? `no value for ${name}`);
  return { gateway, at };
}

describe("a native answer", () => {
  it("is never a bare array, and has no data around it [RB-39]", async () => {
    const { gateway, at } = await startFull();
    const read = native.filter(
      ({ method, path }) => method === "GET" && !/:(?!server_id|org_id|group_id|gid)/.test(path),
    );
    expect(read.length).toBeGreaterThan(10);
    for (const spec of read) {
      const answer = await gateway.admin("GET", at(spec.path));
      const body = await answer.json<Record<string, unknown>>();
      expect([nameOf(spec), answer.status, Array.isArray(body), "data" in body]).toEqual([
        nameOf(spec),
        ...[200, false, false],
      ]);
    }
    const wrapped = native.filter(
      ({ answer }) => answer.safeParse({ data: {} }).success || answer.safeParse([]).success,
    );
    expect(wrapped.map(nameOf)).toEqual([]);
  });

  it("of a list is a page, zero-based, with what was applied [RB-39]", async () => {
    const { gateway, at } = await startFull();
    expect(lists.length).toBeGreaterThan(7);
    for (const spec of lists) {
      const ask = async (query: string) =>
        (await gateway.admin("GET", `${at(spec.path)}${query}`)).json<Record<string, unknown>>();
      const first = await ask("?page_size=1");
      const byCursor = BY_CURSOR.includes(spec.path);
      expect([nameOf(spec), ...Object.keys(first).toSorted()]).toEqual([
        nameOf(spec),
        ...(byCursor ? CURSOR_PAGE : PAGE),
      ]);
      expect(first).toMatchObject({
        page_size: 1,
        filters: {},
        sort: { direction: expect.stringMatching(/^(asc|desc)$/) },
      });
      if (byCursor) continue;
      const [rows, total] = [first["rows"] as unknown[], Number(first["total_rows"])];
      expect([nameOf(spec), first["page"], rows.length]).toEqual([nameOf(spec), 0, Math.min(1, total)]);
      expect(await ask("?page=0&page_size=1")).toEqual(first);
      const second = await ask("?page=1&page_size=1");
      expect(second).toMatchObject({ page: 1, total_rows: total });
      expect([nameOf(spec), second["rows"]]).not.toEqual([nameOf(spec), rows.length === 0 ? null : rows]);
      expect(await ask("?page=99&page_size=500")).toMatchObject({
        rows: [],
        page: 99,
        page_size: 200,
        total_rows: total,
      });
    }
  });

  it("is a page wherever its rows are in one, and such an operation is called a list [RB-39]", () => {
    const pages = native.filter(({ answer }) => {
      const page = { rows: [], total_rows: 0, page: 0, page_size: 1, filters: {}, sort: { by: "a", direction: "asc" } };
      return answer.safeParse(page).success;
    });
    const byCursor = lists.filter(({ path }) => BY_CURSOR.includes(path));
    expect([...pages, ...byCursor].map(nameOf).toSorted()).toEqual(lists.map(nameOf).toSorted());
  });
});
