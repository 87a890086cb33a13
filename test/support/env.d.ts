/** Bindings that only tests have. */
declare namespace Cloudflare {
  interface Env {
    ADMIN_KEY: string;
    ENCRYPTION_KEYS: string;
    TEST_RATE: RateLimit;
    TEST_ARCHIVE: R2Bucket;
    TEST_MIGRATIONS: import("cloudflare:test").D1Migration[];
  }
}
