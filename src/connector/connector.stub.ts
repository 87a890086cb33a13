import { GatewayError } from "../failure/gateway-error.ts";
import type { Connector } from "./connector.object.ts";
import type { Discovered } from "./connector.ts";

/** The way to the one `Connector` of a server. */
export interface ConnectorStub {
  /** @throws GatewayError `unavailable` when the object cannot be reached. */
  discover(serverId: string): Promise<Discovered>;
}

export function connectorStub(namespace: DurableObjectNamespace<Connector>): ConnectorStub {
  return {
    async discover(serverId) {
      try {
        return await namespace.getByName(serverId).discover();
      } catch (cause) {
        throw new GatewayError("unavailable", "The server could not be looked at. Try again.", { cause });
      }
    },
  };
}
