import type { ServerRecord } from "../registry/server-record.ts";
import { canonicalResource } from "./resource-metadata.ts";
import type { Sealer } from "./sealing.ts";
import { clientSecretOwner } from "./set-up.ts";
import type { TokenClient } from "./token.ts";

/**
 * Our registration with the authorization server of a server, its secret open.
 *
 * @throws GatewayError `sealed_payload_invalid`, `encryption_key_missing`
 */
export async function clientOf(sealer: Pick<Sealer, "open">, record: ServerRecord): Promise<TokenClient> {
  const { server_id, client_secret_sealed: sealed } = record;
  return {
    issuer: record.oauth_issuer_url,
    client_id: record.client_id,
    client_secret: sealed === null ? null : await sealer.open(sealed, clientSecretOwner(server_id)),
    token_auth_method: record.token_endpoint_auth_method,
    token_endpoint: record.token_endpoint ?? "",
    revocation_endpoint: record.revocation_endpoint,
    resource: record.oauth_resource ?? canonicalResource(record.server_url),
  };
}
