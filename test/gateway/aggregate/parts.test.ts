import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ALL_MS, askAll, ONE_MS } from "../../../src/gateway/aggregate/ask-all.ts";
import { cursorOf, readCursor } from "../../../src/gateway/aggregate/cursor.ts";
import { exposedPrompt, exposedUri, readPrompt, readUri } from "../../../src/gateway/aggregate/exposed.ts";

const slug = fc.stringMatching(/^[A-Za-z0-9-]{1,12}$/);

describe("names of prompts and resources at /mcp", () => {
  it("lead back to their server and its own name, whatever that is [OT-1, R-18]", () => {
    fc.assert(
      fc.property(slug, fc.string({ unit: "binary" }), (server, own) => {
        const expected = { slug: server.toLowerCase(), own };
        expect(readPrompt(exposedPrompt(server, own))).toEqual(expected);
        expect(readUri(exposedUri(server, own))).toEqual(expected);
      }),
    );
  });

  it.each(["file:///a b?q=1#f", "test://host/{id}", "urn:isbn:1", "https://x.example/%20?a#b"])(
    "keep %s a URI that a client can parse, query and fragment where they were [OT-1]",
    (uri) => {
      const [own, exposed] = [new URL(uri), new URL(exposedUri("Docs-1", uri))];
      expect(exposed.protocol).toBe("postern+docs-1:");
      expect([exposed.search, exposed.hash]).toEqual([own.search, own.hash]);
      expect(readUri(exposed.href)?.slug).toBe("docs-1");
    },
  );
});

describe("the cursor of a list over all servers", () => {
  it("is read as it was written [OT-1]", () => {
    const one = fc.record({ serverId: fc.string({ minLength: 1 }), cursor: fc.string() });
    const more = fc.uniqueArray(one, { selector: ({ serverId }) => serverId, minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(more, (continued) => {
        expect(readCursor(cursorOf(continued))).toEqual(continued);
      }),
    );
    expect(cursorOf([])).toBeNull();
  });

  it("is nothing else [OT-1]", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.jsonValue()), (made) => {
        expect(readCursor(made)).toBeNull();
      }),
    );
    expect(readCursor(btoa('[["a","1"],["a","2"]]'))).toBeNull();
  });
});

describe("asking many servers", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
  afterEach(() => void vi.useRealTimers());

  /** Asks servers that answer at once, hang until they are told to stop, or for ever. */
  function start(kinds: readonly ("answers" | "hangs" | "never ends")[]) {
    let [now, most] = [0, 0];
    const left = new AbortController();
    const ask = async (kind: (typeof kinds)[number], signal: AbortSignal) => {
      most = Math.max(most, ++now);
      if (kind === "hangs") await new Promise((resolve) => signal.addEventListener("abort", resolve));
      if (kind === "never ends") await new Promise(() => undefined);
      now--;
      return "answer";
    };
    const found = askAll(kinds, ask, { signal: left.signal, waitUntil: () => undefined });
    return { found, left, most: () => most };
  }

  const times = <T>(count: number, kind: T) => Array.from({ length: count }, () => kind);

  it("waits for none of them longer than its time, and for the others not at all [R-12]", async () => {
    const { found, most } = start([...times(5, "hangs" as const), ...times(15, "answers" as const)]);
    await vi.advanceTimersByTimeAsync(ONE_MS);
    expect(await found).toEqual([...times(5, null), ...times(15, "answer")]);
    expect(most()).toBe(5);
    expect(await start(times(20, "answers")).found).toEqual(times(20, "answer"));
    expect(await start([]).found).toEqual([]);
  });

  it("ends when all of them hang, and has never more under way than at once [R-12]", async () => {
    for (const kind of ["hangs", "never ends"] as const) {
      const { found, most } = start([...times(30, kind), "answers"]);
      await vi.advanceTimersByTimeAsync(ALL_MS);
      expect(await found).toEqual(times(31, null));
      expect(most()).toBe(5);
    }
  });

  it("ends with who has asked [R-12]", async () => {
    const { found, left } = start(["answers", "never ends"]);
    await vi.advanceTimersByTimeAsync(1);
    left.abort();
    expect(await found).toEqual(["answer", null]);
  });
});
