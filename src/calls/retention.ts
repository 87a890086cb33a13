/**
 * How calls leave the log: after the days that their org keeps them, by whole days in UTC, and into an archive first
 * where there is one. What was counted of them stays in the statistics.
 */
import type { Clock } from "../platform/clock.ts";
import { causesOf, log } from "../platform/log.ts";
import { viewOf } from "./call-view.ts";
import { ndjson } from "./export.ts";
import type { Expired, RetentionStore } from "./retention.store.ts";

/** Where calls go before they are removed. */
export interface CallArchive {
  /** Stores a file whole, in the place of one of that name. */
  put(name: string, text: string): Promise<void>;
}

export interface RetentionDeps {
  readonly store: RetentionStore;
  /** Null: what is removed is gone. */
  readonly archive: CallArchive | null;
  readonly clock: Clock;
}

/** Calls of one file, and of one removal. */
const PAGE = 1_000;
/** Sums of one removal. */
const SUMS = 5_000;
/** Files and removals of one run: the rest waits for the next. */
const PAGES = 100;

/** @throws Error after the others, when the calls of an org could not be archived or removed: they are still there. */
export async function sweepCalls({ store, archive, clock }: RetentionDeps): Promise<void> {
  /** @returns Whether there may be more. */
  async function sweep({ org_id, before }: Expired): Promise<boolean> {
    const rows = await store.oldest(org_id, before, PAGE);
    const [first] = rows;
    if (first === undefined) return before === Number.MAX_SAFE_INTEGER && store.forgetSums(org_id, SUMS);
    const views = rows.map(viewOf);
    const day = new Date(first.created_at).toISOString().slice(0, 10);
    // Named by its oldest call: a run that breaks off between the file and the removal is repeated into the same file.
    await archive?.put(`calls/${encodeURIComponent(org_id)}/${day}/${first.id}.ndjson`, ndjson.text(views));
    // Just what the file holds: calls that have come since are for the next page.
    await store.remove(
      org_id,
      rows.map(({ id }) => id),
    );
    return true;
  }

  let waiting = await store.expired(clock());
  let failures = 0;
  // In turns, so that the backlog of one org does not keep the others waiting.
  for (let pages = 0; pages < PAGES && waiting.length > 0; ) {
    const left: Expired[] = [];
    for (const org of waiting.slice(0, PAGES - pages)) {
      pages++;
      try {
        if (await sweep(org)) left.push(org);
      } catch (thrown) {
        failures++;
        log("error", "call_retention_failed", { org: org.org_id, causes: causesOf(thrown) });
      }
    }
    waiting = left;
  }
  if (failures > 0) throw new Error(`the calls of ${failures} orgs could not be removed`);
}
