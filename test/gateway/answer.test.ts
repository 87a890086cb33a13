import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AnswerOptions, answerCall } from "../../src/gateway/answer.ts";
import type { CallEvent } from "../../src/gateway/tool-call.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Events that come when they are given. */
function given() {
  const waiting: PromiseWithResolvers<CallEvent | null>[] = [Promise.withResolvers()];
  async function* events(): AsyncGenerator<CallEvent, void> {
    for (let at = 0; ; at++) {
      const event = await waiting[at]?.promise;
      if (event === undefined || event === null) return;
      yield event;
    }
  }
  return {
    events: events(),
    give(event: CallEvent | null): void {
      const last = waiting.at(-1);
      waiting.push(Promise.withResolvers());
      last?.resolve(event);
    },
  };
}

const OPTIONS: AnswerOptions = {
  accepts: { json: true, sse: true },
  record: () => ({ stored: Promise.resolve(), isAwaited: false }),
  waitUntil: () => {},
  onLeft: () => {},
};

/** Reads what comes next, as text. */
async function reading({ body }: Response) {
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  return async () => decoder.decode((await reader?.read())?.value);
}

const RESPONSE = { text: "{}", status: 200, ok: true, outcome: "ok", error: null } as const;

describe("a stream on which nothing comes", () => {
  it("gets a comment every 15 seconds, and nothing else [R-20]", async () => {
    const { events, give } = given();
    give({ kind: "streaming" });
    const next = await reading(await answerCall(events, OPTIONS));
    for (const _ of [1, 2]) {
      const comment = next();
      await vi.advanceTimersByTimeAsync(14_999);
      expect(await Promise.race([comment, Promise.resolve("nothing")])).toBe("nothing");
      await vi.advanceTimersByTimeAsync(1);
      expect(await comment).toBe(":\n\n");
    }
    const answer = next();
    give({ kind: "response", response: RESPONSE, row: null });
    expect(await answer).toBe("event: message\ndata: {}\n\n");
  });

  it("gets none within a message that comes in parts [R-20]", async () => {
    const { events, give } = given();
    const { signal } = new AbortController();
    const part = (text: string): CallEvent => ({ kind: "part", bytes: new TextEncoder().encode(text), signal });
    give({ kind: "streaming" });
    const next = await reading(await answerCall(events, OPTIONS));
    give(part('{"a":'));
    expect(await next()).toBe("event: message\ndata: ");
    expect(await next()).toBe('{"a":');
    const more = next();
    await vi.advanceTimersByTimeAsync(60_000);
    give(part("\n1}"));
    expect(await more).toBe(" 1}");
    const end = next();
    give({ kind: "response", response: { ...RESPONSE, text: "", sent: "whole" }, row: null });
    expect(await end).toBe("\n\n");
  });
});
