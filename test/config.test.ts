import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { readConfig, SETTINGS } from "../src/config.ts";

describe("the settings", () => {
  it("are all bound in the tests, at their defaults", () => {
    expect(SETTINGS.filter((name) => !(name in env))).toEqual([]);
    const { ADMIN_KEY, ENCRYPTION_KEYS } = env;
    const [bound, defaults] = [readConfig(env), readConfig({ ADMIN_KEY, ENCRYPTION_KEYS })];
    expect(JSON.stringify(bound)).toBe(JSON.stringify(defaults));
  });

  it("refuse what cannot be read, by name", () => {
    for (const [name, value] of [
      ["SNAPSHOT_TTL_MS", "soon"],
      ["JOURNAL_MODE", "never"],
      ["ALLOW_INSECURE_UPSTREAMS", "yes"],
      ["HEALTH_INTERVAL_MS", "-1"],
    ] as const) {
      expect(() => readConfig({ [name]: value }), name).toThrow(name);
    }
  });

  it("never show a secret", () => {
    const config = readConfig({ ADMIN_KEY: "c4n4ry", ENCRYPTION_KEYS: "k1:c4n4ry" });
    expect(JSON.stringify(config)).not.toContain("c4n4ry");
    expect(String(config.adminKey)).not.toContain("c4n4ry");
  });
});
