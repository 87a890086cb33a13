/**
 * One declaration per operation of the JSON API. Routing, access and validation are made from it, so that none of them
 * can be forgotten for one route.
 */
import type { Context, Hono } from "hono";
import type * as z from "zod";
import { type FailureCode, GatewayError } from "../failure/gateway-error.ts";
import { isMember, isOrgAdmin, type Principal } from "../identity/principal.ts";
import { resourceOf } from "../identity/resource.ts";
import type { AppEnv } from "./app-env.ts";
import { readJson } from "./body.ts";
import { addressOf } from "./security.ts";
import { nativeSurface, type Surface } from "./surface.ts";
import { streamResponse, type TextStream } from "./text-stream.ts";

export interface OperationSpec {
  /** The wire it speaks; without one, that of the gateway's own API. */
  readonly surface?: Surface;
  /** The name in the OpenAPI document, where method and path do not make a good one. */
  readonly id?: string;
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With `:name` for each parameter. */
  readonly path: string;
  /**
   * Who may call it; checked before the body is read. A right includes those behind it. Where the path has `:org_id`,
   * that is the org the right must be in, else the one of PS-2. An `agent` comes with a virtual key or as a user, and
   * is let in as at the MCP doors.
   */
  readonly needs: "anyone" | "agent" | Right;
  readonly summary: string;
  readonly body?: z.ZodType;
  readonly query?: z.ZodType;
  /** The status of success. */
  readonly status: 200 | 201;
  /** What the answer is; a value outside it is a bug and never leaves. */
  readonly answer: z.ZodType;
  /** The media types that it can answer with instead of JSON, as a stream; `answer` is then what the text is. */
  readonly media?: readonly string[];
  /** What it can fail with besides what the rest of the declaration implies (`http/openapi.ts`). */
  readonly failures?: readonly FailureCode[];
}

/** An operation of the JSON API, which knows users. */
export interface ApiSpec extends OperationSpec {
  readonly needs: "anyone" | Right;
}

/** Any user; a member, or an admin, of the org; an admin of the platform. */
export type Right = "user" | "member" | "org_admin" | "platform_admin";

const HAS: Readonly<Record<Right, (principal: Principal) => boolean>> = {
  user: () => true,
  member: isMember,
  org_admin: isOrgAdmin,
  platform_admin: ({ isPlatformAdmin }) => isPlatformAdmin,
};

type Answer<S extends OperationSpec> = S extends { media: readonly string[] } ? TextStream : z.input<S["answer"]>;
type Output<T> = T extends z.ZodType ? z.output<T> : undefined;

export interface OperationInput<S extends ApiSpec> {
  readonly services: AppEnv["Variables"]["services"];
  readonly principal: S["needs"] extends "anyone" ? null : Principal;
  readonly body: Output<S["body"]>;
  readonly query: Output<S["query"]>;
  /** A parameter of the path, decoded. */
  readonly param: (name: string) => string;
  /** The org that `X-Org-Id` names; null without it. */
  readonly namedOrg: string | null;
  /** The gateway's own origin, as the client has reached it. */
  readonly self: string;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

export interface Operation {
  readonly spec: OperationSpec;
  readonly handle: (c: Context<AppEnv>) => Promise<Response>;
}

/** Binds a declaration to the use case that serves it. */
export function operation<const S extends ApiSpec>(
  spec: S,
  serve: (input: OperationInput<S>) => Promise<Answer<S>>,
): Operation {
  return {
    spec,
    async handle(c) {
      const { services } = c.var;
      const surface = spec.surface ?? nativeSurface;
      const principal = spec.needs === "anyone" ? null : await authorize(c, spec.needs);
      const input = {
        services,
        principal,
        body: spec.body === undefined ? undefined : validate(spec.body, await readJson(c.req.raw), surface),
        query: spec.query === undefined ? undefined : validate(spec.query, c.req.query(), surface),
        param: (name: string) => c.req.param(name) ?? "",
        namedOrg: c.req.header("X-Org-Id") ?? null,
        self: new URL(c.req.url).origin,
        waitUntil: (work: Promise<unknown>) => c.executionCtx.waitUntil(work),
      };
      // The declaration ties these types together; inside this generic function they cannot be seen to agree.
      const answer = await serve(input as OperationInput<S>);
      if (spec.media !== undefined) return streamResponse(answer as TextStream, spec.status);
      return c.json(spec.answer.parse(answer), spec.status);
    },
  };
}

/** @throws GatewayError as `Identity.api`; `forbidden` without the right */
async function authorize(c: Context<AppEnv>, needs: Right): Promise<Principal> {
  const { headers, url } = c.req.raw;
  const { identity, rateLimits } = c.var.services;
  const resource = resourceOf(new URL(url).origin, null);
  const principal = await rateLimits.guard(addressOf(headers), () =>
    identity.api(headers, resource, c.req.param("org_id")),
  );
  c.set("principal", principal);
  if (principal.kind === "virtual_key") {
    throw new GatewayError("forbidden", "A virtual key opens the agent doors only.");
  }
  if (HAS[needs](principal)) return principal;
  throw new GatewayError("forbidden", "You do not have the right to do this.");
}

/** Mounts operations, and refuses the other methods of their paths. */
export function mountOperations(app: Hono<AppEnv>, operations: readonly Operation[]): void {
  for (const { spec, handle } of operations) app.on(spec.method, spec.path, handle);
  for (const [path, group] of Map.groupBy(operations, ({ spec }) => spec.path)) {
    refuseOtherMethods(app, path, group.map(({ spec }) => spec.method).join(", "));
  }
}

/** Mounted behind the handlers of a path: any other method is refused with what is allowed (PS-73). */
export function refuseOtherMethods(app: Hono<AppEnv>, path: string, allowed: string): void {
  app.all(path, (c) => {
    c.header("Allow", allowed);
    throw new GatewayError("method_not_allowed", `This path takes ${allowed}.`);
  });
}

/** @throws GatewayError `unknown_field` or `invalid_request`, naming the field and never repeating the value. */
export function validate<T extends z.ZodType>(schema: T, value: unknown, surface: Surface): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.map(String) ?? [];
  if (issue?.code === "unrecognized_keys") {
    const field = [...path, issue.keys[0] ?? ""].join(".");
    throw new GatewayError("unknown_field", "This field is not known here.", { field });
  }
  const field = path.join(".");
  const message = surface.misfit(field, issue?.message ?? "is not valid");
  throw new GatewayError("invalid_request", message, field === "" ? {} : { field });
}
