import { describe, expect, it } from "vitest";
import { readBounded, TooLarge } from "../../src/platform/bounded-text.ts";

const chunks = (...texts: string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const text of texts) controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });

describe("a bounded text", () => {
  it("is read to its last byte, and not one further than the limit", async () => {
    expect(await readBounded(new Response(chunks("gr", "ün")), 5)).toBe("grün");
    await expect(readBounded(new Response(chunks("gr", "ün")), 4)).rejects.toThrow(TooLarge);
  });

  it("counts what a compressed body becomes, whatever length it declares", async () => {
    const headers = { "Content-Length": "3", "Content-Encoding": "gzip" };
    await expect(readBounded(new Response(chunks("much ", "more"), { headers }), 5)).rejects.toThrow(TooLarge);
  });

  it("is UTF-8 or refused", async () => {
    await expect(readBounded(new Response(new Uint8Array([0xc3, 0x28])), 5)).rejects.toThrow(TypeError);
  });
});
