import * as z from "zod";
import { ToolList } from "../http/tool-list.wire.ts";

/** D1 takes two megabytes in one parameter. */
const MAX_SERVERS_LENGTH = 1_000_000;

const KeyServers = z
  .array(z.strictObject({ server_id: z.string(), tools_to_execute: ToolList }))
  .max(1_000)
  .refine((list) => new Set(list.map(({ server_id }) => server_id)).size === list.length, "must not repeat a server")
  .refine((list) => JSON.stringify(list).length <= MAX_SERVERS_LENGTH, "must have at most a million characters");

export const VirtualKeyInput = z.strictObject({
  name: z.string(),
  description: z.string().max(1_000).optional(),
  is_active: z.boolean().optional(),
  expires_at: z.iso.datetime().nullable().optional().describe("From then on the key is refused. Null: never."),
  group_id: z.string().min(1).nullable().optional().describe("A group of the org, for people to sort keys by."),
  servers: KeyServers.optional(),
});
export type VirtualKeyInput = z.infer<typeof VirtualKeyInput>;

export const VirtualKeyPatch = VirtualKeyInput.partial();
export type VirtualKeyPatch = z.infer<typeof VirtualKeyPatch>;

/** Seven days. */
const MAX_OVERLAP_SECONDS = 604_800;

export const KeyRotation = z.strictObject({
  overlap_seconds: z
    .int()
    .min(0)
    .max(MAX_OVERLAP_SECONDS)
    .optional()
    .describe("How long the old value works beside the new one. Without it: no longer."),
});
export type KeyRotation = z.infer<typeof KeyRotation>;

export const VirtualKeyView = z.strictObject({
  virtual_key_id: z.string(),
  org_id: z.string(),
  name: z.string(),
  description: z.string(),
  /** Whole in the answer of the creation and of each rotation, masked everywhere else (PS-8). */
  value: z.string(),
  /** Until when the value before the last rotation works too. */
  previous_until: z.iso.datetime().nullable(),
  is_active: z.boolean(),
  expires_at: z.iso.datetime().nullable(),
  /** To the minute. */
  last_used_at: z.iso.datetime().nullable(),
  group_id: z.string().nullable(),
  servers: z.array(z.strictObject({ server_id: z.string(), tools_to_execute: z.array(z.string()) })),
  created: z.iso.datetime(),
  created_by: z.string(),
  modified: z.iso.datetime(),
  modified_by: z.string(),
});
export type VirtualKeyView = z.infer<typeof VirtualKeyView>;
VirtualKeyView.register(z.globalRegistry, { id: "VirtualKey" });
