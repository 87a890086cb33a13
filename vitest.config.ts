import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

/** Of all projects together: about half of the time a test waits. Vitest wants the same number in each project. */
const WORKERS = 2;

export default defineConfig({
  test: {
    // Refusals and failures are logged; what they log is of interest where a test fails.
    silent: "passed-only",
    projects: [
      {
        plugins: [
          cloudflareTest(async () => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                ADMIN_KEY: "adm-for-tests",
                ENCRYPTION_KEYS: `k1:${btoa("a key for tests, 32 bytes long!!!")}`,
                // Every other setting at its default, so that nobody's `.dev.vars` decides what the tests see.
                DEFAULT_ORG: "default",
                SNAPSHOT_TTL_MS: "5000",
                HEALTH_INTERVAL_MS: "300000",
                DISCOVERY_INTERVAL_MS: "600000",
                RUN_IDLE_MS: "86400000",
                JOURNAL_MODE: "gathered",
                REDACTED_FIELDS: "",
                OTEL_EXPORTER_OTLP_ENDPOINT: "",
                OTEL_EXPORTER_OTLP_HEADERS: "",
                AGGREGATE_PROMPTS_AND_RESOURCES: "false",
                ALLOW_INSECURE_UPSTREAMS: "false",
                ALLOWED_ORIGINS: "",
                OIDC_ISSUER: "",
                OIDC_AUDIENCE: "",
                OIDC_CLIENT_ID: "",
                OIDC_CLIENT_SECRET: "",
                OIDC_SCOPES: "",
                OIDC_CLAIMS: "",
                OIDC_ROLES: "",
                TEST_MIGRATIONS: await readD1Migrations("./migrations"),
              },
              r2Buckets: ["TEST_ARCHIVE"],
              ratelimits: {
                // No test is to meet a limit by what others have done in its minute.
                PRINCIPAL_RATE: { namespace_id: "1", simple: { limit: 1_000_000, period: 60 } },
                ORG_RATE: { namespace_id: "2", simple: { limit: 1_000_000, period: 60 } },
                ADDRESS_RATE: { namespace_id: "3", simple: { limit: 1_000_000, period: 60 } },
                TEST_RATE: { namespace_id: "4", simple: { limit: 3, period: 60 } },
              },
              // Nothing leaves: a request without a fake is a visible failure.
              outboundService: (request: { url: string }) =>
                new Response(`No fake for ${request.url}`, { status: 599 }) as never,
            },
          })),
        ],
        test: {
          name: "workerd",
          include: ["test/**/*.test.ts"],
          exclude: ["test/bundle/**"],
          setupFiles: ["./test/support/setup.ts"],
          restoreMocks: true,
          testTimeout: 20_000,
          maxWorkers: WORKERS,
          isolate: false,
        },
      },
      {
        test: {
          name: "bundle",
          include: ["test/bundle/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Each file starts workerd and real servers.
          maxWorkers: WORKERS,
        },
      },
    ],
  },
});
