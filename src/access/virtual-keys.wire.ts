import * as z from "zod";
import { ToolList } from "../http/tool-list.wire.ts";

const KeyServers = z
  .array(z.strictObject({ server_id: z.string(), tools_to_execute: ToolList }))
  .max(1_000)
  .refine((list) => new Set(list.map(({ server_id }) => server_id)).size === list.length, "must not repeat a server");

export const VirtualKeyInput = z.strictObject({
  name: z.string(),
  description: z.string().max(1_000).optional(),
  is_active: z.boolean().optional(),
  servers: KeyServers.optional(),
});
export type VirtualKeyInput = z.infer<typeof VirtualKeyInput>;

export const VirtualKeyPatch = VirtualKeyInput.partial();
export type VirtualKeyPatch = z.infer<typeof VirtualKeyPatch>;

export const VirtualKeyView = z.strictObject({
  virtual_key_id: z.string(),
  org_id: z.string(),
  name: z.string(),
  description: z.string(),
  /** Whole in the answer of the creation, masked everywhere else (PS-8). */
  value: z.string(),
  is_active: z.boolean(),
  servers: z.array(z.strictObject({ server_id: z.string(), tools_to_execute: z.array(z.string()) })),
  created: z.iso.datetime(),
  created_by: z.string(),
  modified: z.iso.datetime(),
  modified_by: z.string(),
});
export type VirtualKeyView = z.infer<typeof VirtualKeyView>;
VirtualKeyView.register(z.globalRegistry, { id: "VirtualKey" });
