/** The call log as Bifrost's tooling reads it: `/api/mcp-logs`, over the same calls. */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { createMcpLogs } from "../../src/bifrost/mcp-logs.ts";
import type { McpLog, McpLogList, McpLogStats } from "../../src/bifrost/mcp-logs.wire.ts";
import { d1CallStatsStore } from "../../src/calls/call-stats.store.ts";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { createCalls } from "../../src/calls/calls.ts";
import { accepted, createOrg, offline } from "../support/api.ts";
import { expectBifrost } from "../support/bifrost.ts";
import { addCalls, callRow, NOON, refusedRow, someCalls } from "../support/calls.ts";
import { startGateway } from "../support/gateway.ts";
import { startWithUsers } from "../support/users.ts";

const LOGS = "/api/mcp-logs";

/** What Bifrost's own API document says of an entry; all of it may be left out there. */
const Documented = z
  .strictObject({
    ...{ id: z.string(), llm_request_id: z.string(), timestamp: z.iso.datetime(), created_at: z.iso.datetime() },
    ...{ tool_name: z.string(), server_label: z.string(), virtual_key_id: z.string(), virtual_key_name: z.string() },
    ...{ arguments: z.looseObject({}), result: z.looseObject({}), error_details: z.looseObject({}) },
    ...{ latency: z.number(), cost: z.number(), status: z.enum(["processing", "success", "error"]) },
    ...{ metadata: z.looseObject({}), virtual_key: z.looseObject({}) },
  })
  .partial();
const get = (query = "", headers = {}) => startGateway(offline).admin("GET", `${LOGS}${query}`, undefined, headers);
const list = async (query = "", headers = {}) => {
  const answer = await accepted<McpLogList>(await get(query, headers));
  for (const log of answer.logs) expect(Documented.safeParse(log).error).toBeUndefined();
  return answer;
};
const ids = async (query: string) => (await list(query)).logs.map(({ id }) => id);
const iso = (at: number) => new Date(at).toISOString();

describe("GET /api/mcp-logs", () => {
  it("answers an empty list", async () => {
    expect(await list()).toEqual({
      logs: [],
      pagination: { limit: 50, offset: 0, sort_by: "timestamp", order: "desc", total_count: 0 },
      stats: { total_executions: 0, success_rate: 0, average_latency: 0, total_cost: 0 },
      has_logs: false,
    });
  });

  it("answers calls in Bifrost's form, with the statistics of all that match", async () => {
    await addCalls(
      callRow("a", { args: '{"q":"x"}', cost_nano: 500_000_000, run_id: "run_1", duration_ms: 10 }),
      refusedRow("b", { created_at: NOON + 1, server: null, server_id: null, virtual_key_id: null, duration_ms: 20 }),
    );
    const answer = await list("?limit=1&offset=1");
    expect(answer).toEqual({
      logs: [
        {
          id: "a",
          timestamp: iso(NOON),
          tool_name: "search",
          server_label: "docs",
          virtual_key_id: "key_1",
          arguments: { q: "x" },
          latency: 10,
          cost: 0.5,
          status: "success",
          metadata: { outcome: "ok", run_id: "run_1", server_id: "srv_docs", door: "/mcp" },
          created_at: iso(NOON),
        },
      ],
      pagination: { limit: 1, offset: 1, sort_by: "timestamp", order: "desc", total_count: 2 },
      stats: { total_executions: 2, success_rate: 50, average_latency: 15, total_cost: 0.5 },
      has_logs: true,
    });
    const [failed] = (await list("?limit=1")).logs;
    expect(failed).toMatchObject({
      ...{ id: "b", status: "error", server_label: "", arguments: {}, cost: 0 },
      error_details: {
        is_bifrost_error: false,
        error: { type: "refused", message: "the tool is unknown or not allowed" },
      },
    });
    expect(failed).not.toHaveProperty("virtual_key_id");
  });

  it.each([
    ["?tool_names=search", ["c", "a"]],
    ["?tool_names=search,erase", ["c", "b", "a"]],
    ["?server_labels=docs", ["c", "a"]],
    ["?server_labels=docs,%20other", ["c", "b", "a"]],
    ["?server_labels=nothing", []],
    ["?status=success", ["b", "a"]],
    ["?status=error", ["c"]],
    ["?status=error,success", ["c", "b", "a"]],
    ["?status=processing", []],
    ["?status=processing,error", ["c"]],
    ["?virtual_key_ids=key_2", ["b"]],
    ["?virtual_key_ids=key_1,key_2", ["c", "b", "a"]],
    ["?llm_request_ids=req_1", []],
    [`?start_time=${iso(NOON + 1)}`, ["c", "b"]],
    [`?end_time=${iso(NOON + 1)}`, ["a"]],
    ["?min_latency=19.5", ["c", "b"]],
    ["?max_latency=20.5", ["b", "a"]],
    ["?content_search=NEEDLE", ["b"]],
    ["?tool_names=&status=&limit=&offset=&content_search=&sort_by=", ["c", "b", "a"]],
    ["?colour=red", ["c", "b", "a"]],
    ["?sort_by=latency&order=asc", ["a", "b", "c"]],
    ["?sort_by=cost", ["b", "a", "c"]],
    ["?limit=2", ["c", "b"]],
    ["?limit=2&offset=2", ["a"]],
    ["?offset=9", []],
  ])("narrows and orders by %s, and counts the same", async (query, found) => {
    await addCalls(
      callRow("a", { duration_ms: 10, cost_nano: 1 }),
      callRow("b", {
        ...{ created_at: NOON + 1, tool: "erase", server: "other", server_id: "srv_2", virtual_key_id: "key_2" },
        ...{ duration_ms: 20, cost_nano: 2, args: '{"q":"a needle"}' },
      }),
      refusedRow("c", { created_at: NOON + 2, duration_ms: 30 }),
    );
    expect(await ids(query)).toEqual(found);
    const { pagination } = await list(query);
    if (!/limit=\d|offset=\d/.test(query)) expect(pagination.total_count).toBe(found.length);
    const stats = await accepted<McpLogStats>(await get(`/stats${query}`));
    expect(stats.total_executions).toBe(pagination.total_count);
  });

  it.each([
    ["?limit=x", "limit", "Invalid limit parameter: must be a number"],
    ["?offset=-1", "offset", "Invalid offset parameter: must be non-negative"],
    ["?sort_by=tool", "sort_by", "Invalid sort_by parameter: must be timestamp, latency or cost"],
    ["?order=up", "order", "Invalid order parameter: must be asc or desc"],
    ["?start_time=yesterday", "start_time", "Invalid start_time parameter: must be a date-time of RFC 3339"],
    ["?end_time=5", "end_time", "Invalid end_time parameter: must be a date-time of RFC 3339"],
    ["?min_latency=fast", "min_latency", "Invalid min_latency parameter: must be a number"],
    ["?max_latency=-1", "max_latency", "Invalid max_latency parameter: must be a number"],
  ])("refuses %s in Bifrost's words", async (query, field, message) => {
    const response = await get(query);
    await expectBifrost("GET", LOGS, response);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      ...{ is_bifrost_error: false, status_code: 400, error: { message } },
      extra_fields: { code: "invalid_request", field },
    });
  });

  it("takes a limit of a thousand at most", async () => {
    expect((await list("?limit=5000")).pagination.limit).toBe(1_000);
    expect((await list("?limit=0")).pagination.limit).toBe(50);
  });

  it("shows each org its own, and is for admins of the platform", async () => {
    await createOrg("acme");
    await addCalls(callRow("a"), callRow("b", { org_id: "acme", tool: "theirs", server: "far", server_id: "srv_far" }));
    const acme = { "X-Org-Id": "acme" };
    expect((await list()).logs.map(({ id }) => id)).toEqual(["a"]);
    expect((await list("", acme)).logs.map(({ id }) => id)).toEqual(["b"]);
    expect((await list("?server_labels=far")).logs).toEqual([]);
    expect(await accepted(await get("/filterdata", acme))).toEqual({ tool_names: ["theirs"], server_labels: ["far"] });
    expect((await get("/b")).status).toBe(404);
    const users = await startWithUsers();
    await users.admin("PUT", "/v1/orgs/default/members/olga", { role: "org_admin" });
    for (const path of ["", "/stats", "/filterdata", "/a"]) {
      expect((await users.as("olga", "GET", `${LOGS}${path}`)).status).toBe(403);
    }
  });

  it("counts what is beyond the page, and goes no further than it may look", async () => {
    await addCalls(...someCalls(70, 2));
    const page = await list("?limit=30&offset=60");
    expect([page.logs.length, page.pagination.total_count, page.stats.total_executions]).toEqual([10, 70, 70]);
    const calls = createCalls({ store: d1CallStore(env.DB, 20), stats: d1CallStatsStore(env.DB) });
    const logs = createMcpLogs({ calls });
    expect((await logs.list("default", { limit: "5", offset: "15" })).logs).toHaveLength(5);
    for (const query of [{ limit: "5", offset: "16" }, { limit: "30" }, { virtual_key_ids: "key_0,key_1" }]) {
      const refused = { code: "invalid_request", field: "offset" };
      await expect(logs.list("default", query)).rejects.toMatchObject(refused);
    }
  });
});

describe("GET /api/mcp-logs/{id}", () => {
  it("answers one call", async () => {
    await addCalls(callRow("a"));
    const [listed] = (await list()).logs;
    expect(await accepted<McpLog>(await get("/a"))).toEqual(listed);
  });

  it("tells that there is none in Bifrost's words", async () => {
    const response = await get("/nothing");
    await expectBifrost("GET", `${LOGS}/nothing`, response);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      ...{ is_bifrost_error: false, status_code: 404, error: { message: "MCP tool log not found" } },
    });
  });
});

describe("GET /api/mcp-logs/filterdata", () => {
  it("names the tools and servers that have been called", async () => {
    await addCalls(...someCalls(40, 2), callRow("a", { tool: "search", server: "docs" }));
    expect(await accepted(await get("/filterdata"))).toEqual({
      tool_names: ["search", "tool_0", "tool_1", "tool_2"],
      server_labels: ["docs", "s0", "s1"],
    });
  });
});
