/**
 * The JSON API as an OpenAPI 3.1 document, made from the declarations that route and validate (PS-75). Its schemas are
 * those of zod as JSON Schema 2020-12, which is the dialect of OpenAPI 3.1. The doors of agents are no JSON API and
 * stay out of it.
 */
import * as z from "zod";
import { FAILURES, type FailureCode } from "../failure/gateway-error.ts";
import { POSTERN } from "../platform/version.ts";
import type { OperationSpec } from "./operation.ts";
import { nativeSurface } from "./surface.ts";

export interface OpenApi {
  readonly openapi: "3.1.0";
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string }[];
  /** By path and by method in lower case. */
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: {
    readonly securitySchemes: Readonly<Record<string, unknown>>;
    readonly schemas: Readonly<Record<string, JsonSchema>>;
  };
}

export interface DocumentedOperation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  /** Who may call it. */
  readonly description: string;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly required: true; readonly content: Content };
  /** By status. */
  readonly responses: Readonly<Record<string, Answer>>;
}

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly description?: string;
  readonly schema: JsonSchema;
}

export interface Answer {
  readonly description: string;
  readonly content: Content;
}

export type JsonSchema = z.core.JSONSchema.BaseSchema;
/** By media type. */
type Content = Readonly<Record<string, { readonly schema: JsonSchema }>>;

const DESCRIPTION = `The JSON API of Postern. Send a token of the operator's identity provider, or \`ADMIN_KEY\`, as a \
bearer token.

Bodies are JSON objects; a field that is not known is refused. Date-times are ISO 8601 in UTC. Ids are opaque strings.

Every error is a problem document (RFC 9457) with a stable \`code\`, and every answer names its request in \
\`X-Request-Id\`. A known path with another method answers 405 with \`Allow\`, an unknown path 404.

Under \`/api\` servers and virtual keys are also there in Bifrost's wire format, for tooling that knows it, servers as \
MCP clients: fields that are not known are ignored, \`null\` counts as omitted, and errors have Bifrost's body.

Agents do not use this API. They speak MCP with \`/mcp\` for all their servers, or with \`/mcp/{server}\` for one; those \
that do not speak it call one tool at a time with \`POST /v1/mcp/tool/execute\`, with Bifrost's bodies and errors.`;

const SECURITY_SCHEMES = {
  user_token: { type: "http", scheme: "bearer", description: "A token of the operator's identity provider." },
  admin_key: {
    type: "http",
    scheme: "bearer",
    description: "The `ADMIN_KEY` of the gateway: an admin of the platform.",
  },
  virtual_key: { type: "http", scheme: "bearer", description: "A virtual key of an agent." },
  virtual_key_x_bf_vk: { type: "apiKey", in: "header", name: "x-bf-vk", description: "The same." },
  virtual_key_x_api_key: { type: "apiKey", in: "header", name: "x-api-key", description: "The same." },
};
type Scheme = keyof typeof SECURITY_SCHEMES;
const USERS: readonly Scheme[] = ["user_token", "admin_key"];
const AGENTS: readonly Scheme[] = ["virtual_key", "virtual_key_x_bf_vk", "virtual_key_x_api_key", "user_token"];

/** Any one of these credentials. */
function securityOf({ needs }: OperationSpec): DocumentedOperation["security"] {
  if (needs === "anyone") return [];
  return (needs === "agent" ? AGENTS : USERS).map((name) => ({ [name]: [] }));
}

/** Who may call an operation, in words. */
const WHO: Readonly<Record<OperationSpec["needs"], string>> = {
  anyone: "For anybody: it needs no credential.",
  agent: "For agents: with a virtual key, as a user, or as a user whom a key narrows.",
  user: "For every user.",
  member: "For members of the org.",
  org_admin: "For admins of the org.",
  platform_admin: "For admins of the platform.",
};

const ORG_ID: Parameter = {
  name: "X-Org-Id",
  in: "header",
  required: false,
  description: "The org to act in. Without it: the org of the token, the user's only one, or the default org.",
  schema: { type: "string" },
};

/** What an operation can fail with, by what its declaration says; it names the rest itself. */
const IMPLIED: readonly [applies: (spec: OperationSpec) => boolean, codes: readonly FailureCode[]][] = [
  [() => true, ["headers_too_large", "internal", "unavailable"]],
  // An unknown `X-Org-Id` is not found.
  [
    ({ needs }) => needs !== "anyone",
    [
      ...(["ambiguous_credentials", "org_required", "unauthorized", "forbidden", "insufficient_scope"] as const),
      ...(["not_found", "rate_limited"] as const),
    ],
  ],
  // Behind access control anything may have to be sealed or opened.
  [({ needs }) => needs !== "anyone" && needs !== "agent", ["encryption_key_missing", "sealed_payload_invalid"]],
  [({ path }) => paramsOf(path).length > 0, ["not_found"]],
  [({ query }) => query !== undefined, ["invalid_request"]],
  [({ query, surface }) => query !== undefined && surface?.isLenient !== true, ["unknown_field"]],
  [({ body, surface }) => body !== undefined && surface?.isLenient !== true, ["unknown_field"]],
  [({ body }) => body !== undefined, ["invalid_request", "invalid_json", "body_too_large", "unsupported_media_type"]],
];

/** The same operations give the same document, member by member in the same order. */
export function openApiOf(specs: readonly OperationSpec[]): OpenApi {
  const inputs = convert(specs, "input", ({ body, query }) => ({ body, query }));
  const outputs = convert(specs, "output", ({ answer, surface = nativeSurface }) => ({
    answer,
    failure: surface.failure,
  }));
  const paths: Record<string, Record<string, DocumentedOperation>> = {};
  for (const spec of specs) {
    const id = operationIdOf(spec);
    const body = inputs.parts[`${id}.body`];
    const isOpen = spec.needs === "anyone";
    const path = spec.path.replace(/:(\w+)/g, "{$1}");
    paths[path] ??= {};
    paths[path][spec.method.toLowerCase()] = {
      operationId: id,
      tags: [tagOf(spec)],
      summary: spec.summary,
      description: WHO[spec.needs],
      security: securityOf(spec),
      parameters: [
        ...paramsOf(spec.path).map(
          (name): Parameter => ({ name, in: "path", required: true, schema: { type: "string" } }),
        ),
        ...queryParameters(inputs.parts[`${id}.query`]),
        ...(isOpen || paramsOf(spec.path).includes("org_id") ? [] : [ORG_ID]),
      ],
      ...(body === undefined
        ? {}
        : { requestBody: { required: true as const, content: { "application/json": { schema: body } } } }),
      responses: {
        [spec.status]: {
          description: spec.status === 201 ? "Created" : "Done",
          content: Object.fromEntries(
            (spec.media ?? ["application/json"]).map((type) => [type, { schema: outputs.parts[`${id}.answer`] ?? {} }]),
          ),
        },
        ...failuresOf(spec, outputs.parts[`${id}.failure`] ?? {}),
      },
    };
  }
  return {
    openapi: "3.1.0",
    info: { title: "Postern", version: POSTERN.version, description: DESCRIPTION },
    servers: [{ url: "/" }],
    tags: [...new Set(specs.map(tagOf))].map((name) => ({ name })),
    paths,
    components: { securitySchemes: SECURITY_SCHEMES, schemas: { ...inputs.named, ...outputs.named } },
  };
}

/** Errors by status; each lists the codes that come with it, at their place in the error body. */
function failuresOf(spec: OperationSpec, failure: JsonSchema): Record<string, Answer> {
  const { codeAt, failureMediaType } = spec.surface ?? nativeSurface;
  const implied = IMPLIED.filter(([applies]) => applies(spec)).flatMap(([, codes]) => codes);
  const codes = new Set([...implied, ...(spec.failures ?? [])]);
  const byStatus = Map.groupBy(codes, (code) => FAILURES[code].status);
  const answers = [...byStatus].map(([status, same]) => {
    const narrowed = codeAt.reduceRight<JsonSchema>((inner, name) => ({ properties: { [name]: inner } }), {
      enum: same,
    });
    const description = same.map((code) => FAILURES[code].title).join(", ");
    return [status, { description, content: { [failureMediaType]: { schema: { ...failure, ...narrowed } } } }];
  });
  return Object.fromEntries(answers);
}

/** The codes that an error answer lists, wherever its wire has them. */
export function codesOf({ content }: Answer): string[] {
  const enumsIn = ({ properties = {}, ...schema }: JsonSchema): unknown[] => [
    ...(schema.enum ?? []),
    ...Object.values(properties).flatMap((inner) => (typeof inner === "boolean" ? [] : enumsIn(inner))),
  ];
  return Object.values(content).flatMap(({ schema }) => enumsIn(schema).map(String));
}

function queryParameters(schema: JsonSchema | undefined): Parameter[] {
  const required = schema?.required ?? [];
  return Object.entries(schema?.properties ?? {}).map(([name, property]) => ({
    name,
    in: "query",
    required: required.includes(name),
    schema: typeof property === "boolean" ? {} : property,
  }));
}

/**
 * Schemas of all operations, converted together, so that one name cannot stand for two of them: zod refuses that. What
 * has an `id` in its metadata becomes a component.
 */
function convert(
  specs: readonly OperationSpec[],
  io: "input" | "output",
  partsOf: (spec: OperationSpec) => Record<string, z.ZodType | undefined>,
): { parts: Record<string, JsonSchema>; named: Record<string, JsonSchema> } {
  const schemas = specs.flatMap((spec) =>
    Object.entries(partsOf(spec)).flatMap(([part, schema]) =>
      schema === undefined ? [] : [[`${operationIdOf(spec)}.${part}`, schema] as const],
    ),
  );
  const whole = z.toJSONSchema(z.object(Object.fromEntries(schemas)), {
    io,
    unrepresentable: "any",
    override({ jsonSchema }) {
      // What zod adds to every date-time and integer hides what a schema really says.
      if (jsonSchema.format === "date-time") delete jsonSchema.pattern;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  const text = JSON.stringify({ parts: whole.properties ?? {}, named: whole.$defs ?? {} });
  return JSON.parse(text.replaceAll('"$ref":"#/$defs/', '"$ref":"#/components/schemas/'));
}

const VERBS = { GET: "get", POST: "create", PUT: "set", PATCH: "update", DELETE: "delete" } as const;

/**
 * A name made of the method and the path: `list_servers`, `create_server`, `update_server`. A POST that creates nothing
 * is named by its last segment: `discover_server`, `approve_server_changes`.
 */
function operationIdOf({ id, method, path, status }: OperationSpec): string {
  if (id !== undefined) return id;
  const segments = path.split("/").slice(2);
  const isAction = method === "POST" && status !== 201;
  const action = isAction ? segments.pop() : undefined;
  const isMember = segments.at(-1)?.startsWith(":") ?? false;
  const nouns = segments.flatMap((segment, index) => {
    if (segment.startsWith(":")) return [];
    const isOne = segments[index + 1]?.startsWith(":") ?? status === 201;
    return [isOne ? segment.replace(/s$/, "") : segment];
  });
  const isList = method === "GET" && !isMember && nouns.at(-1)?.endsWith("s");
  return [action ?? (isList ? "list" : VERBS[method]), ...nouns].join("_").replaceAll("-", "_");
}

function tagOf({ path }: OperationSpec): string {
  return path.split("/")[2] ?? "";
}

function paramsOf(path: string): string[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = ""]) => name);
}
