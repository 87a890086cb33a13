import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { d1CallStore } from "../../src/calls/calls.store.ts";
import { causesOf } from "../../src/platform/log.ts";

describe("causesOf", () => {
  it("tells the chain of causes, and nothing of what a query was asked with [T-1]", async () => {
    await env.DB.prepare("DROP TABLE tool_calls").run();
    const failed = await d1CallStore(env.DB)
      .append('[{"id":"call_1","args":"canary"}]')
      .catch((thrown: unknown) => thrown);
    const causes = causesOf(failed);
    expect(causes.join()).toContain("no such table: tool_calls");
    expect(causes.join()).not.toContain("canary");
  });

  it("ends, whatever is thrown", () => {
    const endless = new Error("again");
    endless.cause = endless;
    expect(causesOf(endless)).toHaveLength(5);
    expect(causesOf("text")).toEqual([]);
  });
});
