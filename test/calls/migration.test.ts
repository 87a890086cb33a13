/** What the migration makes of calls that were in the log before it. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { addCalls, callRow, refusedRow, someCalls } from "../support/calls.ts";

/** The statements of all migrations that begin so. */
const statements = (beginning: string) =>
  env.TEST_MIGRATIONS.flatMap(({ queries }) => queries).filter((query) => query.trim().startsWith(beginning));

async function sums() {
  const { results } = await env.DB.prepare("SELECT * FROM call_sums").all<Record<string, unknown>>();
  return results
    .map((row) => JSON.stringify({ ...row, latencies: Object.entries(JSON.parse(`${row["latencies"]}`)).toSorted() }))
    .toSorted();
}

it("counts the calls that are there as they would have been counted one by one", async () => {
  const rows = someCalls(300, 40);
  for (let at = 0; at < rows.length; at += 7) await addCalls(...rows.slice(at, at + 7));
  const before = await sums();
  expect(before.length).toBeGreaterThan(500);
  await env.DB.prepare("DELETE FROM call_sums").run();
  const counting = statements("INSERT INTO `call_sums`");
  expect(counting).toHaveLength(15);
  for (const statement of counting) await env.DB.prepare(statement).run();
  expect(await sums()).toEqual(before);
});

it("tells from what a row says how the call ended", async () => {
  const failed = (id: string, error: string) => callRow(id, { ok: false, outcome: "abandoned", error });
  await addCalls(
    ...[callRow("a"), refusedRow("b"), failed("c", "tool returned an error"), failed("e", "The server is away.")],
    failed("d", "the server answered with an error"),
  );
  await env.DB.prepare("UPDATE tool_calls SET outcome = 'gateway_failed'").run();
  for (const statement of statements("UPDATE `tool_calls`")) await env.DB.prepare(statement).run();
  const { results } = await env.DB.prepare("SELECT id, outcome FROM tool_calls ORDER BY id").all();
  expect(results.map(({ id, outcome }) => [id, outcome])).toEqual([
    ["a", "ok"],
    ["b", "refused"],
    ["c", "tool_error"],
    ["d", "server_error"],
    ["e", "upstream_failed"],
  ]);
});
