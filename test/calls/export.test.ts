import { describe, expect, it, vi } from "vitest";
import { createCalls } from "../../src/calls/calls.ts";
import type { CallView } from "../../src/calls/calls.wire.ts";
import { csv, ndjson } from "../../src/calls/export.ts";
import { streamResponse } from "../../src/http/text-stream.ts";
import type { Principal } from "../../src/identity/principal.ts";
import { accepted, offline } from "../support/api.ts";
import { addCalls, callRow, NOON, refusedRow, someCalls } from "../support/calls.ts";
import { startGateway } from "../support/gateway.ts";

const exported = async (query = "") => startGateway(offline).admin("GET", `/v1/calls/export${query}`);
const bytes = async (response: Response) => new TextDecoder().decode(await response.arrayBuffer());

/** Cells of RFC 4180. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, quoted, plain = "", end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1)?.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "\r\n") rows.push([]);
  }
  return rows.slice(0, -1);
}

describe("GET /v1/calls/export", () => {
  it("gives the rows of the list, a line of JSON for each", async () => {
    const rows = someCalls(60, 2);
    await addCalls(...rows);
    const response = await exported();
    expect([response.status, response.headers.get("Content-Type")]).toEqual([200, "application/x-ndjson"]);
    expect(response.headers.get("Content-Disposition")).toMatch(
      /^attachment; filename="calls-\d{4}-\d\d-\d\d\.ndjson"$/,
    );
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    const lines = (await bytes(response)).trimEnd().split("\n");
    const listed = await accepted<{ rows: CallView[] }>(
      await startGateway(offline).admin("GET", "/v1/calls?page_size=200"),
    );
    expect(lines.map((line) => JSON.parse(line))).toEqual(listed.rows);
    expect(listed.rows).toHaveLength(60);
  });

  it("gives a table with a header as CSV", async () => {
    await addCalls(
      callRow("a", { args: '{"q":"say \\"hi\\", then\\nleave"}', cost_nano: 1_500_000, tool: "a,b" }),
      refusedRow("b", { created_at: NOON + 1 }),
    );
    const response = await exported("?format=csv");
    expect(response.headers.get("Content-Type")).toBe("text/csv; charset=utf-8");
    expect(response.headers.get("Content-Disposition")).toContain(".csv");
    const [head = [], ...rows] = parseCsv(await bytes(response));
    const records = rows.map((row) => Object.fromEntries(head.map((name, at) => [name, row[at]])));
    expect(records).toEqual([
      expect.objectContaining({ id: "b", ok: "false", outcome: "refused", reason: "tool_blocked", upstream_ms: "" }),
      expect.objectContaining({
        ...{ id: "a", created_at: "2026-11-01T12:00:00.000Z", org_id: "default", tool: "a,b", sub: "", ok: "true" },
        ...{ args: '{"q":"say \\"hi\\", then\\nleave"}', cost_usd: "0.0015", duration_ms: "12", gateway_ms: "3" },
      }),
    ]);
  });

  it("has a header and nothing else when there is no call", async () => {
    expect(await bytes(await exported("?format=csv"))).toMatch(/^id,created_at,org_id,[a-z_,]+\r\n$/);
    expect(await bytes(await exported())).toBe("");
  });

  it("never gives a spreadsheet a text that it would take for a formula", async () => {
    const names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|"/c calc"!A1'];
    await addCalls(...names.map((tool, n) => callRow(`call_${n}`, { tool, error: tool })));
    const [head = [], ...rows] = parseCsv(await bytes(await exported("?format=csv")));
    for (const column of ["tool", "error"]) {
      const cells = rows.map((row) => row[head.indexOf(column)]).toReversed();
      expect(cells).toEqual(names.map((name) => `'${name}`));
    }
  });

  it("keeps filters and order", async () => {
    await addCalls(...someCalls(40, 1));
    const query = "ok=true&sort=duration_ms&direction=asc";
    const lines = (await bytes(await exported(`?${query}`))).trimEnd().split("\n");
    const listed = await accepted<{ rows: CallView[] }>(
      await startGateway(offline).admin("GET", `/v1/calls?page_size=200&${query}`),
    );
    expect(lines.map((line) => JSON.parse(line).id)).toEqual(listed.rows.map(({ id }) => id));
  });
});

const ADMIN = { org: "default", id: "olga", role: "org_admin", isPlatformAdmin: false } as Principal;

describe("an export", () => {
  it("reads a page when the one before it has been taken, and none ahead", async () => {
    const pages = [["a", "b"], [], ["c"]];
    const list = vi.fn(async (_scope: string, _filters: object, { after }: { after: { value: number } | null }) => {
      const at = after?.value ?? 0;
      const next = at + 1 < pages.length ? { value: at + 1, id: "x" } : null;
      return { rows: (pages[at] ?? []).map((id) => callRow(id)), next };
    });
    const calls = createCalls({ store: { list, get: async () => null }, stats: {} as never });
    const chunks = calls.export(ADMIN, {}, ndjson);
    const response = await streamResponse({ mediaType: "text/plain", fileName: "f", chunks }, 200);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const idsOf = (value: Uint8Array | undefined) =>
      new TextDecoder()
        .decode(value)
        .split("\n")
        .flatMap((line) => (line === "" ? [] : [JSON.parse(line).id]));
    expect(list).toHaveBeenCalledTimes(1);
    expect(idsOf((await reader.read()).value)).toEqual(["a", "b"]);
    expect(list).toHaveBeenCalledTimes(1);
    expect(idsOf((await reader.read()).value)).toEqual([]);
    expect(idsOf((await reader.read()).value)).toEqual(["c"]);
    expect(list).toHaveBeenCalledTimes(3);
    expect((await reader.read()).done).toBe(true);
  });

  it("stops reading when nobody takes it any more", async () => {
    const list = vi.fn(async () => ({ rows: [callRow("a")], next: { value: 1, id: "a" } }));
    const calls = createCalls({ store: { list, get: async () => null }, stats: {} as never });
    const chunks = calls.export(ADMIN, {}, csv);
    const response = await streamResponse({ mediaType: "text/plain", fileName: "f", chunks }, 200);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await reader.cancel();
    expect(list).toHaveBeenCalledTimes(1);
    expect(await chunks.next()).toEqual({ done: true, value: undefined });
  });

  it("tells what fails before the first row, and breaks off where it fails later", async () => {
    const list = vi.fn().mockRejectedValueOnce(new Error("first"));
    const calls = createCalls({ store: { list, get: async () => null }, stats: {} as never });
    const open = () =>
      streamResponse({ mediaType: "text/plain", fileName: "f", chunks: calls.export(ADMIN, {}, csv) }, 200);
    await expect(open()).rejects.toThrow("first");
    list.mockResolvedValueOnce({ rows: [], next: { value: 1, id: "a" } }).mockRejectedValueOnce(new Error("later"));
    const reader = ((await open()).body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await expect(reader.read()).rejects.toThrow("later");
  });
});
