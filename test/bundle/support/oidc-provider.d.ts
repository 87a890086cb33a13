/** What the tests use of `oidc-provider`, which brings no types. */
declare module "oidc-provider" {
  import type { IncomingMessage, ServerResponse } from "node:http";

  interface Grant {
    addOIDCScope(scope: string): void;
    addResourceScope(resource: string, scope: string): void;
    save(): Promise<string>;
  }

  interface Context {
    readonly oidc: {
      readonly provider: Provider;
      readonly client: { readonly clientId: string };
      readonly session: { readonly accountId: string };
      readonly params: Readonly<Record<string, unknown>>;
    };
    /** The answer. */
    body: unknown;
  }

  interface Interaction {
    readonly prompt: { readonly name: string };
    readonly params: Readonly<Record<string, unknown>>;
    readonly session?: { readonly accountId: string };
  }

  /** Where the provider keeps things of one kind. */
  interface Adapter {
    upsert(id: string, payload: object): Promise<void>;
    find(id: string): Promise<{ readonly grantId?: string } | undefined>;
    consume(id: string): Promise<void>;
    destroy(id: string): Promise<void>;
  }

  interface TokenModel {
    readonly adapter: Adapter;
    find(value: string): Promise<{ destroy(): Promise<void> } | undefined>;
    revokeByGrantId(grantId: string): Promise<void>;
  }

  interface ClientCredentials {
    resourceServer: object;
    save(): Promise<string>;
  }

  export const errors: { readonly InvalidGrant: new (description: string) => Error };

  export class Provider {
    constructor(issuer: string, configuration: object);
    readonly Grant: { readonly adapter: Adapter } & (new (of: { clientId: string; accountId: string }) => Grant);
    readonly Client: { readonly adapter: Adapter };
    readonly AccessToken: TokenModel;
    readonly RefreshToken: TokenModel;
    readonly ClientCredentials: new (
      of: object,
    ) => ClientCredentials;
    readonly ResourceServer: new (
      identifier: string,
      of: object,
    ) => object;
    interactionDetails(incoming: IncomingMessage, outgoing: ServerResponse): Promise<Interaction>;
    registerGrantType(name: string, handler: (context: Context) => Promise<void>, parameters: readonly string[]): void;
    callback(): (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;
    interactionFinished(incoming: IncomingMessage, outgoing: ServerResponse, result: object): Promise<void>;
    on(event: string, listener: (context: Context, error: unknown) => void): void;
  }
}
