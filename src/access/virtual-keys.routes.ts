import * as z from "zod";
import { operation } from "../http/operation.ts";
import { pageOf } from "../http/page.ts";
import { PageQuery } from "../http/page.wire.ts";
import { isoTime } from "../platform/clock.ts";
import { maskedValue } from "./virtual-key.ts";
import type { AssignedKey } from "./virtual-keys.ts";
import { KeyRotation, VirtualKeyInput, VirtualKeyPatch, VirtualKeyView } from "./virtual-keys.wire.ts";

export const virtualKeyOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/virtual-keys",
      needs: "org_admin",
      summary: "List the virtual keys of the org",
      query: PageQuery,
      status: 200,
      answer: pageOf(VirtualKeyView),
    },
    async ({ services, principal, query }) => {
      const page = await services.virtualKeys.list(principal.org, query);
      return { ...page, rows: page.rows.map((row) => viewOf(row)) };
    },
  ),
  operation(
    {
      method: "POST",
      path: "/v1/virtual-keys",
      needs: "org_admin",
      summary: "Create a virtual key; its value is in this answer only",
      body: VirtualKeyInput,
      status: 201,
      answer: VirtualKeyView,
      failures: ["conflict"],
    },
    async ({ services, principal, body }) => {
      const created = await services.virtualKeys.create(principal.org, principal.id, body);
      return viewOf(created, created.value);
    },
  ),
  operation(
    {
      method: "GET",
      path: "/v1/virtual-keys/:virtual_key_id",
      needs: "org_admin",
      summary: "Read a virtual key",
      status: 200,
      answer: VirtualKeyView,
    },
    async ({ services, principal, param }) =>
      viewOf(await services.virtualKeys.get(principal.org, param("virtual_key_id"))),
  ),
  operation(
    {
      method: "PATCH",
      path: "/v1/virtual-keys/:virtual_key_id",
      needs: "org_admin",
      summary: "Change the given fields of a virtual key; servers replaces all assignments",
      body: VirtualKeyPatch,
      status: 200,
      answer: VirtualKeyView,
      failures: ["conflict"],
    },
    async ({ services, principal, param, body }) =>
      viewOf(await services.virtualKeys.update(principal.org, param("virtual_key_id"), principal.id, body)),
  ),
  operation(
    {
      method: "POST",
      path: "/v1/virtual-keys/:virtual_key_id/rotate",
      needs: "org_admin",
      summary: "Give a virtual key another value; it is in this answer only",
      body: KeyRotation,
      status: 200,
      answer: VirtualKeyView,
    },
    async ({ services, principal, param, body }) => {
      const rotated = await services.virtualKeys.rotate(principal.org, param("virtual_key_id"), principal.id, body);
      return viewOf(rotated, rotated.value);
    },
  ),
  operation(
    {
      method: "DELETE",
      path: "/v1/virtual-keys/:virtual_key_id",
      needs: "org_admin",
      summary: "Delete a virtual key",
      status: 200,
      answer: z.strictObject({ deleted: z.literal(true) }),
    },
    async ({ services, principal, param }) => {
      await services.virtualKeys.remove(principal.org, param("virtual_key_id"));
      return { deleted: true as const };
    },
  ),
];

function viewOf({ key, servers }: AssignedKey, value = maskedValue(key.last4)): VirtualKeyView {
  return {
    virtual_key_id: key.virtual_key_id,
    org_id: key.org_id,
    name: key.name,
    description: key.description,
    value,
    previous_until: isoOrNull(key.previous_until),
    is_active: key.is_active,
    expires_at: isoOrNull(key.expires_at),
    last_used_at: isoOrNull(key.last_used_at),
    group_id: key.group_id,
    servers: servers.map(({ server_id, tools_to_execute }) => ({ server_id, tools_to_execute: [...tools_to_execute] })),
    created: isoTime(key.created),
    created_by: key.created_by,
    modified: isoTime(key.modified),
    modified_by: key.modified_by,
  };
}

function isoOrNull(at: number | null): string | null {
  return at === null ? null : isoTime(at);
}
