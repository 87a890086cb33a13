import type { Owner } from "../credentials/owner.ts";
import { withOutages } from "../failure/unavailable.ts";
import type { Connector } from "./connector.object.ts";
import type { Discovered } from "./connector.ts";

/** The way to the one `Connector` of a server. Each failure to reach one is `unavailable`. */
export interface ConnectorStub {
  /** @param self An origin of the gateway, where one is known. */
  discover(serverId: string, self?: string, owner?: Owner): Promise<Discovered>;
  /** See `Connector.register`. */
  register(serverId: string, refused: string, self?: string): Promise<boolean>;
  /** See `Connector.follow`. */
  follow(serverId: string): Promise<boolean>;
  forget(serverId: string): Promise<void>;
}

export function connectorStub(namespace: DurableObjectNamespace<Connector>): ConnectorStub {
  return withOutages<ConnectorStub>({
    discover: async (serverId, self, owner) => namespace.getByName(serverId).discover(self, owner),
    register: async (serverId, refused, self) => namespace.getByName(serverId).register(refused, self ?? null),
    follow: async (serverId) => namespace.getByName(serverId).follow(),
    forget: async (serverId) => namespace.getByName(serverId).forget(),
  });
}
