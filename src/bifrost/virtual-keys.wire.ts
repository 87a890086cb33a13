/** Virtual keys in Bifrost's wire format (BF-50, B.2). Unknown fields are dropped and `null` counts as omitted. */
import * as z from "zod";
import { ToolList } from "../http/tool-list.wire.ts";
import { omissible } from "./omissible.wire.ts";

/** D1 takes two megabytes in one parameter. */
const MAX_CONFIGS_LENGTH = 1_000_000;

/** The clients of a key by their names; the `id` of an answer may come back and says nothing. */
const KeyClients = z
  .array(z.object({ mcp_client_name: z.string(), tools_to_execute: ToolList }))
  .max(1_000)
  .refine((list) => JSON.stringify(list).length <= MAX_CONFIGS_LENGTH, "must have at most a million characters");

const unsupported = z.unknown().optional().describe("Not supported: null, or left out.");

/** `name` is one of the words of its own that a refusal has (B.2), so that nothing here asks for it. */
export const KeyInput = z.object({
  name: omissible(z.string()),
  description: omissible(z.string().max(1_000)),
  is_active: omissible(z.boolean()),
  mcp_configs: omissible(KeyClients),
  team_id: unsupported,
  customer_id: unsupported,
  budget: unsupported,
  rate_limit: unsupported,
});
export type KeyInput = z.infer<typeof KeyInput>;

const KeyView = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    description: z.string(),
    /** Whole in the answer of the creation, masked everywhere else (PS-8). */
    value: z.string(),
    is_active: z.boolean(),
    /** Models are no business of this gateway. */
    provider_configs: z.array(z.unknown()).max(0),
    mcp_configs: z.array(
      z.strictObject({ id: z.int(), mcp_client_name: z.string(), tools_to_execute: z.array(z.string()) }),
    ),
  })
  .meta({ id: "BifrostVirtualKey" });
export type KeyView = z.infer<typeof KeyView>;

export const KeyList = z.strictObject({
  virtual_keys: z.array(KeyView),
  count: z.int(),
  total_count: z.int(),
  limit: z.int(),
  offset: z.int(),
});

export const KeyAnswer = z.strictObject({ virtual_key: KeyView });
export const KeyWritten = z.strictObject({ message: z.string(), virtual_key: KeyView });
export const KeyDeleted = z.strictObject({ message: z.string() });
