/**
 * An authorization server and the metadata of one resource, without a network: it keeps the rules of OAuth (codes once,
 * PKCE, client authentication, rotation), so that whoever breaks them is refused as a real one would refuse. What it
 * does wrong is the test's to say. Its errors echo what they were sent, secrets included (T-2).
 */
import { createHash } from "node:crypto";
import { type JWK, jwtVerify } from "jose";
import type { Clock } from "../../src/platform/clock.ts";
import { planted } from "./canaries.ts";

export type Endpoint = "resource_metadata" | "metadata" | "registration" | "token" | "revocation";

/** What happens to a request instead of its answer. */
export type Fault =
  /** No answer, ever. */
  | "hang"
  /** The connection breaks before anything is processed. */
  | "break"
  /** The request is processed, and then the connection breaks. */
  | "drop"
  /** These OAuth errors, with the status that belongs to them. */
  | "invalid_grant"
  | "invalid_client"
  | "unauthorized_client"
  /** A status, with the request echoed in a body of no meaning. */
  | number
  | (() => Response | Promise<Response>);

/** A request as the server got it. */
export interface Asked {
  readonly endpoint: Endpoint;
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly text: string;
  /** Of a form, or of the query without one. */
  readonly params: Readonly<Record<string, string>>;
}

export interface UpstreamClient {
  readonly client_id: string;
  readonly client_secret?: string;
  readonly token_endpoint_auth_method?: "none" | "client_secret_basic" | "client_secret_post" | "private_key_jwt";
  readonly redirect_uris?: readonly string[];
  /** The public key, for `private_key_jwt`. */
  readonly jwk?: JWK;
}

export interface UpstreamTokens {
  readonly access_token: string;
  readonly refresh_token: string | null;
  readonly client_id: string;
  readonly grant_type: string;
  /** Null for a client that acts for itself. */
  readonly user: string | null;
  readonly scope: string;
  readonly resource: string | null;
  /** Milliseconds since the epoch. */
  readonly expires_at: number;
}

/** How the server behaves; a test may change each at any time. */
export interface Behaviour {
  /** Laid over its metadata document; `undefined` leaves a member out. */
  metadata: Readonly<Record<string, unknown>>;
  /** Paths that answer with that document. */
  metadataPaths: readonly string[];
  /** Laid over the document of the resource; null: there is none. */
  resourceMetadata: Readonly<Record<string, unknown>> | null;
  /** Paths that answer with that document, at the resource's host. */
  resourcePaths: readonly string[];
  /** How long an access token is good for. */
  lifetimeS: number;
  /** The member of that name in answers; `undefined` leaves it out. */
  expiresIn: unknown;
  /** Laid over each token answer; `undefined` leaves a member out. */
  answer: Readonly<Record<string, unknown>>;
  givesRefreshTokens: boolean;
  rotates: boolean;
  /** Token answers as a form. */
  formEncoded: boolean;
  /** Laid over what is registered, and so over its answer. */
  registered: Partial<UpstreamClient> & Readonly<Record<string, unknown>>;
}

export interface AuthorizationServerOptions {
  readonly clock: Clock;
  readonly issuer?: string;
  /** The URL of the MCP server that it protects. */
  readonly resource?: string;
  readonly scopes?: readonly string[];
  /** What a request waits for, before it is looked at. */
  readonly before?: (endpoint: Endpoint) => Promise<void>;
}

type Family = { clientId: string; current: string | null; spent: Set<string>; access: Set<string>; ended: boolean };
type Code = { params: Readonly<Record<string, string>>; user: string; family: Family | null };
type Grant = Pick<UpstreamTokens, "client_id" | "grant_type" | "user" | "scope" | "resource">;

export type AuthorizationServer = ReturnType<typeof authorizationServer>;

export function authorizationServer({
  clock,
  issuer = "https://as.example",
  resource = "https://docs.example/mcp",
  scopes = ["read", "write"],
  before = async () => undefined,
}: AuthorizationServerOptions) {
  const { origin, pathname } = new URL(issuer);
  const at = (path: string) => `${origin}${path}`;
  const suffix = pathname === "/" ? "" : pathname;
  const behaviour: Behaviour = {
    metadata: {},
    metadataPaths: [`/.well-known/oauth-authorization-server${suffix}`],
    resourceMetadata: {},
    resourcePaths: [`/.well-known/oauth-protected-resource${new URL(resource).pathname}`],
    lifetimeS: 3_600,
    expiresIn: 3_600,
    answer: {},
    givesRefreshTokens: true,
    rotates: true,
    formEncoded: false,
    registered: {},
  };
  const requests: Asked[] = [];
  const issued: UpstreamTokens[] = [];
  const clients = new Map<string, UpstreamClient>();
  const codes = new Map<string, Code>();
  const families = new Map<string, Family>();
  const queued = new Map<Endpoint, Fault[]>();
  const lasting = new Map<Endpoint, Fault>();
  const revoked = new Set<string>();
  let made = 0;
  const fresh = (kind: string) => {
    planted();
    return `${kind}-${++made}-${crypto.randomUUID()}`;
  };

  const endpointOf = ({ host, pathname: path }: URL): Endpoint | null => {
    if (host === new URL(resource).host && path.startsWith("/.well-known/oauth-protected-resource")) {
      return "resource_metadata";
    }
    if (host !== new URL(issuer).host) return null;
    if (path === "/register") return "registration";
    if (path === "/token") return "token";
    if (path === "/revoke") return "revocation";
    return path.includes("/.well-known/") ? "metadata" : null;
  };

  async function answer(endpoint: Endpoint, request: Request): Promise<Response> {
    // `text()` warns of a form.
    const text = new TextDecoder().decode(await request.arrayBuffer());
    const { searchParams } = new URL(request.url);
    const isForm = request.headers.get("Content-Type")?.startsWith("application/x-www-form-urlencoded") ?? false;
    const params = Object.fromEntries(isForm ? new URLSearchParams(text) : searchParams);
    const asked = { endpoint, method: request.method, url: request.url, headers: request.headers, text, params };
    requests.push(asked);
    await before(endpoint);
    const fault = queued.get(endpoint)?.shift() ?? lasting.get(endpoint);
    if (fault === "hang") return hanging(request.signal);
    if (fault === "break") throw new TypeError("Network connection lost.");
    if (typeof fault === "function") return fault();
    if (typeof fault === "number") return new Response(`Status ${fault}: ${echoOf(asked)}`, { status: fault });
    if (fault !== undefined && fault !== "drop") return refuse(fault, asked);
    const response = await process(asked);
    if (fault === "drop") throw new TypeError("Network connection lost.");
    return response;
  }

  function process(asked: Asked): Response | Promise<Response> {
    const path = new URL(asked.url).pathname;
    switch (asked.endpoint) {
      case "resource_metadata": {
        const { resourceMetadata, resourcePaths } = behaviour;
        if (resourceMetadata === null || !resourcePaths.includes(path)) return notFound();
        return Response.json({
          ...{ resource, authorization_servers: [issuer], scopes_supported: scopes },
          ...resourceMetadata,
        });
      }
      case "metadata":
        return behaviour.metadataPaths.includes(path) ? Response.json(metadata()) : notFound();
      case "registration":
        return register(asked);
      case "token":
        return token(asked);
      case "revocation":
        return revocation(asked);
    }
  }

  function metadata(): Record<string, unknown> {
    return {
      issuer,
      authorization_endpoint: at("/authorize"),
      token_endpoint: at("/token"),
      registration_endpoint: at("/register"),
      revocation_endpoint: at("/revoke"),
      response_types_supported: ["code"],
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
      authorization_response_iss_parameter_supported: true,
      ...behaviour.metadata,
    };
  }

  function register(asked: Asked): Response {
    const wish = JSON.parse(asked.text) as UpstreamClient;
    const { token_endpoint_auth_method = "client_secret_basic" } = wish;
    const client = {
      ...wish,
      client_id: fresh("client"),
      token_endpoint_auth_method,
      ...(token_endpoint_auth_method === "none" ? {} : { client_secret: fresh("secret"), client_secret_expires_at: 0 }),
      ...behaviour.registered,
    };
    clients.set(client.client_id, client);
    return Response.json(client, { status: 201 });
  }

  async function token(asked: Asked): Promise<Response> {
    const { params } = asked;
    const client = await authenticated(asked);
    if (client === null) return refuse("invalid_client", asked);
    const { grant_type = "" } = params;
    const wanted = { client_id: client.client_id, grant_type, scope: params["scope"] ?? scopes.join(" ") };
    if (params["resource"] !== undefined && params["resource"] !== resource) return refuse("invalid_target", asked);
    const grant = { ...wanted, resource: params["resource"] ?? null, user: null };
    switch (grant_type) {
      case "authorization_code":
        return redeem(asked, grant);
      case "refresh_token":
        return refresh(asked, grant);
      case "client_credentials":
        if (methodOf(client) === "none") return refuse("unauthorized_client", asked);
        return give(grant, null);
      case "urn:ietf:params:oauth:grant-type:token-exchange":
        if (params["subject_token"] === undefined) return refuse("invalid_request", asked);
        return give({ ...grant, user: `subject of ${params["subject_token"]}` }, null, {
          issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        });
      default:
        return refuse("unsupported_grant_type", asked);
    }
  }

  function redeem(asked: Asked, grant: Grant): Response {
    const { params } = asked;
    const code = codes.get(params["code"] ?? "");
    const challenge = createHash("sha256")
      .update(params["code_verifier"] ?? "")
      .digest("base64url");
    if (code?.family != null) endFamily(code.family);
    if (
      code === undefined ||
      code.family !== null ||
      code.params["client_id"] !== grant.client_id ||
      code.params["redirect_uri"] !== params["redirect_uri"] ||
      code.params["code_challenge"] !== challenge
    ) {
      return refuse("invalid_grant", asked);
    }
    code.family = newFamily(grant.client_id);
    return give({ ...grant, user: code.user, scope: code.params["scope"] ?? scopes.join(" ") }, code.family);
  }

  function refresh(asked: Asked, grant: Grant): Response {
    const given = asked.params["refresh_token"] ?? "";
    const family = families.get(given);
    if (family?.spent.has(given)) endFamily(family);
    const last = issued.findLast(({ refresh_token }) => refresh_token === given);
    if (family === undefined || last === undefined || family.ended || family.clientId !== grant.client_id) {
      return refuse("invalid_grant", asked);
    }
    const scope = asked.params["scope"] ?? last.scope;
    const isNarrower = scope.split(" ").every((one) => last.scope.split(" ").includes(one));
    return isNarrower ? give({ ...grant, user: last.user, scope }, family) : refuse("invalid_scope", asked);
  }

  function give(grant: Grant, family: Family | null, more: Record<string, unknown> = {}): Response {
    const access_token = fresh("access");
    const gives = family !== null && behaviour.givesRefreshTokens;
    const renewed = gives && (family.current === null || behaviour.rotates) ? fresh("refresh") : null;
    if (family !== null) {
      family.access.add(access_token);
      if (renewed !== null) {
        if (family.current !== null) family.spent.add(family.current);
        family.current = renewed;
        families.set(renewed, family);
      }
    }
    const refresh_token = family?.current ?? null;
    issued.push({ ...grant, access_token, refresh_token, expires_at: clock() + behaviour.lifetimeS * 1000 });
    const { scope } = grant;
    const body = { access_token, token_type: "Bearer", expires_in: behaviour.expiresIn, scope, ...more };
    const all = JSON.parse(
      JSON.stringify({ ...body, ...(renewed === null ? {} : { refresh_token: renewed }), ...behaviour.answer }),
    ) as Record<string, unknown>;
    if (!behaviour.formEncoded) return Response.json(all, { headers: { "Cache-Control": "no-store" } });
    const form = Object.entries(all).map(([name, value]): [string, string] => [name, `${value}`]);
    return new Response(new URLSearchParams(form));
  }

  async function revocation(asked: Asked): Promise<Response> {
    const client = await authenticated(asked);
    if (client === null) return refuse("invalid_client", asked);
    const given = asked.params["token"] ?? "";
    const family = families.get(given);
    if (family?.clientId === client.client_id) endFamily(family);
    revoked.add(given);
    return new Response(null, { status: 200 });
  }

  const newFamily = (clientId: string): Family => ({
    ...{ clientId, current: null, ended: false },
    spent: new Set<string>(),
    access: new Set<string>(),
  });

  function endFamily(family: Family): void {
    family.ended = true;
    for (const token of family.access) revoked.add(token);
  }

  /** The client, if it has proved to be itself in the one way that it is registered for. */
  async function authenticated({ params, headers }: Asked): Promise<UpstreamClient | null> {
    const [scheme, encoded = ""] = (headers.get("Authorization") ?? "").split(" ");
    const [id = "", secret = ""] = scheme === "Basic" ? atob(encoded).split(":").map(formDecoded) : [];
    const assertion = params["client_assertion"];
    const method =
      scheme === "Basic"
        ? "client_secret_basic"
        : assertion !== undefined
          ? "private_key_jwt"
          : params["client_secret"] !== undefined
            ? "client_secret_post"
            : "none";
    const claimed = method === "client_secret_basic" ? id : (params["client_id"] ?? "");
    const client = clients.get(claimed);
    if (client === undefined || methodOf(client) !== method) return null;
    if (method === "none") return client;
    if (method !== "private_key_jwt") {
      return client.client_secret === (method === "client_secret_basic" ? secret : params["client_secret"])
        ? client
        : null;
    }
    if (params["client_assertion_type"] !== "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") return null;
    const rules = {
      audience: issuer,
      issuer: claimed,
      subject: claimed,
      currentDate: new Date(clock()),
      clockTolerance: 2,
    };
    return jwtVerify(assertion ?? "", client.jwk ?? {}, { ...rules, requiredClaims: ["exp", "jti"] }).then(
      () => client,
      () => null,
    );
  }

  /** Answers a request to its host, and one for the metadata of the resource; null: it is not meant. */
  function handle(request: Request): Promise<Response> | null {
    const url = new URL(request.url);
    const endpoint = endpointOf(url);
    if (endpoint !== null) return answer(endpoint, request);
    return url.host === new URL(issuer).host ? Promise.resolve(notFound()) : null;
  }

  /** Whether the resource takes an access token. */
  function isGood(accessToken: string): boolean {
    const tokens = issued.find(({ access_token }) => access_token === accessToken);
    return tokens !== undefined && tokens.expires_at > clock() && !revoked.has(accessToken);
  }

  return {
    issuer,
    resource,
    /** A test changes its members. */
    behaviour,
    /** Every request it has got, in order. */
    requests,
    /** Every answer with tokens that it has made, dropped ones included, in order. */
    issued,
    /** Clients by their id; a test may take them away. */
    clients,
    at,

    handle,

    /** The same for requests that nobody else answers. */
    network: async (request: Request): Promise<Response> =>
      (await handle(request)) ?? new Response(`No fake for ${request.url}`, { status: 599 }),

    /** The requests to one endpoint. */
    to: (endpoint: Endpoint) => requests.filter((asked) => asked.endpoint === endpoint),

    /** Adds a client, or replaces it; a URL as its id makes it one with a metadata document. */
    addClient: (client: UpstreamClient) => void clients.set(client.client_id, client),

    /** The next requests to an endpoint fail like this, one each. */
    failNext: (endpoint: Endpoint, ...faults: Fault[]) =>
      void queued.set(endpoint, [...(queued.get(endpoint) ?? []), ...faults]),

    /** All requests to an endpoint fail like this; null: no longer. */
    failAlways: (endpoint: Endpoint, fault: Fault | null) =>
      void (fault === null ? lasting.delete(endpoint) : lasting.set(endpoint, fault)),

    /**
     * What a person's browser does with an authorization URL: they agree to it, or do not.
     *
     * @param error Sent back instead of a code, with a text that no page may show as it is.
     * @returns Where the browser is sent back to, which nobody has asked for yet.
     * @throws Error for a request that a real server shows an error page for
     */
    visit(url: string, { user = "ada", error }: { user?: string; error?: string } = {}): string {
      const asked = new URL(url);
      const params = Object.fromEntries(asked.searchParams);
      const { client_id = "", redirect_uri = "", state, code_challenge = "" } = params;
      const client = clients.get(client_id);
      if (`${asked.origin}${asked.pathname}` !== metadata()["authorization_endpoint"])
        throw new Error(`Not mine: ${url}`);
      if (client === undefined) throw new Error(`No such client: ${client_id}`);
      if (!client.redirect_uris?.includes(redirect_uri)) throw new Error(`Not registered: ${redirect_uri}`);
      if (params["response_type"] !== "code") throw new Error(`No code asked for: ${url}`);
      if (params["code_challenge_method"] !== "S256" || !/^[\w-]{43}$/.test(code_challenge)) {
        throw new Error(`No PKCE: ${url}`);
      }
      const back = new URL(redirect_uri);
      if (state !== undefined) back.searchParams.set("state", state);
      back.searchParams.set("iss", issuer);
      if (error !== undefined) {
        back.searchParams.set("error", error);
        back.searchParams.set("error_description", "<script>c4n4ry</script>");
        return back.href;
      }
      const code = fresh("code");
      codes.set(code, { params, user, family: null });
      back.searchParams.set("code", code);
      return back.href;
    },

    isGood,

    /** Ends an access token, or the family of a refresh token, as an admin of the provider would. */
    revoke(token: string): void {
      const family = families.get(token);
      if (family !== undefined) endFamily(family);
      revoked.add(token);
    },

    /** What the resource answers to a request without a good token; undefined: it has one. */
    challenge(headers: Headers, scope?: string): Response | undefined {
      const token = headers.get("Authorization")?.replace(/^Bearer /i, "") ?? "";
      if (isGood(token)) return undefined;
      const { origin: host } = new URL(resource);
      const [path] = behaviour.resourcePaths;
      const known =
        behaviour.resourceMetadata === null || path === undefined ? [] : [`resource_metadata="${host}${path}"`];
      const asked = scope === undefined ? [] : [`scope="${scope}"`];
      const challenge = ["Bearer", [...known, ...asked].join(", ")].join(" ").trim();
      return new Response(`Unauthorized: ${token}`, { status: 401, headers: { "WWW-Authenticate": challenge } });
    },
  };
}

/** Ends when the one who asks gives up, as a connection does. */
function hanging(signal: AbortSignal): Promise<Response> {
  const { promise, reject } = Promise.withResolvers<Response>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason));
  return promise;
}

const notFound = () => new Response("No such page", { status: 404 });

const formDecoded = (text: string) => decodeURIComponent(text.replaceAll("+", " "));

function methodOf({ token_endpoint_auth_method, client_secret }: UpstreamClient): string {
  return token_endpoint_auth_method ?? (client_secret === undefined ? "none" : "client_secret_basic");
}

/** Everything that a request held, as a careless server would show it. */
function echoOf({ headers, text }: Asked): string {
  return `${text} ${headers.get("Authorization") ?? ""}`;
}

function refuse(error: string, asked: Asked): Response {
  const body = { error, error_description: `401 timeout not found: ${echoOf(asked)}` };
  return Response.json(body, { status: error === "invalid_client" ? 401 : 400 });
}
