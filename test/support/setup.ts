import { reset } from "cloudflare:test";
import { afterEach, beforeEach } from "vitest";
import { expectNothingLeft, watchLog } from "./canaries.ts";
import { createSchema } from "./schema.ts";

// Storage is isolated per file and not per test, and `reset` drops the schema with the rows.
beforeEach(createSchema);
afterEach(async () => {
  try {
    await expectNothingLeft();
  } finally {
    await reset();
  }
});

watchLog();
