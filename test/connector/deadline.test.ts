import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DEADLINE_CAP_MS, startDeadline } from "../../src/connector/deadline.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("startDeadline", () => {
  it("ends a request when its time is over, and not before [PS-30, CN-12]", () => {
    const deadline = startDeadline(60_000);
    vi.advanceTimersByTime(59_999);
    expect(deadline.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect([deadline.signal.aborted, deadline.isOver()]).toEqual([true, true]);
  });

  it("begins again with each restart, up to ten minutes in all [PS-30, R-19]", () => {
    const deadline = startDeadline(60_000);
    for (let passed = 0; passed < DEADLINE_CAP_MS - 50_000; passed += 50_000) {
      vi.advanceTimersByTime(50_000);
      deadline.restart();
      expect(deadline.signal.aborted, `after ${passed + 50_000} ms`).toBe(false);
    }
    vi.advanceTimersByTime(49_999);
    expect(deadline.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect([deadline.signal.aborted, deadline.isOver()]).toEqual([true, true]);
    deadline.restart();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is not over when the one who asked has left", () => {
    const left = new AbortController();
    const deadline = startDeadline(60_000, left.signal);
    left.abort();
    expect([deadline.signal.aborted, deadline.isOver()]).toEqual([true, false]);
    deadline.clear();
    expect(vi.getTimerCount()).toBe(0);
  });
});
