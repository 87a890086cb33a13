/** What an isolate may believe of budgets, with an object that answers when the test says so (PS-41). */
import { describe, expect, it } from "vitest";
import type { Admitted, CallAsk, Started } from "../../src/sessions/run-ledger.ts";
import { createRunMemory, createSessionRuns } from "../../src/sessions/session-runs.ts";

const place = { stack: "s", org_id: "acme", principal_id: "bob", session_id: "s", entered: 1, named: null };
const draft = { run_id: "r", label: "x", doctrine: null, budget_nano: 1 };
const FREE: Admitted = { kind: "in", run_id: null, isReserved: false, freeForMs: 5_000 };

function start() {
  const clock = { now: 1_000_000 };
  const asked: string[] = [];
  let answer: () => Admitted | Promise<Admitted> = () => FREE;
  const opened = { at: 5 };
  const stub = {
    admitCall: async (_: string, { call_id }: CallAsk) => {
      asked.push(call_id);
      return answer();
    },
    startRun: async (): Promise<Started> => ({
      ...{ kind: "started", parent_run_id: null, opened: opened.at, freeForMs: 0 },
    }),
    finishRun: async () => opened.at,
    releaseCall: () => Promise.reject(new Error("no")),
  };
  const runs = createSessionRuns({ stub, memory: createRunMemory(() => clock.now), clock: () => clock.now });
  const behind: Promise<unknown>[] = [];
  const admit = async (call_id: string, price_nano = 1, named: string | null = null) =>
    (await runs.admit({ stack: "s", named }, { call_id, price_nano, timeout_ms: 1 }, (work) => behind.push(work))).kind;
  return {
    ...{ runs, asked, admit, clock, opened },
    settled: () => Promise.all(behind.splice(0)),
    answers(next: typeof answer) {
      answer = next;
    },
  };
}

describe("an isolate", () => {
  it("asks for a price or a name, and for nothing else", async () => {
    const { admit, asked } = start();
    expect([await admit("free", 0), await admit("paid"), await admit("again"), await admit("named", 0, "r")]).toEqual([
      ...["unasked", "in", "unasked", "in"],
    ]);
    expect(asked).toEqual(["paid", "named"]);
  });

  it("believes from when it asked, no longer than it was told, and asks again behind an answer from half of that on", async () => {
    const { admit, asked, clock, answers, settled } = start();
    answers(() => {
      clock.now += 1_000;
      return FREE;
    });
    await admit("one");
    clock.now += 1_400;
    expect([await admit("two"), asked]).toEqual(["unasked", ["one"]]);
    clock.now += 200;
    expect([await admit("three"), await admit("four")]).toEqual(["unasked", "unasked"]);
    expect(asked).toEqual(["one", "three"]);
    await settled();
    clock.now += 3_999;
    await admit("five");
    expect(asked).toEqual(["one", "three", "five"]);
    await settled();
    clock.now += 4_000;
    expect([await admit("six"), asked.length]).toEqual(["in", 4]);
  });

  it("keeps what it believed where it cannot be confirmed, to its end", async () => {
    const { admit, clock, answers, settled } = start();
    await admit("one");
    answers(() => Promise.reject(new Error("no")));
    clock.now += 3_000;
    expect(await admit("two")).toBe("unasked");
    await settled();
    expect(await admit("three")).toBe("unasked");
    clock.now += 2_000;
    await expect(admit("four")).rejects.toThrow();
  });

  it("does not believe an answer from before a run with a budget of its own", async () => {
    const { runs, admit, asked, answers } = start();
    const late = Promise.withResolvers<Admitted>();
    answers(() => late.promise);
    const first = admit("one");
    await runs.stacks.start(place, draft);
    late.resolve(FREE);
    await first;
    answers(() => ({ ...FREE, freeForMs: 0 }));
    await admit("two");
    expect(asked).toEqual(["one", "two"]);
  });

  it("puts each call behind all before it, and behind the runs that it hears of", async () => {
    const { runs, clock, opened } = start();
    const stamps = [runs.stamp(), runs.stamp(), runs.stamp()];
    expect(stamps).toEqual([1_000_000_000, 1_000_000_001, 1_000_000_002]);
    clock.now--;
    expect(runs.stamp()).toBe(1_000_000_003);
    opened.at = 2_000_000_000;
    await runs.stacks.start(place, draft);
    expect(runs.stamp()).toBe(2_000_000_001);
    opened.at = 3_000_000_000;
    await runs.stacks.finish(place, "r", { outcome: "done", note: null });
    expect(runs.stamp()).toBe(3_000_000_001);
  });

  it("does not mind that an object is not told of a failure: its row tells it", async () => {
    await expect(start().runs.release("s", "call")).resolves.toBeUndefined();
  });
});
