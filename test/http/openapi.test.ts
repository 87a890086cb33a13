import { describe, expect, it } from "vitest";
import * as z from "zod";
import { createApp, operations } from "../../src/app.ts";
import { FAILURES } from "../../src/failure/gateway-error.ts";
import { type Fields, schemaFields, schemaName } from "../../src/http/docs-schema.ts";
import { type DocumentedOperation, type JsonSchema, type OpenApi, openApiOf } from "../../src/http/openapi.ts";
import type { OperationSpec } from "../../src/http/operation.ts";
import { document, expectDocumented } from "../support/documented.ts";
import { startGateway } from "../support/gateway.ts";

const offline = () => Promise.reject(new Error("connection refused"));

/** Paths of the app that are no operations of the JSON API. */
const OTHERS = ["/openapi.json", "/docs", "/docs/docs.css"];
/** What people see in a browser. */
const PAGES = /^\/(oauth|connect|api\/oauth\/callback)(\/|$)/;

const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
);

const TYPE = z.enum(["string", "integer", "number", "boolean", "object", "array", "null"]);

/** Every object in a value, the value included. */
function* objectsIn(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const inner of Object.values(value)) yield* objectsIn(inner);
}

function schemasOf({ parameters, requestBody, responses }: DocumentedOperation): JsonSchema[] {
  const contents = [requestBody, ...Object.values(responses)].flatMap((part) => Object.values(part?.content ?? {}));
  return [...parameters, ...contents].map(({ schema }) => schema);
}

/** An answer as zod reads the document, its components made local. */
function answerSchema(operationId: string, status: number): z.ZodType {
  const found = documented.find(({ operation }) => operation.operationId === operationId);
  const [media] = Object.values(found?.operation.responses[status]?.content ?? {});
  const text = JSON.stringify({ ...media?.schema, $defs: document.components.schemas });
  return z.fromJSONSchema(JSON.parse(text.replaceAll("#/components/schemas/", "#/$defs/")));
}

describe("the OpenAPI document", () => {
  it("has the routes of the app, and no others [PS-75]", () => {
    const routed = createApp()
      .routes.filter(({ method, path }) => method !== "ALL" && !OTHERS.includes(path) && !PAGES.test(path))
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
    expect(documented.map(({ method, path }) => `${method.toUpperCase()} ${path}`).sort()).toEqual(routed.sort());
  });

  it("declares the parameters of each path [PS-75]", () => {
    for (const { path, operation } of documented) {
      const named = operation.parameters.filter((parameter) => parameter.in === "path").map(({ name }) => name);
      expect(named, path).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
    }
  });

  it("names each operation once [PS-75]", () => {
    const ids = documented.map(({ operation }) => operation.operationId);
    for (const id of ids) expect(id).toMatch(/^[a-z]+(_[a-z]+)+$/);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(
      expect.arrayContaining([
        "list_servers",
        "create_server",
        "get_server",
        "update_server",
        "delete_server",
        "discover_server",
        "list_server_tools",
        "approve_server_change",
        "approve_server_changes",
        "create_virtual_key",
        "get_health",
      ]),
    );
  });

  it("asks for a credential exactly where the route does [PS-75]", () => {
    for (const { spec } of operations) {
      const operation = document.paths[spec.path.replace(/:(\w+)/g, "{$1}")]?.[spec.method.toLowerCase()];
      const isOpen = spec.needs === "anyone";
      const schemes = {
        anyone: [],
        agent: ["virtual_key", "virtual_key_x_bf_vk", "virtual_key_x_api_key", "user_token"],
        others: ["user_token", "admin_key"],
      };
      const { needs } = spec;
      const taken = needs === "anyone" || needs === "agent" ? schemes[needs] : schemes.others;
      expect(operation?.security, spec.path).toEqual(taken.map((scheme) => ({ [scheme]: [] })));
      for (const scheme of taken) expect(document.components.securitySchemes).toHaveProperty(scheme);
      expect(Object.keys(operation?.responses ?? {}).includes("401"), spec.path).toBe(!isOpen);
    }
  });

  it("refers to nothing that it does not hold [PS-75]", () => {
    const refs = [...objectsIn(document)].flatMap(({ $ref }) => (typeof $ref === "string" ? [$ref] : []));
    expect(refs.length).toBeGreaterThan(0);
    for (const ref of refs) {
      expect(ref).toMatch(/^#\/components\/schemas\/\w+$/);
      expect(document.components.schemas).toHaveProperty([ref.replace("#/components/schemas/", "")]);
    }
  });

  it("holds JSON Schema that zod can read back [PS-75]", () => {
    for (const { operation } of documented) {
      for (const schema of schemasOf(operation)) {
        const text = JSON.stringify({ ...schema, $defs: document.components.schemas });
        const local = JSON.parse(text.replaceAll("#/components/schemas/", "#/$defs/"));
        expect(() => z.fromJSONSchema(local), operation.operationId).not.toThrow();
      }
    }
  });

  it.each([
    ["type", z.union([TYPE, z.array(TYPE).min(2)])],
    ["required", z.array(z.string())],
    ["enum", z.array(z.unknown()).min(1)],
    ["additionalProperties", z.union([z.boolean(), z.looseObject({})])],
    ["anyOf", z.array(z.looseObject({})).min(1)],
    ["prefixItems", z.array(z.looseObject({})).min(1)],
    ["maxLength", z.int().min(0)],
    ["maxItems", z.int().min(0)],
    ["format", z.string()],
    // Of earlier dialects only.
    ["nullable", z.never()],
    ["definitions", z.never()],
    ["$defs", z.never()],
  ])("writes the keyword %s as JSON Schema 2020-12 has it [PS-75]", (keyword, shape) => {
    const schemas = [...documented.flatMap(({ operation }) => schemasOf(operation)), document.components.schemas];
    for (const schema of walk(schemas)) {
      if (keyword in schema) expect(shape.safeParse(schema[keyword]).success, JSON.stringify(schema)).toBe(true);
    }
  });

  it("is the same text each time [PS-75]", () => {
    const specs = operations.map(({ spec }) => spec);
    expect(JSON.stringify(openApiOf(specs))).toBe(JSON.stringify(openApiOf(specs)));
  });

  it("lists every code an error can have [PS-75]", () => {
    expect(document.components.schemas["Problem"]?.properties?.["code"]).toEqual({
      type: "string",
      enum: Object.keys(FAILURES),
    });
  });

  it("tells the errors of a route by status and code [PS-75]", () => {
    const reconnect = document.paths["/v1/servers/{server_id}/reconnect"]?.["post"];
    const codes = Object.entries(reconnect?.responses ?? {}).flatMap(([status, { content }]) => {
      const code = content["application/problem+json"]?.schema.properties?.["code"];
      return typeof code === "object" ? [[status, code.enum]] : [];
    });
    expect(Object.fromEntries(codes)).toEqual({
      "400": ["ambiguous_credentials", "org_required", "read_only", "invalid_request"],
      "401": ["unauthorized"],
      "403": ["forbidden", "insufficient_scope"],
      "404": ["not_found"],
      "409": ["conflict"],
      "429": ["rate_limited"],
      "431": ["headers_too_large"],
      "500": ["internal", "encryption_key_missing", "sealed_payload_invalid"],
      "502": ["upstream_failed"],
      "503": ["unavailable"],
      "504": ["upstream_timeout"],
    });
  });

  it("describes a body by what may be sent and an answer by what is given [PS-75]", () => {
    const spec: OperationSpec = {
      method: "POST",
      path: "/v1/things/:thing_id/count",
      needs: "platform_admin",
      summary: "Count",
      body: z.strictObject({ at: z.iso.datetime(), times: z.coerce.number().int().default(1), any: z.unknown() }),
      query: z.object({ which: z.enum(["a", "b"]), deep: z.string().optional() }),
      status: 200,
      answer: z.strictObject({ times: z.int().default(1), left: z.string().nullable() }),
    };
    const operation = openApiOf([spec]).paths["/v1/things/{thing_id}/count"]?.["post"];
    expect(operation).toMatchObject({ operationId: "count_thing", tags: ["things"] });
    expect(operation?.parameters.map(({ name, in: place, required }) => [name, place, required])).toEqual([
      ["thing_id", "path", true],
      ["which", "query", true],
      ["deep", "query", false],
      ["X-Org-Id", "header", false],
    ]);
    expect(operation?.requestBody?.content["application/json"]?.schema).toMatchObject({
      properties: { at: { type: "string", format: "date-time" }, any: {} },
      required: ["at", "any"],
      additionalProperties: false,
    });
    expect(operation?.responses["200"]?.content["application/json"]?.schema).toEqual({
      type: "object",
      properties: {
        times: { type: "integer", default: 1 },
        left: { type: ["string", "null"] },
      },
      required: ["times", "left"],
      additionalProperties: false,
    });
  });

  it("refuses one name for two schemas [PS-75]", () => {
    const answerOf = (value: z.ZodType): OperationSpec => ({
      ...{ method: "GET", needs: "anyone", summary: "", status: 200 },
      path: `/v1/${value.type}`,
      answer: z.strictObject({ value }).meta({ id: "Twice" }),
    });
    expect(() => openApiOf([answerOf(z.string()), answerOf(z.int())])).toThrow("Twice");
  });
});

describe("GET /openapi.json", () => {
  it("is open to anyone, and is the document [PS-75]", async () => {
    const response = await startGateway(offline).fetch("/openapi.json");
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toBe("application/json");
    expect(await response.json()).toEqual(document);
  });

  it("describes what the routes really answer [PS-75]", async () => {
    const gateway = startGateway(offline);
    const created = await gateway.admin("POST", "/v1/servers", {
      name: "docs",
      server_url: "https://docs.example/mcp",
    });
    const server = await created.json<{ server_id: string }>();
    answerSchema("create_server", 201).parse(server);
    const key = await gateway.admin("POST", "/v1/virtual-keys", { name: "agent", servers: [] });
    answerSchema("create_virtual_key", 201).parse(await key.json());
    for (const [operationId, path] of [
      ["get_health", "/v1/health"],
      ["list_servers", "/v1/servers"],
      ["get_server", `/v1/servers/${server.server_id}`],
      ["list_server_tools", `/v1/servers/${server.server_id}/tools`],
      ["list_server_changes", `/v1/servers/${server.server_id}/changes`],
      ["list_virtual_keys", "/v1/virtual-keys"],
      ["get_allowlist", "/v1/allowlist"],
      ["list_calls", "/v1/calls"],
    ] as const) {
      const response = await gateway.admin("GET", path);
      expect(response.status, path).toBe(200);
      answerSchema(operationId, 200).parse(await response.json());
    }
    const missing = await gateway.admin("GET", "/v1/servers/none");
    answerSchema("get_server", 404).parse(await missing.json());
    expect(answerSchema("get_server", 200).safeParse({ ...server, extra: 1 }).success).toBe(false);
  });

  it("is held against every error that a test meets [PS-75]", async () => {
    const answer = (code: keyof typeof FAILURES) => Response.json({ code }, { status: FAILURES[code].status });
    await expectDocumented("POST", "/v1/servers?x=1", answer("conflict"));
    await expect(expectDocumented("GET", "/v1/servers", answer("conflict"))).rejects.toThrow("errors of list_servers");
    await expectDocumented("POST", "/v1/servers/s/changes/c/approve", answer("conflict"));
    await expect(expectDocumented("POST", "/v1/servers/s/changes/approve", answer("conflict"))).rejects.toThrow(
      "errors of approve_server_changes",
    );
  });

  it.each(OTHERS.map((path) => [path]))("refuses to be written: %s [PS-73]", async (path) => {
    const response = await startGateway(offline).fetch(path, { method: "POST" });
    expect(response.status).toBe(405);
    expect(response.headers.get("Allow")).toBe("GET");
    expect(response.headers.get("Content-Type")).toBe("application/problem+json");
    expect(await response.json()).toMatchObject({ code: "method_not_allowed" });
  });
});

describe("GET /docs", () => {
  const gateway = () => startGateway(offline);

  it("shows every operation and every schema, each where its links lead [PS-75]", async () => {
    const page = await (await gateway().fetch("/docs")).text();
    for (const { operation } of documented) {
      expect(page).toContain(`<h3 id="${operation.operationId}">`);
      expect(page).toContain(operation.summary.replaceAll("'", "&#39;"));
    }
    for (const name of Object.keys(document.components.schemas)) expect(page).toContain(`<h3 id="schema-${name}">`);
    const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, target] of page.matchAll(/ href="#([^"]*)"/g)) expect(ids).toContain(target);
  });

  it("runs no script and loads nothing from elsewhere [PS-75]", async () => {
    const response = await gateway().fetch("/docs");
    expect(response.headers.get("Content-Type")).toBe("text/html; charset=UTF-8");
    expect(response.headers.get("Content-Security-Policy")).toBe(
      "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    );
    const page = await response.text();
    expect(page).not.toMatch(/<(script|img|iframe|object|embed|base|style)\b|\b(on\w+|style|src)=|https?:/i);
    const loaded = [...page.matchAll(/<link[^>]* href="([^"]*)"/g)].map(([, href]) => href);
    expect(loaded).toEqual(["/docs/docs.css"]);
    const style = await gateway().fetch("/docs/docs.css");
    expect(style.headers.get("Content-Type")).toBe("text/css; charset=utf-8");
    expect(await style.text()).not.toMatch(/url\(|@import/);
  });

  it("shows the operations that have all words of the filter [PS-75]", async () => {
    const page = await (await gateway().fetch("/docs?q=Virtual+rotate")).text();
    expect([...page.matchAll(/<h3 id="([a-z_]+)">/g)].map(([, id]) => id)).toEqual(["rotate_virtual_key"]);
    expect(page).toContain(`1 of ${documented.length} operations.`);
  });

  it("shows a filter as text, whatever it holds [PS-75]", async () => {
    const page = await (await gateway().fetch(`/docs?q=${encodeURIComponent('"><script>alert(1)</script>')}`)).text();
    expect(page).toContain('value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"');
    expect(page).toContain(`0 of ${documented.length} operations.`);
  });
});

describe("a schema on the page", () => {
  const Row = z.strictObject({ id: z.string() }).meta({ id: "PageRow" });

  it.each<[z.ZodType, string]>([
    [z.string(), "string"],
    [z.string().nullable(), "string or null"],
    [z.iso.datetime().nullable(), "string (date-time) or null"],
    [z.int(), "integer"],
    [z.enum(["a", "b"]), '"a" or "b"'],
    [z.literal(true), "true"],
    [z.unknown(), "any value"],
    [z.array(z.unknown()), "array of any value"],
    [z.tuple([z.literal("*")]), '["*"]'],
    [z.record(z.string(), z.boolean()), "object of boolean"],
    [z.record(z.string(), z.unknown()), "object"],
    [z.strictObject({}), "object"],
    [z.array(Row), "array of #PageRow"],
  ])("has a name in words (%#) [PS-75]", (schema, name) => {
    expect(textOf(schemaName(converted(schema)))).toBe(name);
  });

  it("lists fields, those of lists and alternatives too [PS-75]", () => {
    const schema = z.strictObject({
      name: z.string().min(1).max(8).describe("What it is called."),
      inner: z.array(z.strictObject({ id: z.int().max(9) })).optional(),
      last: z.strictObject({ at: z.string() }).nullable(),
    });
    const flat = (fields: Fields): unknown[] =>
      fields.map(({ name, required, notes, fields: inner }) => [name, required, notes, flat(inner)]);
    expect(flat(schemaFields(converted(schema)))).toEqual([
      ["name", true, ["length at least 1", "length at most 8", "What it is called."], []],
      ["inner", false, [], [["id", true, ["at most 9"], []]]],
      ["last", true, [], [["at", true, [], []]]],
    ]);
  });

  function converted(answer: z.ZodType): JsonSchema {
    const spec = { method: "GET", path: "/v1/one", needs: "anyone", summary: "", status: 200, answer } as const;
    const made: OpenApi = openApiOf([spec]);
    return made.paths["/v1/one"]?.["get"]?.responses["200"]?.content["application/json"]?.schema ?? {};
  }

  function textOf(name: ReturnType<typeof schemaName>): string {
    return name.map(({ text, isLink }) => (isLink ? `#${text}` : text)).join("");
  }
});

/** The schemas in a value; a map of properties holds schemas and is none. */
function* walk(value: unknown): Generator<Record<string, unknown>> {
  for (const found of objectsIn(value)) {
    const isSchema = ["type", "$ref", "anyOf", "enum", "const"].some((keyword) => isKeyword(keyword, found[keyword]));
    if (isSchema) yield found;
  }
}

/** In a map of properties the same name has a schema behind it. */
function isKeyword(keyword: string, value: unknown): boolean {
  if (Array.isArray(value)) return keyword === "anyOf" || keyword === "enum" || keyword === "type";
  return typeof value === "string" || (keyword === "const" && value !== undefined && typeof value !== "object");
}
