import { withOutages } from "../failure/unavailable.ts";
import { repeat } from "../platform/repeat.ts";
import type { Credential } from "./credential.object.ts";
import type { Authorization } from "./credential.ts";
import type { LeaseAnswer, LeaseAsk } from "./lease.ts";
import { credentialName, type Owner } from "./owner.ts";
import type { TokenRow } from "./token.ts";
import type { Disposal } from "./tokens.store.ts";

/** The way to the one `Credential` of a server and owner. Each failure to reach one is `unavailable`. */
export interface CredentialStub {
  lease(serverId: string, owner: Owner, ask: LeaseAsk): Promise<LeaseAnswer>;
  authorize(serverId: string, owner: Owner, authorization: Authorization): Promise<TokenRow | null>;
  dispose(disposal: Disposal): Promise<void>;
}

export function credentialStub(namespace: DurableObjectNamespace<Credential>): CredentialStub {
  const of = (serverId: string, owner: Owner) => namespace.getByName(credentialName(serverId, owner));
  return withOutages<CredentialStub>({
    // Each goes on from what the object has stored by then.
    lease: (serverId, owner, ask) => repeat<LeaseAnswer>(async () => of(serverId, owner).lease(ask)),
    authorize: (serverId, owner, authorization) => repeat(() => of(serverId, owner).authorize(authorization)),
    dispose: (disposal) => repeat(() => of(disposal.server_id, disposal).dispose(disposal)),
  });
}
