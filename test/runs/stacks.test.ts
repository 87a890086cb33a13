/** One suite for both forms of the stacks of runs: in the `Session` objects, and in memory (OT-26). */
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { inMemoryRuns } from "../../src/runs/in-memory-runs.ts";
import {
  OUTCOMES,
  type RunDraft,
  type RunPlace,
  type RunStacks,
  readDraft,
  readEnd,
  usdText,
} from "../../src/runs/run.ts";
import { sessionStub } from "../../src/sessions/session.stub.ts";
import { createRunMemory, createSessionRuns } from "../../src/sessions/session-runs.ts";

const clock = () => Date.now();
const FORMS: readonly (readonly [string, () => RunStacks])[] = [
  [
    "objects",
    () => createSessionRuns({ stub: sessionStub(env.SESSION), memory: createRunMemory(clock), clock }).stacks,
  ],
  ["memory", () => inMemoryRuns(clock)],
];

let entered = 1;
const place = (given: Partial<RunPlace> = {}): RunPlace => ({
  ...{ stack: "ses_1", org_id: "acme", principal_id: "bob", session_id: "ses_1", named: null },
  entered: ++entered,
  ...given,
});
const draft = (id: string, given: Partial<RunDraft> = {}): RunDraft => ({
  ...{ run_id: id, label: "work", doctrine: null, budget_nano: null },
  ...given,
});
const DONE = { outcome: "done", note: null } as const;

describe.each(FORMS)("the stack of runs in %s", (_, create) => {
  it("nests: a run begins in the one on top, and ends with the one around it on top again [OT-15, OT-16]", async () => {
    const runs = create();
    expect(await runs.start(place(), draft("a"))).toEqual({ parent_run_id: null });
    expect(await runs.start(place(), draft("b"))).toEqual({ parent_run_id: "a" });
    expect(await runs.finish(place(), "b", DONE)).toBe(true);
    expect(await runs.start(place(), draft("c"))).toEqual({ parent_run_id: "a" });
    expect(await runs.finish(place(), "c", DONE)).toBe(true);
    expect(await runs.finish(place(), "a", DONE)).toBe(true);
    expect(await runs.start(place(), draft("d"))).toEqual({ parent_run_id: null });
  });

  it("lets a run below the top end by itself, and one that is not open end without effect [OT-16]", async () => {
    const runs = create();
    for (const id of ["a", "b", "c"]) await runs.start(place(), draft(id));
    expect(await runs.finish(place(), "b", DONE)).toBe(true);
    expect(await runs.finish(place(), "b", DONE)).toBe(false);
    expect(await runs.finish(place(), "unknown", DONE)).toBe(false);
    expect(await runs.start(place(), draft("d"))).toEqual({ parent_run_id: "c" });
    expect(await runs.finish(place(), "d", DONE)).toBe(true);
    expect(await runs.finish(place(), "c", DONE)).toBe(true);
    expect(await runs.start(place(), draft("e"))).toEqual({ parent_run_id: "a" });
  });

  it("is one for each session: nobody sees or ends the runs of another [PS-40]", async () => {
    const runs = create();
    await runs.start(place(), draft("a"));
    const other = { stack: "ses_2", session_id: "ses_2" };
    expect(await runs.start(place(other), draft("b"))).toEqual({ parent_run_id: null });
    expect(await runs.finish(place(other), "a", DONE)).toBe(false);
    expect(await runs.finish(place(), "a", DONE)).toBe(true);
  });

  it("takes the run that is named for the one on top, if it is open [PS-40]", async () => {
    const runs = create();
    await runs.start(place(), draft("a"));
    await runs.start(place(), draft("b"));
    expect(await runs.start(place({ named: "a" }), draft("c"))).toEqual({ parent_run_id: "a" });
    await runs.finish(place(), "b", DONE);
    for (const named of ["b", "unknown"]) {
      const started = runs.start(place({ named }), draft(`in-${named}`));
      await expect(started).rejects.toMatchObject({ message: `run not open: ${named}` });
    }
  });

  it("holds 32 open runs at most [OT-16]", async () => {
    const runs = create();
    for (let at = 0; at < 32; at++) await runs.start(place(), draft(`r${at}`));
    const text = "A session has at most 32 open runs. Finish one first.";
    await expect(runs.start(place(), draft("more"))).rejects.toMatchObject({ code: "conflict", message: text });
    await runs.finish(place(), "r7", DONE);
    expect(await runs.start(place(), draft("more"))).toEqual({ parent_run_id: "r31" });
  });
});

describe("what an agent says of a run", () => {
  it("ends with one of four outcomes, named where it is another [OT-16]", () => {
    for (const outcome of OUTCOMES) expect(readEnd({ outcome, note: "n" })).toEqual({ outcome, note: "n" });
    for (const outcome of ["", "DONE", "ok", "done "]) {
      const text = `invalid outcome: '${outcome}' (expected done, abandoned, failed or blocked)`;
      expect(() => readEnd({ outcome })).toThrow(expect.objectContaining({ message: text, field: "outcome" }));
    }
  });

  it("counts characters and not their bytes, and holds no text that a database would change", () => {
    const draftOf = (label: string) => readDraft("r", { label });
    expect(draftOf("😀".repeat(200)).label).toHaveLength(400);
    for (const label of ["", "😀".repeat(201), "\ud800", "a\0b"]) {
      expect(() => draftOf(label)).toThrow(expect.objectContaining({ code: "invalid_request", field: "label" }));
    }
    expect(readEnd({ outcome: "done", note: "😀".repeat(2_000) }).note).toHaveLength(4_000);
  });

  it("is exact in money: whole nano-dollars, rounded half up [PS-42]", () => {
    const nano = (budget_usd: number) => readDraft("r", { label: "x", budget_usd }).budget_nano;
    expect([0, 0.3, 1e-9, 0.5e-9, 0.4e-9, 1_000_000].map(nano)).toEqual([0, 3e8, 1, 1, 0, 1e15]);
    expect(readDraft("r", { label: "x" }).budget_nano).toBeNull();
    expect([0, 1, 3e8, 1e9, 1.5e9, 1e15, 123_456_789_012].map(usdText)).toEqual([
      ...["0", "0.000000001", "0.3", "1", "1.5", "1000000", "123.456789012"],
    ]);
  });
});
