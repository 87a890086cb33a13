import * as z from "zod";
import { Secret } from "./platform/secret.ts";

const DAY_MS = 86_400_000;
const millis = (fallback: number) => z.coerce.number().int().min(0).max(DAY_MS).default(fallback);
const secret = z
  .string()
  .default("")
  .transform((text) => new Secret(text));

const Settings = z.object({
  ADMIN_KEY: secret,
  ENCRYPTION_KEYS: secret,
  DEFAULT_ORG: z.string().min(1).default("default"),
  SNAPSHOT_TTL_MS: millis(5_000),
  HEALTH_INTERVAL_MS: millis(300_000),
  DISCOVERY_INTERVAL_MS: millis(600_000),
  JOURNAL_MODE: z.enum(["gathered", "sync"]).default("gathered"),
  ALLOW_INSECURE_UPSTREAMS: z.enum(["true", "false"]).default("false"),
  ALLOWED_ORIGINS: z.string().default(""),
});

/** The names of all settings. */
export const SETTINGS: readonly string[] = Object.keys(Settings.shape);

/** What an operator can set, read from the environment; nothing below `services.ts` reads `env`. */
export interface Config {
  readonly adminKey: Secret;
  readonly encryptionKeys: Secret;
  /** The org of requests that name none (PS-2). */
  readonly defaultOrg: string;
  /** How far behind the truth an isolate may be (PS-7). */
  readonly snapshotTtlMs: number;
  /** How often servers are looked at (PS-65). */
  readonly intervals: { readonly healthMs: number; readonly discoveryMs: number };
  readonly journalMode: "gathered" | "sync";
  /** A machine of a developer: plain http, loopback and private addresses may be contacted. */
  readonly isDevelopment: boolean;
  /** Origins whose pages may use the MCP doors, besides the gateway's own. */
  readonly allowedOrigins: readonly string[];
}

/** @throws ZodError naming the variable that cannot be read: the gateway must not run on a guess. */
export function readConfig(env: unknown): Config {
  const settings = Settings.parse(env);
  return {
    adminKey: settings.ADMIN_KEY,
    encryptionKeys: settings.ENCRYPTION_KEYS,
    defaultOrg: settings.DEFAULT_ORG,
    snapshotTtlMs: settings.SNAPSHOT_TTL_MS,
    intervals: { healthMs: settings.HEALTH_INTERVAL_MS, discoveryMs: settings.DISCOVERY_INTERVAL_MS },
    journalMode: settings.JOURNAL_MODE,
    isDevelopment: settings.ALLOW_INSECURE_UPSTREAMS === "true",
    allowedOrigins: settings.ALLOWED_ORIGINS.split(",")
      .map((origin) => origin.trim())
      .filter((origin) => origin !== ""),
  };
}
