/** What one write of a server comes to. Pure: the server as it is and what is asked for in, the write out. */
import type { ServerKey } from "../access/virtual-key.ts";
import { GatewayError } from "../failure/gateway-error.ts";
import type { OAuthFields, OAuthFindings } from "./oauth-fields.ts";
import type { ServerChange } from "./registry.store.ts";
import type { Before } from "./server-draft.ts";
import { type AllowedTools, type PolicyChange, parsePrice, toolModeOf } from "./tool-policy.ts";

/** What one write changes. */
export interface Write {
  readonly change: ServerChange;
  readonly policy?: PolicyChange | undefined;
  readonly orgIds?: readonly string[] | undefined;
  /** Given: replaces the assignments of all keys. */
  readonly keys?: readonly ServerKey[] | undefined;
  readonly isRuntime?: boolean;
  readonly isReset?: boolean;
  /** Whether the upstream tokens of the server go. */
  readonly isOtherAccount?: boolean;
}

/** How a server comes into the registry. */
export interface Manner {
  readonly isTried?: boolean;
  readonly linked?: LinkedAccount;
}

/** An account that is linked before there is the server that it is for (BF-15, BF-48). */
export interface LinkedAccount {
  /** The configuration that the server uses up, and what of the record is settled in it. */
  readonly settled: OAuthFields & OAuthFindings & { readonly oauth_config_id: string };
  readonly client_secret: string | null;
  /** Secret. */
  readonly access_token: string;
}

export function policyWrite(allowed: AllowedTools): Write {
  return { change: { tool_mode: toolModeOf(allowed) }, policy: { allowed } };
}

/** @throws GatewayError `not_found` for a tool that is neither known nor named; `invalid_request` with the field */
export function toolWrite(
  { record, flags }: Before,
  tool: string,
  { allowed, auto_execute, price_usd }: ToolPatch,
): Write {
  const own = flags.find((flag) => flag.tool === tool);
  if (own === undefined) throw new GatewayError("not_found", "There is no such tool.");
  const isAll = record.tool_mode === "all";
  if (auto_execute === true && !(allowed ?? (isAll || own.allowed))) {
    throw new GatewayError("invalid_request", "A tool that is blocked cannot run unasked.", { field: "auto_execute" });
  }
  const map = Object.fromEntries(flags.map((flag) => [flag.tool, isAll || flag.allowed]));
  const others = flags.filter((flag) => flag.tool !== tool && (record.auto_all || flag.auto)).map((flag) => flag.tool);
  const prices = new Map(
    flags.flatMap((flag) => (flag.price_nano === null ? [] : [[flag.tool, flag.price_nano] as const])),
  );
  if (price_usd === null) prices.delete(tool);
  else if (price_usd !== undefined) prices.set(tool, parsePrice(price_usd, "price_usd"));
  return {
    change: {
      ...(allowed === undefined ? {} : { tool_mode: "list" as const }),
      ...(auto_execute === undefined ? {} : { auto_all: false }),
    },
    policy: {
      ...(allowed === undefined ? {} : { allowed: { ...map, [tool]: allowed } }),
      ...(auto_execute === undefined ? {} : { auto: auto_execute ? [...others, tool] : others }),
      ...(price_usd === undefined ? {} : { prices: Object.fromEntries(prices) }),
    },
  };
}

/** A change of one tool's policy; what is left out stays. */
export interface ToolPatch {
  readonly allowed?: boolean | undefined;
  readonly auto_execute?: boolean | undefined;
  /** Null takes the price away. */
  readonly price_usd?: number | null | undefined;
}
