/** What an isolate remembers, and for how long it believes it. */
import { describe, expect, it } from "vitest";
import { ExpiringMap } from "../../src/platform/expiring-map.ts";
import { TrustedMap } from "../../src/platform/trusted.ts";

describe("an expiring map", () => {
  it("forgets an entry at its instant, and not before", () => {
    let now = 0;
    const map = new ExpiringMap<string, number>(() => now, 10);
    map.set("a", 1, 100);
    now = 99;
    expect(map.get("a")).toBe(1);
    now = 100;
    expect(map.get("a")).toBeUndefined();
    now = 0;
    expect(map.get("a")).toBeUndefined();
  });

  it("holds no more than its limit, and the newest written longest", () => {
    const map = new ExpiringMap<string, number>(() => 0, 2);
    map.set("a", 1, 10);
    map.set("b", 2, 10);
    map.set("a", 3, 10);
    map.set("c", 4, 10);
    expect(["a", "b", "c"].map((key) => map.get(key))).toEqual([3, undefined, 4]);
  });

  it("replaces, deletes and clears", () => {
    const map = new ExpiringMap<string, number>(() => 5, 10);
    map.set("a", 1, 10);
    map.set("a", 2, 4);
    map.set("b", 3, 10);
    map.set("c", 4, 10);
    map.delete("b");
    map.delete("none");
    expect(["a", "b", "c"].map((key) => map.get(key))).toEqual([undefined, undefined, 4]);
    map.clear();
    expect(map.get("c")).toBeUndefined();
  });
});

/** A trusted map over a truth that counts how often it was read, with a clock and `waitUntil` of the test's. */
function trusted(ttlMs = 1_000) {
  const world = {
    now: 0,
    truth: "one",
    reads: 0,
    fails: false,
    behind: [] as Promise<unknown>[],
    formers: [] as unknown[],
  };
  const map = new TrustedMap<string>(() => world.now, 10);
  const get = (
    read = async (former?: string) => {
      world.reads++;
      world.formers.push(former);
      const { truth, fails } = world;
      await Promise.resolve();
      if (fails) throw new Error("down");
      return truth;
    },
  ) => map.get("key", ttlMs, read, (work) => world.behind.push(work));
  return { world, map, get };
}

describe("a trusted map", () => {
  it("reads once, and believes it without a look until half of its time", async () => {
    const { world, get } = trusted();
    expect(await get()).toBe("one");
    world.truth = "two";
    world.now = 499;
    expect(await get()).toBe("one");
    expect(world).toMatchObject({ reads: 1, behind: [], formers: [undefined] });
  });

  it("looks again behind the answer from half of its time on, once for all who ask", async () => {
    const { world, get } = trusted();
    await get();
    world.truth = "two";
    world.now = 500;
    expect(await Promise.all([get(), get(), get()])).toEqual(["one", "one", "one"]);
    expect(world).toMatchObject({ reads: 2, formers: [undefined, "one"] });
    await Promise.all(world.behind);
    expect(await get()).toBe("two");
    expect(world.reads).toBe(2);
    world.now = 999;
    expect(await get()).toBe("two");
    expect(world.reads).toBe(2);
  });

  it("looks before the answer once its time is over", async () => {
    const { world, get } = trusted();
    await get();
    world.truth = "two";
    world.now = 1_000;
    expect(await get()).toBe("two");
    expect(world).toMatchObject({ reads: 2, behind: [], formers: [undefined, "one"] });
  });

  it("never believes longer than its time from when the look began", async () => {
    const { world, get } = trusted();
    await get(async () => {
      world.now = 900;
      return "slow";
    });
    world.now = 999;
    expect(await get(() => Promise.reject(new Error("down")))).toBe("slow");
    world.now = 1_000;
    expect(await get()).toBe("one");
  });

  it("answers from what it has while looks behind the answer fail, and fails when its time is over", async () => {
    const { world, get } = trusted(10_000);
    await get();
    world.fails = true;
    world.now = 5_000;
    expect(await get()).toBe("one");
    await Promise.all(world.behind);
    world.now = 5_999;
    expect(await get()).toBe("one");
    expect(world.reads).toBe(2);
    world.now = 6_000;
    expect(await get()).toBe("one");
    expect(world.reads).toBe(3);
    await Promise.all(world.behind);
    world.now = 10_000;
    await expect(get()).rejects.toThrow("down");
    world.fails = false;
    expect(await get()).toBe("one");
  });

  it.each(["clear", "delete"] as const)("forgets at once with %s, also what is being read", async (how) => {
    const { world, map, get } = trusted();
    const reading = get(async () => {
      world.truth = "two";
      map[how]("key");
      return "one";
    });
    expect(await reading).toBe("one");
    expect(await get()).toBe("two");
    world.truth = "three";
    map[how]("key");
    expect(await get()).toBe("three");
  });

  it("believes nothing when it is given no time", async () => {
    const { world, get } = trusted(0);
    await get();
    world.truth = "two";
    expect(await get()).toBe("two");
  });

  it("keeps keys apart", async () => {
    const map = new TrustedMap<string>(() => 0, 10);
    const get = (key: string) =>
      map.get(
        key,
        100,
        async () => `value of ${key}`,
        () => undefined,
      );
    expect([await get("a"), await get("b"), await get("a")]).toEqual(["value of a", "value of b", "value of a"]);
  });
});
