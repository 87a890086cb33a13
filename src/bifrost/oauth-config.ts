/** What an OAuth configuration holds, and how far it is. */
import type { Sealer } from "../credentials/sealing.ts";
import type { TokenClient } from "../credentials/token.ts";
import type { TokenAnswer } from "../credentials/token-answer.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { ServerInput } from "../registry/registry.wire.ts";
import type { OAuthConfigStatus } from "./oauth.wire.ts";
import type { SettledClient } from "./oauth-client.ts";
import type { OAuthConfig } from "./oauth-configs.store.ts";

/** A token that waits for its server. Secret. */
export interface WaitingToken {
  readonly token_id: string;
  readonly answer: TokenAnswer;
  /** Milliseconds since the Unix epoch. */
  readonly obtained_at: number;
  readonly client: TokenClient;
  /** Those that were asked for. */
  readonly scopes: readonly string[];
  /** Of the server that it was asked for. */
  readonly server_url: string;
}

/** What is sealed of a configuration, each part by itself. */
interface Parts {
  readonly server: ServerInput;
  readonly client: SettledClient;
  readonly token: WaitingToken;
}

export type ConfigSeals = ReturnType<typeof createConfigSeals>;

/** Only the configuration itself opens what is sealed of it (PS-50). */
export function createConfigSeals(sealer: Pick<Sealer, "seal" | "open">) {
  const ownerOf = (configId: string, part: keyof Parts) => `oauth_config:${configId}:${part}`;
  return {
    /** @throws GatewayError `encryption_key_missing` */
    seal: <P extends keyof Parts>(configId: string, part: P, value: Parts[P]): Promise<string> =>
      sealer.seal(JSON.stringify(value), ownerOf(configId, part)),
    /** @throws GatewayError `sealed_payload_invalid` */
    open: async <P extends keyof Parts>(configId: string, part: P, sealed: string): Promise<Parts[P]> =>
      JSON.parse(await sealer.open(sealed, ownerOf(configId, part))) as Parts[P],
  };
}

/** How far a configuration without a server is. @param now Milliseconds since the Unix epoch. */
export function progressOf({ status, expires_at }: OAuthConfig, now: number): OAuthConfigStatus["status"] {
  return (status === "pending" || status === "authorized") && expires_at <= now ? "expired" : status;
}

/** The scopes to ask for: those of the request, else those that are found. */
export function scopesOf({ oauth }: SettledClient): readonly string[] {
  return oauth.scopes.length > 0 ? oauth.scopes : oauth.scopes_found;
}

export function isUnknown(): GatewayError {
  return new GatewayError("not_found", "OAuth configuration not found");
}
