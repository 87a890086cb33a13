/** What has been stored of a principal's calls and runs, once everything is there. */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, vi } from "vitest";
import { accepted } from "./api.ts";
import type { TestGateway } from "./gateway.ts";

/** Moves what the objects hold to D1. @param sessionIds Besides the principal's default one. */
export async function moveAll(
  gateway: TestGateway,
  org: string,
  principal: string,
  sessionIds: readonly string[] = [],
): Promise<void> {
  await gateway.settled();
  for (const name of [`default:${org}:${principal}`, ...sessionIds]) await moveFrom(name);
}

/** Moves what one object holds. Its alarm may be running by itself, so that asking for it is not enough. */
export async function moveFrom(name: string): Promise<void> {
  const object = env.SESSION.getByName(name);
  await vi.waitFor(async () => {
    await runDurableObjectAlarm(object);
    const { left } = await runInDurableObject(object, (_, { storage }) =>
      storage.sql
        .exec<{ left: number }>(
          "SELECT (SELECT COUNT(*) FROM journal) + (SELECT COUNT(*) FROM run WHERE moved < version) AS left",
        )
        .one(),
    );
    expect(left).toBe(0);
  });
}

/** The rows of an org's call log, newest first. */
export async function rowsOf(
  gateway: TestGateway,
  org: string,
  principal: string,
  sessionIds: readonly string[] = [],
): Promise<Record<string, unknown>[]> {
  await moveAll(gateway, org, principal, sessionIds);
  const page = await gateway.admin("GET", "/v1/calls?page_size=200", undefined, { "X-Org-Id": org });
  return (await accepted<{ rows: Record<string, unknown>[] }>(page)).rows;
}
