import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import type { ServerView } from "../../src/registry/registry.wire.ts";
import { accepted, offline, refusal, register } from "../support/api.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

interface ServerPage {
  readonly rows: ServerView[];
  readonly total_rows: number;
  readonly page: number;
  readonly page_size: number;
  readonly filters: Record<string, unknown>;
  readonly sort: { by: string; direction: string };
}

/** A gateway with these servers and not the built-in one; ids are given, so that their order is known. */
async function startWith(...servers: Record<string, unknown>[]): Promise<TestGateway> {
  const gateway = startGateway(offline);
  await env.DB.prepare("DELETE FROM servers").run();
  for (const server of servers) await register(gateway, server);
  return gateway;
}

const list = async (gateway: TestGateway, query: string) =>
  accepted<ServerPage>(await gateway.admin("GET", `/v1/servers${query}`));
const ids = async (gateway: TestGateway, query: string) =>
  (await list(gateway, query)).rows.map(({ server_id }) => server_id);

const A = { server_id: "a", name: "Docs", timeout_ms: 5_000 };
const B = { server_id: "b", name: "alpha-docs", enabled: false, timeout_ms: 300_000 };
const C = { server_id: "c", name: "beta", timeout_ms: 5_000 };

describe("GET /v1/servers", () => {
  it("answers an empty page with what was applied [RG-3]", async () => {
    expect(await list(await startWith(), "")).toEqual({
      rows: [],
      total_rows: 0,
      page: 0,
      page_size: 25,
      filters: {},
      sort: { by: "id", direction: "asc" },
    });
  });

  it("answers rows as one server is answered [RG-3]", async () => {
    const gateway = await startWith(
      { ...A, config: { headers: { "X-A": "s3cret" } }, allowed_tools: { search: true } },
      B,
    );
    const { rows, total_rows } = await list(gateway, "");
    expect(total_rows).toBe(2);
    expect(rows).toEqual([
      await accepted(await gateway.admin("GET", "/v1/servers/a")),
      await accepted(await gateway.admin("GET", "/v1/servers/b")),
    ]);
  });

  it("floors pages, clamps their size, and takes what it cannot read for absent [RG-3]", async () => {
    const applied = [
      ["?page=-1", { page: 0, page_size: 25 }],
      ["?page_size=0", { page: 0, page_size: 1 }],
      ["?page_size=-3", { page: 0, page_size: 1 }],
      ["?page_size=201", { page: 0, page_size: 200 }],
      ["?page_size=abc", { page: 0, page_size: 25 }],
      ["?page=abc", { page: 0, page_size: 25 }],
      ["?page=&page_size=", { page: 0, page_size: 25 }],
      ["?page=1.5&page_size=2.5", { page: 0, page_size: 25 }],
      ["?page=2&page_size=1", { page: 2, page_size: 1 }],
      ["?page=7&page_size=200", { page: 7, page_size: 200 }],
    ] as const;
    const gateway = startGateway(offline);
    for (const [query, expected] of applied) {
      const { page, page_size } = await list(gateway, query);
      expect({ query, page, page_size }).toEqual({ query, ...expected });
    }
  });

  it("cuts pages that meet and do not overlap, and a page beyond the end is empty [RG-3]", async () => {
    const gateway = await startWith(A, B, C);
    expect(await ids(gateway, "?page_size=2")).toEqual(["a", "b"]);
    expect(await ids(gateway, "?page_size=2&page=1")).toEqual(["c"]);
    expect(await list(gateway, "?page_size=2&page=2")).toMatchObject({ rows: [], total_rows: 3, page: 2 });
  });

  it("filters by what is given and can be read, all of it together [RG-4]", async () => {
    const table: [query: string, filters: Record<string, unknown>, found: string[]][] = [
      ["?id=a", { id: "a" }, ["a"]],
      ["?id=A", { id: "A" }, []],
      ["?name=docs", { name: "docs" }, ["a", "b"]],
      ["?name=DOCS", { name: "DOCS" }, ["a", "b"]],
      ["?name=%20ta%20", { name: "ta" }, ["c"]],
      ["?name=missing", { name: "missing" }, []],
      ["?transport=HTT", { transport: "HTT" }, ["a", "b", "c"]],
      ["?transport=stdio", { transport: "stdio" }, []],
      ["?enabled=true", { enabled: true }, ["a", "c"]],
      ["?enabled=ON", { enabled: true }, ["a", "c"]],
      ["?enabled=0", { enabled: false }, ["b"]],
      ["?enabled=perhaps", {}, ["a", "b", "c"]],
      ["?enabled=&name=&id=%20&transport=", {}, ["a", "b", "c"]],
      ["?colour=red", {}, ["a", "b", "c"]],
      ["?enabled=true&name=docs", { enabled: true, name: "docs" }, ["a"]],
      [
        "?id=b&name=docs&transport=http&enabled=no",
        { id: "b", name: "docs", transport: "http", enabled: false },
        ["b"],
      ],
      ["?id=b&enabled=yes", { id: "b", enabled: true }, []],
    ];
    const gateway = await startWith({ ...A, enabled: true }, B, { ...C, enabled: true });
    for (const [query, filters, found] of table) {
      const { rows, total_rows, ...page } = await list(gateway, query);
      const answer = { query, filters: page.filters, found: rows.map(({ server_id }) => server_id), total_rows };
      expect(answer).toEqual({ query, filters, found, total_rows: found.length });
    }
  });

  it("takes special characters in a filter for themselves [RG-4, T-47]", async () => {
    const gateway = await startWith(A);
    for (const text of ["%", "_", "\\", "d%s", "D_cs", "'", "%25"]) {
      for (const filter of ["id", "name", "transport"]) {
        expect([filter, text, await ids(gateway, `?${filter}=${encodeURIComponent(text)}`)]).toEqual([
          filter,
          text,
          [],
        ]);
      }
    }
  });

  it("finds special characters where they are [RG-4, T-47]", async () => {
    const gateway = await startWith(A, B);
    // No name may have them; what the filter does is shown on rows that came another way.
    await env.DB.prepare("UPDATE servers SET name = 'x%_\\y', name_key = 'x%_\\y' WHERE server_id = 'b'").run();
    for (const text of ["%", "_", "\\", "%_", "x%_\\Y"]) {
      expect(await ids(gateway, `?name=${encodeURIComponent(text)}`)).toEqual(["b"]);
    }
  });

  it("finds the longest name by the whole of it [RG-4]", async () => {
    const name = "n".repeat(63);
    const gateway = await startWith({ server_id: "long", name }, A);
    expect(await ids(gateway, `?name=${name}`)).toEqual(["long"]);
    expect(await ids(gateway, `?name=${name}n`)).toEqual([]);
    expect(await ids(gateway, `?transport=${"h".repeat(100)}`)).toEqual([]);
  });

  it("sorts by what is named, ties by id, and by id when it is nothing to sort by [RG-5]", async () => {
    const table: [query: string, sort: { by: string; direction: string }, order: string[]][] = [
      ["", { by: "id", direction: "asc" }, ["a", "b", "c"]],
      ["?direction=desc", { by: "id", direction: "desc" }, ["c", "b", "a"]],
      ["?direction=DOWN", { by: "id", direction: "asc" }, ["a", "b", "c"]],
      ["?sort=name", { by: "name", direction: "asc" }, ["b", "c", "a"]],
      ["?sort=name&direction=desc", { by: "name", direction: "desc" }, ["a", "c", "b"]],
      ["?sort=transport", { by: "transport", direction: "asc" }, ["a", "b", "c"]],
      ["?sort=enabled", { by: "enabled", direction: "asc" }, ["b", "a", "c"]],
      ["?sort=timeout_ms", { by: "timeout_ms", direction: "asc" }, ["a", "c", "b"]],
      ["?sort=server_url", { by: "id", direction: "asc" }, ["a", "b", "c"]],
      ["?sort=constructor", { by: "id", direction: "asc" }, ["a", "b", "c"]],
    ];
    const gateway = await startWith({ ...A, enabled: true }, B, { ...C, enabled: true });
    for (const [query, sort, order] of table) {
      const page = await list(gateway, query);
      const answer = { query, sort: page.sort, order: page.rows.map(({ server_id }) => server_id) };
      expect(answer).toEqual({ query, sort, order });
    }
  });

  it("sorts a time-out that was not set as what it is shown as [RG-5]", async () => {
    const gateway = await startWith(A, B, { ...C, timeout_ms: null });
    const { rows } = await list(gateway, "?sort=timeout_ms");
    expect(rows.map(({ timeout_ms }) => timeout_ms)).toEqual([5_000, 15_000, 300_000]);
  });
});

describe("GET /v1/servers/:server_id", () => {
  it("is 404 for an id that is not there, or is none [RG-18]", async () => {
    const gateway = await startWith(A);
    for (const id of ["none", "%20", "a%2Fb", "%E0%A4%A", "A"]) {
      const answer = await refusal(await gateway.admin("GET", `/v1/servers/${id}`));
      expect({ id, ...answer }).toEqual({ id, status: 404, code: "not_found" });
    }
  });
});
