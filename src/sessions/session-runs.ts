/**
 * Runs as an isolate sees them: their stacks are in the `Session` objects, and a call asks there only where it must.
 *
 * A call without a price asks nothing: its row gets its run when it reaches the object. One with a price asks before it
 * goes upstream, unless this isolate has been told within `SNAPSHOT_TTL_MS` (five seconds at most) that the session has
 * no budget. An object that has told so begins no run with a budget before all who were told have stopped believing it,
 * so that no isolate ever spends past a budget that it does not know of (PS-41).
 */
import type { Clock } from "../platform/clock.ts";
import { ExpiringMap } from "../platform/expiring-map.ts";
import { type RunPlace, type RunStacks, runNotOpen, STAMPS_PER_MS, tooManyRuns } from "../runs/run.ts";
import type { Admitted, CallAsk, Started } from "./run-ledger.ts";
import type { SessionStub } from "./session.stub.ts";

/** What an isolate remembers of runs. */
export interface RunMemory {
  /** Sessions that have no budget, by name, to the end of `SNAPSHOT_TTL_MS`; from `stale` on somebody asks again. */
  readonly free: ExpiringMap<string, { readonly until: number; readonly stale: number }>;
  /**
   * `stamp` is the last one given, `holder` the isolate's name (`""` before it has one), and `epoch` counts the runs with
   * a budget that it has begun.
   */
  readonly own: { stamp: number; holder: string; epoch: number };
}

/** How many sessions are remembered. */
const REMEMBERED = 10_000;

export function createRunMemory(clock: Clock): RunMemory {
  return { free: new ExpiringMap(clock, REMEMBERED), own: { stamp: 0, holder: "", epoch: 0 } };
}

export interface SessionRunsDeps {
  readonly stub: Pick<SessionStub, "startRun" | "finishRun" | "admitCall" | "releaseCall">;
  readonly memory: RunMemory;
  readonly clock: Clock;
}

/** The decision on a call; `unasked` where there was nothing to ask. */
export type CallAdmitted = Admitted | { readonly kind: "unasked" };

/** How long a second call leaves an old belief to the first to confirm. */
const CHECK_MS = 1_000;

export type SessionRuns = ReturnType<typeof createSessionRuns>;

export function createSessionRuns({ stub, memory: { free, own }, clock }: SessionRunsDeps) {
  function holder(): string {
    // An isolate has no random numbers before its first request.
    own.holder ||= crypto.randomUUID();
    return own.holder;
  }

  function stamp(): number {
    own.stamp = Math.max(own.stamp + 1, clock() * STAMPS_PER_MS);
    return own.stamp;
  }

  /** Asks an object, and remembers what it says of budgets. */
  async function ask<T extends Admitted | Started>(stack: string, question: () => Promise<T>): Promise<T> {
    const [askedAt, { epoch }] = [clock(), own];
    const answer = await question();
    const forMs = "freeForMs" in answer ? answer.freeForMs : 0;
    // An answer from before a run of this isolate's own says nothing any more.
    if (forMs === 0 || own.epoch !== epoch) free.delete(stack);
    else free.set(stack, { until: askedAt + forMs, stale: askedAt + forMs / 2 }, askedAt + forMs);
    return answer;
  }

  const stacks: RunStacks = {
    async start(place, draft) {
      if (draft.budget_nano !== null) {
        own.epoch++;
        free.delete(place.stack);
      }
      const started = await ask(place.stack, () => stub.startRun(place.stack, place, draft, holder()));
      switch (started.kind) {
        case "started":
          own.stamp = Math.max(own.stamp, started.opened);
          return { parent_run_id: started.parent_run_id };
        case "too_many":
          throw tooManyRuns();
        case "not_open":
          throw runNotOpen(place.named ?? "");
      }
    },

    async finish({ stack, entered }, runId, end) {
      const closed = await stub.finishRun(stack, runId, end, crypto.randomUUID(), entered);
      own.stamp = Math.max(own.stamp, closed ?? 0);
      return closed !== null;
    },

    // The object gives each row its run when the row comes in.
    active: async () => undefined,
  };

  return {
    stacks,

    /** Where a call stands among those of its session: greater than for all that came to this isolate before. */
    stamp,

    /**
     * Decides on a call, at step 9 of B.4.
     *
     * @param behind Keeps work alive after the answer (`waitUntil`).
     * @throws GatewayError `unavailable`
     */
    async admit(
      { stack, named }: Pick<RunPlace, "stack" | "named">,
      call: Omit<CallAsk, "named">,
      behind: (work: Promise<unknown>) => void,
    ): Promise<CallAdmitted> {
      if (named === null && call.price_nano === 0) return { kind: "unasked" };
      const held = free.get(stack);
      if (named !== null || held === undefined) {
        return ask(stack, () => stub.admitCall(stack, { ...call, named }, holder()));
      }
      const now = clock();
      if (held.stale <= now) {
        free.set(stack, { ...held, stale: now + CHECK_MS }, held.until);
        const nothing = { ...call, named: null, price_nano: 0 };
        behind(ask(stack, () => stub.admitCall(stack, nothing, holder())).catch(() => undefined));
      }
      return { kind: "unasked" };
    },

    /** A call that had something held has failed. Never rejects: its row says the same when it reaches the object. */
    async release(stack: string, callId: string): Promise<void> {
      await stub.releaseCall(stack, callId).catch(() => undefined);
    },
  };
}
