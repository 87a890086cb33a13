/** Which way imports point, and what only one file may do (style.md sections 2 to 4). */
import { describe, expect, it } from "vitest";

const sources = import.meta.glob<string>("../src/**/*.ts", { query: "?raw", import: "default", eager: true });

/** What is imported, and the only files below `src/` that may do so. */
const IMPORTERS: readonly (readonly [imported: RegExp, importers: RegExp])[] = [
  [/^hono(\/(?!html$)|$)/, /^(app|http\/.+|.+\.routes)\.ts$/],
  [/^hono\/html$/, /^(http\/.+|.+\.page)\.ts$/],
  [/^drizzle-orm(\/|$)/, /\.(store|tables)\.ts$/],
  [/^cloudflare:workers$/, /\.object\.ts$/],
  [/^zod$/, /^(app|config|http\/.+|.+\.(wire|routes))\.ts$/],
  [/\.tables\.ts$/, /\.(store|tables)\.ts$/],
  [/\.object\.ts$/, /^(index|.+\.stub)\.ts$/],
  [/\.migrations\.ts$/, /\.object\.ts$/],
  [/\/services\.ts$/, /^(app|http\/app-env|.+\.object)\.ts$/],
];

/** Files whose role leaves them little to import. */
const IMPORTS: readonly (readonly [importer: RegExp, imported: RegExp])[] = [
  [/\.tables\.ts$/, /^drizzle-orm(\/|$)|\.tables\.ts$/],
  [/\.wire\.ts$/, /^zod$|\.wire\.ts$/],
  [/\.migrations\.ts$/, /^$/],
];

/** What a text may hold in a few files only. */
const ONLY_IN: readonly (readonly [what: string, text: RegExp, files: RegExp])[] = [
  ["fetch", /(?<![\w.]|override async )fetch\(|globalThis/, /^platform\/guarded-fetch\.ts$/],
  ["env", /\benv\.(?!ts")|\bprocess\./, /^(services|health|.+\.object)\.ts$/],
  ["a revision", /"20\d\d-\d\d-\d\d"/, /^(gateway|connector)\/|^credentials\/credential-headers\.ts$/],
  ["module state", /^(export )?(let|var) /m, /^$/],
];

const COMPOSITION = /^(index|app|services|memory)\.ts$/;
const FOUNDATION = ["failure", "platform"];
const MAX_LINES = 400;

/** What a file does that its place and name do not allow. */
function violations(file: string, text: string): string[] {
  const found: string[] = [];
  const inFolder = file.includes("/");
  const home = inFolder ? file.slice(0, file.indexOf("/")) : "";
  for (const [, name = ""] of text.matchAll(/\b(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
    for (const [imported, importers] of IMPORTERS) {
      if (imported.test(name) && !importers.test(file)) found.push(`imports ${name}`);
    }
    for (const [importer, imported] of IMPORTS) {
      if (importer.test(file) && !imported.test(name)) found.push(`imports ${name}`);
    }
    if (!name.startsWith(".") || COMPOSITION.test(file)) continue;
    const path = new URL(name, `file:///${file}`).pathname.slice(1);
    const folder = path.includes("/") ? path.slice(0, path.indexOf("/")) : "";
    if (folder === home) continue;
    if (/\.(store|object|routes)\.ts$/.test(path)) found.push(`reaches into ${path}`);
    // A root file that composes nothing is as deep as the foundation.
    if ((!inFolder || FOUNDATION.includes(home)) && !FOUNDATION.includes(folder)) found.push(`looks up to ${path}`);
  }
  for (const [what, pattern, files] of ONLY_IN) if (pattern.test(text) && !files.test(file)) found.push(`uses ${what}`);
  if (text.split("\n").length > MAX_LINES + 1) found.push(`has more than ${MAX_LINES} lines`);
  return found;
}

/** The violations of many files, each `file: violation`. */
const inAll = (files: readonly (readonly [file: string, text: string])[]) =>
  files.flatMap(([file, text]) => violations(file, text).map((violation) => `${file}: ${violation}`));

describe("the sources", () => {
  it("do what their places and names allow", () => {
    expect(Object.keys(sources)).toContain("../src/services.ts");
    expect(inAll(Object.entries(sources).map(([path, text]) => [path.replace("../src/", ""), text]))).toEqual([]);
  });
});

describe("the rules", () => {
  it("refuse what they are for", () => {
    const broken = [
      ["registry/registry.ts", 'import { Hono } from "hono";', "imports hono"],
      ["identity/a.page.ts", 'import { Hono } from "hono";', "imports hono"],
      ["identity/a.routes.ts", 'import { html } from "hono/html";', "imports hono/html"],
      ["registry/registry.ts", 'import { eq } from "drizzle-orm";', "imports drizzle-orm"],
      ["calls/calls.ts", 'import { env } from "cloudflare:workers";', "imports cloudflare:workers"],
      ["access/admission.ts", 'import * as z from "zod";', "imports zod"],
      ["registry/registry.ts", 'import { servers } from "./registry.tables.ts";', "imports ./registry.tables.ts"],
      ["sessions/sessions.ts", 'import { Session } from "./session.object.ts";', "imports ./session.object.ts"],
      [
        "calls/calls.ts",
        'import { a } from "../sessions/session.migrations.ts";',
        "imports ../sessions/session.migrations.ts",
      ],
      ["calls/calls.ts", 'import type { Services } from "../services.ts";', "imports ../services.ts"],
      ["calls/calls.tables.ts", 'import { cut } from "./call.ts";', "imports ./call.ts"],
      ["calls/calls.wire.ts", 'import { cut } from "./call.ts";', "imports ./call.ts"],
      ["a/a.migrations.ts", 'import { POSTERN } from "../platform/version.ts";', "imports ../platform/version.ts"],
      ["gateway/a.ts", 'import type { S } from "../calls/calls.store.ts";', "reaches into calls/calls.store.ts"],
      ["gateway/modern/a.ts", 'const s = import("../../calls/calls.routes.ts");', "reaches into calls/calls.routes.ts"],
      ["platform/log.ts", 'export { cut } from "../calls/call.ts";', "looks up to calls/call.ts"],
      ["failure/a.ts", 'import { isJson } from "../http/body.ts";', "looks up to http/body.ts"],
      ["health.ts", 'import { isJson } from "./http/body.ts";', "looks up to http/body.ts"],
      ["connector/a.ts", "await fetch(url);", "uses fetch"],
      ["connector/a.ts", "await globalThis.fetch(url);", "uses fetch"],
      ["registry/registry.ts", "const db = env.DB;", "uses env"],
      ["calls/calls.ts", "const mode = process.env.MODE;", "uses env"],
      ["catalog/catalog.ts", 'if (revision === "2026-07-28") return;', "uses a revision"],
      ["calls/calls.ts", "let count = 0;", "uses module state"],
      ["calls/calls.ts", "\n".repeat(401), "has more than 400 lines"],
    ] as const;
    expect(inAll(broken.map(([file, text]) => [file, text]))).toEqual(broken.map(([file, , why]) => `${file}: ${why}`));
  });

  it("let through what they are not for", () => {
    const sound = [
      ["registry/registry.routes.ts", 'import { Hono } from "hono";'],
      ["identity/a.page.ts", 'import { html } from "hono/html";'],
      ["registry/registry.store.ts", 'import { generations } from "../catalog/catalog.tables.ts";'],
      ["connector/connector.ts", 'import { exposedName } from "../catalog/exposed-name.ts";'],
      ["sessions/session.stub.ts", 'import type { Session } from "./session.object.ts";'],
      ["sessions/session.object.ts", 'import { createServices } from "../services.ts";'],
      ["platform/guarded-fetch.ts", 'import { GatewayError } from "../failure/gateway-error.ts";\nfetch(request);'],
      ["services.ts", 'import { d1CallStore } from "./calls/calls.store.ts";'],
      ["index.ts", "export default { fetch: (request) => app.fetch(request) };"],
      ["http/a.ts", 'import type { AppEnv } from "./app-env.ts";'],
      ["calls/calls.ts", "\n".repeat(400)],
    ] as const;
    expect(inAll(sound)).toEqual([]);
  });
});
