import type { CallArchive } from "./retention.ts";

/** The archive of calls in R2. */
export function r2CallArchive(bucket: R2Bucket): CallArchive {
  return {
    async put(name, text) {
      await bucket.put(name, text, { httpMetadata: { contentType: "application/x-ndjson" } });
    },
  };
}
