/** The doors and the middleware, in order. */
import { type Context, Hono } from "hono";
import * as z from "zod";
import { orgOperations } from "./access/orgs.routes.ts";
import { virtualKeyOperations } from "./access/virtual-keys.routes.ts";
import { clientOperations } from "./bifrost/clients.routes.ts";
import { EXECUTE_PATH, executeOperation } from "./bifrost/execute.routes.ts";
import { mcpLogOperations } from "./bifrost/mcp-logs.routes.ts";
import { createOAuthCallback, oauthOperations } from "./bifrost/oauth.routes.ts";
import { bifrostSurface } from "./bifrost/surface.ts";
import { bifrostKeyOperations } from "./bifrost/virtual-keys.routes.ts";
import { callOperations } from "./calls/calls.routes.ts";
import { catalogOperations } from "./catalog/catalog.routes.ts";
import { createConnectDoors } from "./credentials/connect.routes.ts";
import { tokenOperations } from "./credentials/tokens.routes.ts";
import { FAILURES, failureHeaders, GatewayError } from "./failure/gateway-error.ts";
import { createMcpDoors } from "./gateway/mcp.routes.ts";
import type { AppEnv } from "./http/app-env.ts";
import { createDocs } from "./http/docs.routes.ts";
import { mountOperations, type Operation } from "./http/operation.ts";
import { addressOf, checkHeaderSizes, SECURITY_HEADERS } from "./http/security.ts";
import { nativeSurface, type Surface } from "./http/surface.ts";
import { createOAuthDoors } from "./identity/oauth.routes.ts";
import { resourceOf } from "./identity/resource.ts";
import { createSignInDoors } from "./identity/sign-in.routes.ts";
import { instructionOperations } from "./instructions/instructions.routes.ts";
import { createMemory } from "./memory.ts";
import { causesOf, log } from "./platform/log.ts";
import { orgContextOperations } from "./registry/org-contexts.routes.ts";
import { registryOperations } from "./registry/registry.routes.ts";
import { runOperations } from "./runs/runs.routes.ts";
import { createServices, type Platform, realPlatform, type Services } from "./services.ts";

const Part = z.enum(["ok", "failed"]);
const Health = z.strictObject({
  status: z.literal("ok"),
  parts: z
    .strictObject({ database: Part, tokens: Part, grants: Part, encryption: Part })
    .optional()
    .describe("For admins of the platform."),
});

/** Served by hand: nobody needs a credential, and one that opens nothing is nobody's. */
const healthOperation: Operation = {
  spec: {
    method: "GET",
    path: "/v1/health",
    needs: "anyone",
    summary: "Whether the gateway can serve; for admins of the platform, each part of it",
    status: 200,
    answer: Health,
  },
  async handle(c) {
    const { health } = c.var.services;
    await health.check();
    const body = { status: "ok", ...((await isPlatformAdmin(c)) ? { parts: await health.parts() } : {}) };
    return c.json(Health.parse(body), 200);
  },
};

async function isPlatformAdmin(c: Context<AppEnv>): Promise<boolean> {
  const { headers, url } = c.req.raw;
  if (!headers.has("Authorization")) return false;
  const { identity, rateLimits } = c.var.services;
  const ask = () => identity.api(headers, resourceOf(new URL(url).origin, null), undefined);
  return rateLimits.guard(addressOf(headers), ask).then(
    (principal) => principal.isPlatformAdmin,
    () => false,
  );
}

/** Every operation of the JSON API. */
export const operations: readonly Operation[] = [
  healthOperation,
  ...registryOperations,
  ...orgContextOperations,
  ...catalogOperations,
  ...tokenOperations,
  ...virtualKeyOperations,
  ...orgOperations,
  ...instructionOperations,
  ...callOperations,
  ...runOperations,
  executeOperation,
  ...clientOperations,
  ...oauthOperations,
  ...bifrostKeyOperations,
  ...mcpLogOperations,
];

/** Makes the app with a memory of its own: one per isolate. */
export function createApp(overrides: Partial<Platform> = {}): Hono<AppEnv> {
  const platform = { ...realPlatform, ...overrides };
  const memory = createMemory(platform.clock);
  const app = new Hono<AppEnv>();
  // Wiring costs more than a cached call does, and an isolate gets the same bindings with every request.
  let wired: { readonly env: Env; readonly services: Services; isProvided: boolean } | undefined;

  app.use(async (c, next) => {
    const requestId = crypto.randomUUID();
    c.set("requestId", requestId);
    if (wired?.env !== c.env) {
      wired = { env: c.env, services: createServices(c.env, platform, memory), isProvided: false };
    }
    c.set("services", wired.services);
    if (!wired.isProvided) {
      await wired.services.provide().catch((thrown) => log("error", "provide_failed", { causes: causesOf(thrown) }));
      wired.isProvided = true;
    }
    await next();
    secure(c.res, requestId);
  });

  app.route("/", createMcpDoors(report));
  app.route("/", createOAuthDoors(report));
  app.route("/", createSignInDoors(report));
  app.route("/", createConnectDoors(report));
  app.route("/", createOAuthCallback(report));
  app.route("/", createDocs(operations.map(({ spec }) => spec)));

  for (const path of ["/v1/*", "/api/*"]) {
    app.use(path, (c, next) => {
      checkHeaderSizes(c.req.raw.headers);
      return next();
    });
  }
  mountOperations(app, operations);
  app.notFound((c) => refuse(new GatewayError("not_found", "There is nothing at this path."), c));
  app.onError((thrown, c) => refuse(GatewayError.from(thrown), c));
  return app;
}

/** What is done from time to time, whoever asks for something or not. */
export async function runSchedule(env: Env, overrides: Partial<Platform> = {}): Promise<void> {
  const services = createServices(env, { ...realPlatform, ...overrides });
  // Neither waits for, or falls with, the other.
  const done = await Promise.allSettled([services.sweepCalls(), services.tokens.disposeRest()]);
  for (const one of done) {
    // The platform notes that something has failed; what, is in the log.
    if (one.status === "rejected") throw one.reason;
  }
}

/** The answer of the JSON API to a failure; also where no middleware comes behind it any more. */
function refuse(error: GatewayError, c: Context<AppEnv>): Response {
  report(error, c);
  if (error.code === "unauthorized") c.header("WWW-Authenticate", "Bearer");
  for (const [name, value] of Object.entries(failureHeaders(error))) c.header(name, value);
  const response = surfaceAt(c.req.path).refuse(error, c.var.requestId, Object.fromEntries(c.res.headers));
  secure(response, c.var.requestId);
  return response;
}

/** Whose wire an error is told on: Bifrost's on its paths, also where they lead nowhere, and at execute (B.3). */
function surfaceAt(path: string): Surface {
  return path === EXECUTE_PATH || /^\/api(\/|$)/.test(path) ? bifrostSurface : nativeSurface;
}

/** What every answer carries. */
function secure({ headers }: Response, requestId: string): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) headers.set(name, value);
  headers.set("X-Request-Id", requestId);
}

/** What the log says of a failure: outages and bugs with their causes, refused access as an event, the rest nothing. */
function report(error: GatewayError, c: Context<AppEnv>): void {
  const { code } = error;
  const who = {
    principal: c.var.principal?.id ?? null,
    org: c.var.principal?.org ?? null,
    address: addressOf(c.req.raw.headers),
  };
  const values = { requestId: c.var.requestId, code, method: c.req.method, path: c.req.path, ...who };
  if (FAILURES[code].status >= 500) log("error", "request_failed", { ...values, causes: causesOf(error) });
  else if (REFUSALS.has(code)) log("warn", "access_refused", { ...values, why: error.message });
}

const REFUSALS: ReadonlySet<string> = new Set([
  ...["unauthorized", "forbidden", "insufficient_scope", "ambiguous_credentials", "rate_limited"],
]);
