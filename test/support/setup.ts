import { applyD1Migrations, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach } from "vitest";
import { expectNothingLeft, watchLog } from "./canaries.ts";

// Storage is isolated per file and not per test, and `reset` drops the schema with the rows. All migrations are applied
// as one: each takes a round trip of its own, before every test.
const schema = [{ name: "all", queries: env.TEST_MIGRATIONS.flatMap(({ queries }) => queries) }];
beforeEach(() => applyD1Migrations(env.DB, schema));
afterEach(async () => {
  try {
    await expectNothingLeft();
  } finally {
    await reset();
  }
});

watchLog();
