/** The Cache API: what several isolates of one colo share. Reads may miss at any time, and it is never the truth. */
import { sha256Hex } from "./hash.ts";
import { causesOf, log } from "./log.ts";

/** Texts by key. A key must hold everything that its text depends on: entries are never deleted. */
export interface ColoCache {
  get(key: string): Promise<string | null>;
  /** @param seconds How long it may be kept. */
  put(key: string, text: string, seconds: number): Promise<void>;
}

/** Failures count as misses: nothing depends on a cache. */
export function coloCache(): ColoCache {
  // Keys are hashed: they hold names, and a URL has a limited length.
  const urlOf = (key: string) => `https://cache.invalid/${sha256Hex(key)}`;
  return {
    async get(key) {
      try {
        const response = await caches.default.match(urlOf(key));
        return response === undefined ? null : await response.text();
      } catch (thrown) {
        log("warn", "cache_read_failed", { causes: causesOf(thrown) });
        return null;
      }
    },

    async put(key, text, seconds) {
      try {
        const headers = { "Cache-Control": `max-age=${seconds}` };
        await caches.default.put(urlOf(key), new Response(text, { headers }));
      } catch (thrown) {
        log("warn", "cache_write_failed", { causes: causesOf(thrown) });
      }
    },
  };
}
