import { parseKeyPairsIntoRecord } from "@opentelemetry/core";
import * as z from "zod";
import { refusalOf } from "./platform/guarded-fetch.ts";
import { hopMarker } from "./platform/hop-marker.ts";
import { Secret } from "./platform/secret.ts";

const DAY_MS = 86_400_000;
const millis = (fallback: number) => z.coerce.number().int().min(0).max(DAY_MS).default(fallback);
const secret = z
  .string()
  .default("")
  .transform((text) => new Secret(text));

/** A setting that holds JSON; left empty, it is an empty object. */
const json = <T extends z.ZodType>(schema: T) =>
  z
    .string()
    .default("")
    .transform((text, context): unknown => {
      try {
        return text === "" ? {} : JSON.parse(text);
      } catch {
        context.addIssue({ code: "custom", message: "This is not JSON." });
        return z.NEVER;
      }
    })
    .pipe(schema);
const claim = z.string().min(1);
const unmapped = claim.nullable().default(null);
const Claims = z.strictObject({
  sub: claim.default("sub"),
  email: claim.default("email"),
  org: unmapped,
  roles: unmapped,
  groups: unmapped,
  group_admins: unmapped,
  platform_admin: z
    .strictObject({ claim, value: z.union([z.string().min(1), z.boolean()]) })
    .nullable()
    .default(null),
});

const Settings = z.object({
  ADMIN_KEY: secret,
  ENCRYPTION_KEYS: secret,
  DEFAULT_ORG: z.string().min(1).default("default"),
  SNAPSHOT_TTL_MS: millis(5_000),
  HEALTH_INTERVAL_MS: millis(300_000),
  DISCOVERY_INTERVAL_MS: millis(600_000),
  RUN_IDLE_MS: z.coerce
    .number()
    .int()
    .min(1_000)
    .max(30 * DAY_MS)
    .default(DAY_MS),
  JOURNAL_MODE: z.enum(["gathered", "sync"]).default("gathered"),
  REDACTED_FIELDS: z.string().default(""),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().default(""),
  OTEL_EXPORTER_OTLP_HEADERS: secret,
  AGGREGATE_PROMPTS_AND_RESOURCES: z.enum(["true", "false"]).default("false"),
  ALLOW_INSECURE_UPSTREAMS: z.enum(["true", "false"]).default("false"),
  ALLOWED_ORIGINS: z.string().default(""),
  OIDC_ISSUER: z.string().default(""),
  OIDC_AUDIENCE: z.string().default(""),
  OIDC_CLIENT_ID: z.string().default(""),
  OIDC_CLIENT_SECRET: secret,
  OIDC_SCOPES: z.string().default(""),
  OIDC_CLAIMS: json(Claims),
  OIDC_ROLES: json(z.record(z.string().min(1), z.enum(["org_admin", "member"]))),
});

/** The same, with what one setting asks of another. */
const Consistent = Settings.superRefine((settings, context) => {
  const problem = oidcProblem(settings) ?? otlpProblem(settings);
  if (problem !== null) context.addIssue({ code: "custom", path: [problem[0]], message: problem[1] });
});

/** The names of all settings. */
export const SETTINGS: readonly string[] = Object.keys(Settings.shape);

/** What an operator can set, read from the environment; nothing below `services.ts` reads `env`. */
export interface Config {
  readonly adminKey: Secret;
  readonly encryptionKeys: Secret;
  /** What this gateway knows its own requests by; null without keys. */
  readonly hop: string | null;
  /** The org of requests that name none (PS-2). */
  readonly defaultOrg: string;
  /** How far behind the truth an isolate may be (PS-7). */
  readonly snapshotTtlMs: number;
  /** How often servers are looked at (PS-65). */
  readonly intervals: { readonly healthMs: number; readonly discoveryMs: number };
  /** A run without a call for this long is closed (PS-43). */
  readonly runIdleMs: number;
  readonly journalMode: "gathered" | "sync";
  /** Parts of names of arguments whose values are not logged, besides those of PS-35. */
  readonly redactedFields: readonly string[];
  /** The operator's OpenTelemetry collector; null: nothing is recorded. */
  readonly telemetry: { readonly endpoint: string; readonly headers: Readonly<Record<string, Secret>> } | null;
  /** `/mcp` offers prompts, resources and completion of all servers as well (OT-1). */
  readonly aggregatesPromptsAndResources: boolean;
  /** A machine of a developer: plain http, loopback and private addresses may be contacted. */
  readonly isDevelopment: boolean;
  /** Origins whose pages may use the MCP doors, besides the gateway's own. */
  readonly allowedOrigins: readonly string[];
  /** The operator's identity provider; null: users cannot come in by one. */
  readonly oidc: OidcSettings | null;
}

/** The operator's identity provider, and how its claims are read (PS-3). */
export interface OidcSettings {
  /** Compared as a string, never as a URL: `https://a.example` and `https://a.example/` are two issuers. */
  readonly issuer: string;
  /** What access tokens must name in `aud`. */
  readonly audience: string;
  /** The gateway at the provider; null: nobody can sign in through the gateway, tokens are taken all the same. */
  readonly client: { readonly id: string; readonly secret: Secret | null } | null;
  /** What sign-in asks for besides `openid email`. */
  readonly scopes: readonly string[];
  readonly claims: ClaimNames;
  /** By value of the roles claim. */
  readonly roles: ReadonlyMap<string, "org_admin" | "member">;
}

/** Which claim says what: by its name, or by a path of names with dots between them. Null: no claim does. */
export interface ClaimNames {
  readonly sub: string;
  readonly email: string;
  readonly org: string | null;
  readonly roles: string | null;
  /** Ids of groups that the user is in. */
  readonly groups: string | null;
  /** Ids of groups that the user administers. */
  readonly group_admins: string | null;
  /** The claim that makes a platform admin by being this value, or a list with it. */
  readonly platform_admin: { readonly claim: string; readonly value: string | boolean } | null;
}

/** What the values of a roles claim mean unless `OIDC_ROLES` says it. */
const OWN_ROLES = { org_admin: "org_admin", member: "member" } as const;

/** @throws ZodError naming the variable that cannot be read: the gateway must not run on a guess. */
export function readConfig(env: unknown): Config {
  const settings = Consistent.parse(env);
  return {
    adminKey: settings.ADMIN_KEY,
    encryptionKeys: settings.ENCRYPTION_KEYS,
    hop: hopMarker(settings.ENCRYPTION_KEYS),
    defaultOrg: settings.DEFAULT_ORG,
    snapshotTtlMs: settings.SNAPSHOT_TTL_MS,
    intervals: { healthMs: settings.HEALTH_INTERVAL_MS, discoveryMs: settings.DISCOVERY_INTERVAL_MS },
    runIdleMs: settings.RUN_IDLE_MS,
    journalMode: settings.JOURNAL_MODE,
    redactedFields: listOf(settings.REDACTED_FIELDS),
    telemetry: telemetryOf(settings),
    aggregatesPromptsAndResources: settings.AGGREGATE_PROMPTS_AND_RESOURCES === "true",
    isDevelopment: settings.ALLOW_INSECURE_UPSTREAMS === "true",
    allowedOrigins: listOf(settings.ALLOWED_ORIGINS),
    oidc: settings.OIDC_ISSUER === "" ? null : oidcOf(settings),
  };
}

function telemetryOf(settings: z.infer<typeof Settings>): Config["telemetry"] {
  const endpoint = settings.OTEL_EXPORTER_OTLP_ENDPOINT.replace(/\/+$/, "");
  if (endpoint === "") return null;
  const headers = parseKeyPairsIntoRecord(settings.OTEL_EXPORTER_OTLP_HEADERS.reveal());
  return {
    endpoint,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, new Secret(value)])),
  };
}

/** Why the settings of the collector cannot be used. What its headers hold is secret, and not repeated. */
function otlpProblem(settings: z.infer<typeof Settings>): [name: string, reason: string] | null {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: given } = settings;
  if (endpoint === "") {
    return given.reveal() === "" ? null : ["OTEL_EXPORTER_OTLP_ENDPOINT", "There are headers for it."];
  }
  const refusal = refusalOf(endpoint, { allowInsecure: settings.ALLOW_INSECURE_UPSTREAMS === "true" });
  if (refusal !== null) return ["OTEL_EXPORTER_OTLP_ENDPOINT", refusal];
  if (/[?#]/.test(endpoint)) return ["OTEL_EXPORTER_OTLP_ENDPOINT", "It has neither query nor fragment."];
  const read = Object.entries(parseKeyPairsIntoRecord(given.reveal()));
  const isHeader = ([name, value]: [string, string]) =>
    /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && /^[\t\x20-\x7e]*$/.test(value);
  // What the library cannot read it leaves out, and a collector that is shown no credential takes nothing.
  const isRead = read.length === listOf(given.reveal()).length && read.every(isHeader);
  return isRead ? null : ["OTEL_EXPORTER_OTLP_HEADERS", "These are not pairs of name=value, separated by commas."];
}

/** What stands between commas. */
function listOf(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function oidcOf(settings: z.infer<typeof Settings>): OidcSettings {
  const secret = settings.OIDC_CLIENT_SECRET;
  const roles = Object.entries(settings.OIDC_ROLES);
  return {
    issuer: settings.OIDC_ISSUER,
    audience: settings.OIDC_AUDIENCE,
    client:
      settings.OIDC_CLIENT_ID === ""
        ? null
        : { id: settings.OIDC_CLIENT_ID, secret: secret.reveal() === "" ? null : secret },
    scopes: settings.OIDC_SCOPES.split(/[ ,]+/).filter((scope) => scope !== ""),
    claims: settings.OIDC_CLAIMS,
    roles: new Map(roles.length > 0 ? roles : Object.entries(OWN_ROLES)),
  };
}

/** Why the settings of the identity provider do not fit each other: the one to blame, and the reason. */
function oidcProblem(settings: z.infer<typeof Settings>): [name: string, reason: string] | null {
  const { OIDC_ISSUER: issuer, OIDC_CLAIMS: claims } = settings;
  const rest = ["OIDC_AUDIENCE", "OIDC_CLIENT_ID", "OIDC_SCOPES"] as const;
  if (issuer === "") {
    const orphan = rest.find((name) => settings[name] !== "");
    return orphan === undefined ? null : ["OIDC_ISSUER", `${orphan} is of no use without it.`];
  }
  const refusal = refusalOf(issuer, { allowInsecure: settings.ALLOW_INSECURE_UPSTREAMS === "true" });
  if (refusal !== null) return ["OIDC_ISSUER", refusal];
  // OpenID Connect Discovery 1.0 section 2, RFC 8414 section 2.
  if (/[?#]/.test(issuer)) return ["OIDC_ISSUER", "An issuer has neither query nor fragment."];
  if (settings.OIDC_AUDIENCE === "") return ["OIDC_AUDIENCE", "Without it, tokens for anybody else would be accepted."];
  if (settings.OIDC_CLIENT_ID === "" && settings.OIDC_CLIENT_SECRET.reveal() !== "") {
    return ["OIDC_CLIENT_ID", "There is a secret for it."];
  }
  if (claims.roles === null) {
    // Where claims do not decide roles, the members table decides all rights: a mapping would silently mean nothing.
    if (claims.groups !== null || claims.group_admins !== null) return ["OIDC_CLAIMS", "Groups need a roles claim."];
    if (Object.keys(settings.OIDC_ROLES).length > 0) return ["OIDC_ROLES", "OIDC_CLAIMS names no roles claim."];
  }
  return null;
}
