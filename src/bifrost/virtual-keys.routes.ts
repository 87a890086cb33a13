import { operation } from "../http/operation.ts";
import { ClientQuery } from "./bifrost.wire.ts";
import { bifrostSurface } from "./surface.ts";
import { KeyAnswer, KeyDeleted, KeyInput, KeyList, KeyWritten } from "./virtual-keys.wire.ts";

const LIST = "/api/governance/virtual-keys";
const ONE = `${LIST}/:vk_id`;
const shared = { surface: bifrostSurface, needs: "platform_admin", status: 200 } as const;

export const bifrostKeyOperations = [
  operation(
    {
      ...shared,
      id: "list_governance_virtual_keys",
      method: "GET",
      path: LIST,
      summary: "List the virtual keys of the org",
      query: ClientQuery,
      answer: KeyList,
    },
    async ({ services, principal, query }) => services.bifrostKeys.list(principal.org, query),
  ),
  operation(
    {
      ...shared,
      id: "create_governance_virtual_key",
      method: "POST",
      path: LIST,
      summary: "Create a virtual key; its value is in this answer only",
      body: KeyInput,
      answer: KeyWritten,
      failures: ["conflict"],
    },
    async ({ services, principal, body }) => ({
      message: "Virtual key created successfully",
      virtual_key: await services.bifrostKeys.create(principal.org, principal.id, body),
    }),
  ),
  operation(
    {
      ...shared,
      id: "get_governance_virtual_key",
      method: "GET",
      path: ONE,
      summary: "Read a virtual key",
      answer: KeyAnswer,
    },
    async ({ services, principal, param }) => ({
      virtual_key: await services.bifrostKeys.get(principal.org, param("vk_id")),
    }),
  ),
  operation(
    {
      ...shared,
      id: "update_governance_virtual_key",
      method: "PUT",
      path: ONE,
      summary: "Change the given fields of a virtual key; mcp_configs replaces all assignments",
      body: KeyInput,
      answer: KeyWritten,
      failures: ["conflict"],
    },
    async ({ services, principal, param, body }) => ({
      message: "Virtual key updated successfully",
      virtual_key: await services.bifrostKeys.update(principal.org, param("vk_id"), principal.id, body),
    }),
  ),
  operation(
    {
      ...shared,
      id: "delete_governance_virtual_key",
      method: "DELETE",
      path: ONE,
      summary: "Delete a virtual key",
      answer: KeyDeleted,
    },
    async ({ services, principal, param }) => {
      await services.bifrostKeys.remove(principal.org, param("vk_id"));
      return { message: "Virtual key deleted successfully" };
    },
  ),
];
