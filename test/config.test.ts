import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { readConfig, SETTINGS } from "../src/config.ts";

const PROVIDER = { OIDC_ISSUER: "https://id.example", OIDC_AUDIENCE: "https://gateway.example" };

describe("the settings", () => {
  it("are all bound in the tests, at their defaults", () => {
    expect(SETTINGS.filter((name) => !(name in env))).toEqual([]);
    const { ADMIN_KEY, ENCRYPTION_KEYS } = env;
    const [bound, defaults] = [readConfig(env), readConfig({ ADMIN_KEY, ENCRYPTION_KEYS })];
    expect(JSON.stringify(bound)).toBe(JSON.stringify(defaults));
  });

  it("take lists with commas between their members", () => {
    const { redactedFields, allowedOrigins } = readConfig({
      REDACTED_FIELDS: " a, b-c ,,",
      ALLOWED_ORIGINS: "https://x",
    });
    expect({ redactedFields, allowedOrigins }).toEqual({ redactedFields: ["a", "b-c"], allowedOrigins: ["https://x"] });
  });

  it("refuse what cannot be read, by name", () => {
    for (const [name, value] of [
      ["SNAPSHOT_TTL_MS", "soon"],
      ["JOURNAL_MODE", "never"],
      ["ALLOW_INSECURE_UPSTREAMS", "yes"],
      ["HEALTH_INTERVAL_MS", "-1"],
      ["RUN_IDLE_MS", "0"],
    ] as const) {
      expect(() => readConfig({ [name]: value }), name).toThrow(name);
    }
  });

  it("never show a secret", () => {
    const client = { OIDC_CLIENT_ID: "postern", OIDC_CLIENT_SECRET: "c4n4ry" };
    const config = readConfig({ ADMIN_KEY: "c4n4ry", ENCRYPTION_KEYS: "k1:c4n4ry", ...PROVIDER, ...client });
    expect(config.oidc?.client?.secret?.reveal()).toBe("c4n4ry");
    expect(JSON.stringify(config)).not.toContain("c4n4ry");
    expect(String(config.adminKey)).not.toContain("c4n4ry");
  });
});

describe("the settings of the collector", () => {
  const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "https://otel.example/otlp/" };

  it("are none by default", () => {
    expect(readConfig({}).telemetry).toBeNull();
  });

  it("are its base URL, and headers as OpenTelemetry writes them", () => {
    const OTEL_EXPORTER_OTLP_HEADERS = "Authorization=Basic%20YTpi, x-tenant = blue";
    const { telemetry } = readConfig({ ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS });
    expect(telemetry?.endpoint).toBe("https://otel.example/otlp");
    const headers = Object.entries(telemetry?.headers ?? {}).map(([name, value]) => [name, value.reveal()]);
    expect(headers).toEqual([
      ["Authorization", "Basic YTpi"],
      ["x-tenant", "blue"],
    ]);
    expect(JSON.stringify(telemetry)).not.toContain("YTpi");
  });

  it.each<[string, Record<string, string>]>([
    ["OTEL_EXPORTER_OTLP_ENDPOINT", { OTEL_EXPORTER_OTLP_ENDPOINT: "http://otel.example" }],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", { OTEL_EXPORTER_OTLP_ENDPOINT: "https://10.0.0.1" }],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", { OTEL_EXPORTER_OTLP_ENDPOINT: "https://a:b@otel.example" }],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", { OTEL_EXPORTER_OTLP_ENDPOINT: "https://otel.example?key=1" }],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", { OTEL_EXPORTER_OTLP_HEADERS: "a=1" }],
    ["OTEL_EXPORTER_OTLP_HEADERS", { ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "c4n4ry" }],
    ["OTEL_EXPORTER_OTLP_HEADERS", { ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "a=1,c4n4ry" }],
    ["OTEL_EXPORTER_OTLP_HEADERS", { ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "a=c4n4ry%0A" }],
    ["OTEL_EXPORTER_OTLP_HEADERS", { ...ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: "a b=c4n4ry" }],
  ])("blame %s, without a word of what is secret: %o", (name, vars) => {
    expect(() => readConfig(vars)).toThrow(name);
    expect(() => readConfig(vars)).not.toThrow("c4n4ry");
  });

  it("may name a collector on the same machine in development", () => {
    const vars = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318", ALLOW_INSECURE_UPSTREAMS: "true" };
    expect(readConfig(vars).telemetry?.endpoint).toBe("http://127.0.0.1:4318");
  });
});

describe("the settings of the identity provider", () => {
  it("are none by default", () => {
    expect(readConfig({}).oidc).toBeNull();
  });

  it("map the standard claims, and give roles their own names", () => {
    expect(readConfig(PROVIDER).oidc).toEqual({
      issuer: "https://id.example",
      audience: "https://gateway.example",
      client: null,
      scopes: [],
      claims: {
        sub: "sub",
        email: "email",
        org: null,
        roles: null,
        groups: null,
        group_admins: null,
        platform_admin: null,
      },
      roles: new Map([
        ["org_admin", "org_admin"],
        ["member", "member"],
      ]),
    });
  });

  it("are read as they are given", () => {
    const { oidc } = readConfig({
      ...PROVIDER,
      OIDC_CLIENT_ID: "postern",
      OIDC_SCOPES: " profile  groups",
      OIDC_CLAIMS: '{"roles":"realm_access.roles","platform_admin":{"claim":"is_root","value":true}}',
      OIDC_ROLES: '{"admins":"org_admin","staff":"member"}',
    });
    expect(oidc).toMatchObject({
      client: { id: "postern", secret: null },
      scopes: ["profile", "groups"],
      claims: { sub: "sub", roles: "realm_access.roles", platform_admin: { claim: "is_root", value: true } },
    });
    expect([...(oidc?.roles ?? [])]).toEqual([
      ["admins", "org_admin"],
      ["staff", "member"],
    ]);
  });

  it.each([
    ["OIDC_ISSUER", { OIDC_ISSUER: "id.example" }],
    ["OIDC_ISSUER", { OIDC_ISSUER: "http://id.example" }],
    ["OIDC_ISSUER", { OIDC_ISSUER: "https://10.0.0.1" }],
    ["OIDC_ISSUER", { OIDC_ISSUER: "https://user:pass@id.example" }],
    ["OIDC_ISSUER", { OIDC_ISSUER: "https://id.example?tenant=7" }],
    ["OIDC_ISSUER", { OIDC_ISSUER: "" }],
    ["OIDC_AUDIENCE", { OIDC_AUDIENCE: "" }],
    ["OIDC_CLIENT_ID", { OIDC_CLIENT_SECRET: "c4n4ry" }],
    ["OIDC_CLAIMS", { OIDC_CLAIMS: "roles" }],
    ["OIDC_CLAIMS", { OIDC_CLAIMS: "[]" }],
    ["OIDC_CLAIMS", { OIDC_CLAIMS: '{"role":"roles"}' }],
    ["OIDC_CLAIMS", { OIDC_CLAIMS: '{"roles":""}' }],
    ["OIDC_CLAIMS", { OIDC_CLAIMS: '{"platform_admin":"root"}' }],
    ["OIDC_CLAIMS", { OIDC_CLAIMS: '{"groups":"groups"}' }],
    ["OIDC_CLAIMS", { OIDC_CLAIMS: '{"group_admins":"leads"}' }],
    ["OIDC_ROLES", { OIDC_ROLES: '{"admins":"org_admin"}' }],
    ["OIDC_ROLES", { OIDC_CLAIMS: '{"roles":"roles"}', OIDC_ROLES: '{"admins":"platform_admin"}' }],
    ["OIDC_ROLES", { OIDC_CLAIMS: '{"roles":"roles"}', OIDC_ROLES: '["admins"]' }],
  ])("refuse, naming %s, %j", (name, settings) => {
    const given = { ...PROVIDER, ...settings };
    let message = "";
    try {
      readConfig(given);
    } catch (thrown) {
      message = `${thrown}`;
    }
    expect(message).toMatch(new RegExp(`"path": \\[\\s*"${name}"`));
    expect(message).not.toContain("c4n4ry");
  });

  it("may name a provider on this machine in development", () => {
    const { oidc } = readConfig({
      ...PROVIDER,
      OIDC_ISSUER: "http://127.0.0.1:4000",
      ALLOW_INSECURE_UPSTREAMS: "true",
    });
    expect(oidc?.issuer).toBe("http://127.0.0.1:4000");
  });
});
