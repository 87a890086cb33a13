import { withOutages } from "../failure/unavailable.ts";
import type { Connector } from "./connector.object.ts";
import type { Discovered } from "./connector.ts";

/** The way to the one `Connector` of a server. Each failure to reach one is `unavailable`. */
export interface ConnectorStub {
  discover(serverId: string): Promise<Discovered>;
  forget(serverId: string): Promise<void>;
}

export function connectorStub(namespace: DurableObjectNamespace<Connector>): ConnectorStub {
  return withOutages<ConnectorStub>({
    discover: async (serverId) => namespace.getByName(serverId).discover(),
    forget: async (serverId) => namespace.getByName(serverId).forget(),
  });
}
