/** Which servers `/mcp` offers prompts and resources of, where the operator has turned that on (OT-1). */
import { admitServer } from "../../access/admission.ts";
import type { Server } from "../../catalog/snapshot.ts";
import { carried, FORWARDED } from "../offered.ts";
import type { DoorRequest } from "../request.ts";

/** The methods that lists of all servers are made for, and the member of the result that is the list. */
export const LISTS: Readonly<Record<string, "prompts" | "resources" | "resourceTemplates">> = {
  "prompts/list": "prompts",
  "resources/list": "resources",
  "resources/templates/list": "resourceTemplates",
};

/** Whether a method is one that the door answers for all servers. */
export function isAggregated({ slug, services }: DoorRequest, method: string): boolean {
  return slug === null && services.config.aggregatesPromptsAndResources && Object.hasOwn(FORWARDED, method);
}

/** Whether this caller may ask a server this: it may use the server, and the server has said that it can. */
export function mayAsk({ principal, filters }: DoorRequest, server: Server, method: string): boolean {
  const needs = FORWARDED[method];
  if (needs === undefined || admitServer(principal, filters, server) !== null) return false;
  return needs in carried(server, server.record.era ?? "legacy");
}

/** Those of them that there are, by name. */
export function serversFor(request: DoorRequest, method: string): Server[] {
  return [...request.snapshot.servers.values()]
    .filter((server) => mayAsk(request, server, method))
    .sort((a, b) => (a.record.name < b.record.name ? -1 : 1));
}
