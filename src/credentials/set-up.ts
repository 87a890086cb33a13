/** Registering the gateway as a client of a server's authorization server: `cimd` and `dcr` (design.md section 8). */
import type { OAuthFields } from "../registry/oauth-fields.ts";
import type { ServerRecord } from "../registry/server-record.ts";
import type { TokenAuthMethod } from "./client-proof.ts";
import type { AuthorizationServer } from "./discovery.ts";
import { CONNECT_CALLBACK } from "./flows.ts";
import type { Found } from "./found.ts";
import type { RegisteredClient } from "./registration.ts";
import type { Sealer } from "./sealing.ts";

export interface SetUpDeps {
  /**
   * @param issuer As an admin has given it; `""` where none has.
   * @param self The gateway's own origin: nothing there is an authorization server of somebody's (PS-61).
   */
  readonly find: (
    server: {
      readonly server_url: string;
      readonly issuer: string;
    },
    self: string,
  ) => Promise<Found<AuthorizationServer>>;
  readonly register: (
    server: AuthorizationServer,
    client: { readonly redirectUris: readonly string[]; readonly scopes: readonly string[] },
  ) => Promise<Found<RegisteredClient>>;
  readonly sealer: Pick<Sealer, "seal">;
}

/** What a registration changes in the record of a server. */
export type Registration = Partial<ServerRecord>;

export type SetUp =
  | { readonly ok: true; readonly change: Registration }
  | { readonly ok: false; readonly message: string };

/** Where authorization servers may send browsers back to: natively, and on the Bifrost surface (BF-28). */
export function redirectUrisOf(self: string): string[] {
  return [`${self}${CONNECT_CALLBACK}`, `${self}/api/oauth/callback`];
}

/** The URL of the gateway's client id metadata document, which is its client id. */
export function clientMetadataUrl(self: string): string {
  return `${self}/oauth/client-metadata.json`;
}

/** What that document says. @see draft-ietf-oauth-client-id-metadata-document */
export function clientMetadata(self: string) {
  return {
    client_id: clientMetadataUrl(self),
    client_name: "Postern",
    client_uri: self,
    redirect_uris: redirectUrisOf(self),
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
    application_type: "web",
  };
}

/** Whether a server waits for a registration that the gateway makes itself (RB-13). */
export function isToBeRegistered({ auth_type, registration_mode, status }: ServerRecord): boolean {
  return auth_type.endsWith("oauth") && registration_mode !== "manual" && status !== "active";
}

const ENDPOINTS = ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"] as const;

export function createSetUp({ find, register, sealer }: SetUpDeps) {
  /** The values of an admin, where there are any; they win over those that are found. */
  function givenBy(record: ServerRecord): Pick<OAuthFields, "oauth_issuer_url" | (typeof ENDPOINTS)[number]> {
    const own = (field: (typeof ENDPOINTS)[number]) => (record.oauth_found.includes(field) ? null : record[field]);
    return {
      oauth_issuer_url: record.oauth_found.includes("oauth_issuer_url") ? "" : record.oauth_issuer_url,
      authorization_endpoint: own("authorization_endpoint"),
      token_endpoint: own("token_endpoint"),
      registration_endpoint: own("registration_endpoint"),
      revocation_endpoint: own("revocation_endpoint"),
    };
  }

  const search = (record: ServerRecord, self: string) =>
    find({ server_url: record.server_url, issuer: givenBy(record).oauth_issuer_url }, self);

  async function registerAt(
    found: AuthorizationServer,
    record: ServerRecord,
    self: string,
    others: readonly string[] = [],
  ): Promise<SetUp> {
    const given = givenBy(record);
    const endpoints = {
      authorization_endpoint: given.authorization_endpoint ?? found.authorization_endpoint,
      token_endpoint: given.token_endpoint ?? found.token_endpoint,
      registration_endpoint: given.registration_endpoint ?? found.registration_endpoint,
      revocation_endpoint: given.revocation_endpoint ?? found.revocation_endpoint,
    };
    const server: AuthorizationServer = { ...found, ...endpoints };
    const client = await clientAt(server, record, self, others);
    if (!client.ok) return client;
    const isGiven = (name: keyof typeof given) => given[name] !== null && given[name] !== "";
    const foundFields = (["oauth_issuer_url", ...ENDPOINTS] as const).filter((name) => !isGiven(name));
    return {
      ok: true,
      change: {
        ...endpoints,
        oauth_issuer_url: server.issuer,
        ...client.change,
        oauth_found: [...foundFields, "client_id", "token_endpoint_auth_method"],
        scopes_found: server.scopes,
        oauth_resource: server.resource,
        iss_required: server.iss_required,
        status: "active",
        status_reason: null,
      },
    };
  }

  return {
    /**
     * Finds the authorization server and registers there.
     *
     * @param self The gateway's own origin.
     * @param others Further ones that browsers may come back to.
     */
    async run(record: ServerRecord, self: string, others: readonly string[] = []): Promise<SetUp> {
      const found = await search(record, self);
      return found.ok ? registerAt(found.value, record, self, others) : { ok: false, message: found.failure.message };
    },

    /**
     * The same where a server has another authorization server by now, whose clients and tokens are others (protocol.md
     * 6.3 step 3). One that an admin has named stays.
     *
     * @returns Null where it has not, or does not say.
     */
    async follow(record: ServerRecord, self: string): Promise<SetUp | null> {
      const found = await search(record, self);
      const isOther = found.ok && found.value.issuer !== record.oauth_issuer_url;
      return isOther ? registerAt(found.value, record, self) : null;
    },
  };

  async function clientAt(
    server: AuthorizationServer,
    record: ServerRecord,
    self: string,
    others: readonly string[],
  ): Promise<SetUp> {
    if (record.registration_mode === "cimd") {
      if (!server.takes_client_metadata) {
        const message = "The authorization server takes no client id metadata documents; use dcr or manual.";
        return { ok: false, message };
      }
      const method: TokenAuthMethod = "none";
      const client = { client_id: clientMetadataUrl(self), client_secret_sealed: null };
      return { ok: true, change: { ...client, token_endpoint_auth_method: method } };
    }
    if (server.registration_endpoint === null) {
      const message = "The authorization server registers no clients; give a client_id with registration_mode manual.";
      return { ok: false, message };
    }
    const scopes = record.scopes.length > 0 ? record.scopes : server.scopes;
    const registered_origins = [...new Set([self, ...others])];
    const registered = await register(server, { redirectUris: registered_origins.flatMap(redirectUrisOf), scopes });
    if (!registered.ok) return { ok: false, message: registered.failure.message };
    const { client_id, client_secret, token_auth_method } = registered.value;
    const sealed =
      client_secret === null ? null : await sealer.seal(client_secret, clientSecretOwner(record.server_id));
    return {
      ok: true,
      change: {
        client_id,
        client_secret_sealed: sealed,
        token_endpoint_auth_method: token_auth_method,
        registered_origins,
      },
    };
  }
}

/** Whose sealed value a server's client secret is. */
export function clientSecretOwner(serverId: string): string {
  return `server:${serverId}:client_secret`;
}
