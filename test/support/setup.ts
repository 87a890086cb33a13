import { applyD1Migrations, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach } from "vitest";
import { expectNothingLeft, watchLog } from "./canaries.ts";

// Storage is isolated per file and not per test, and `reset` drops the schema with the rows.
beforeEach(() => applyD1Migrations(env.DB, env.TEST_MIGRATIONS));
afterEach(async () => {
  try {
    await expectNothingLeft();
  } finally {
    await reset();
  }
});

watchLog();
