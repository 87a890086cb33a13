/** Which tools of a server may be called, run unasked, and what they cost, as an admin writes it. Pure. */
import { GatewayError } from "../failure/gateway-error.ts";

/** `unset`: filled at first discovery; `list`: the flags of the tools; `all`: every tool, later ones too. */
export type ToolMode = "unset" | "list" | "all";

/** The tool policy as an admin writes it (RB-12): null, a map of flags, or `["*"]` for every tool, later ones too. */
export type AllowedTools = null | Readonly<Record<string, boolean>> | readonly ["*"];

/** One tool of a server as the policy sees it. */
export interface ToolFlags {
  readonly tool: string;
  /** Whether the last discovery had it. */
  readonly known: boolean;
  readonly allowed: boolean;
  readonly auto: boolean;
  /** Nano-dollars per execution; null: no price. */
  readonly price_nano: number | null;
}

/** A write of the policy; what is left out stays. */
export interface PolicyChange {
  readonly allowed?: AllowedTools;
  /** Names, or `["*"]`. */
  readonly auto?: readonly string[];
  /** The whole map, in nano-dollars. */
  readonly prices?: Readonly<Record<string, number>>;
}

/** Nano-dollars of a dollar (PS-42). */
export const NANO = 1_000_000_000;
const MAX_PRICE_USD = 1_000_000;

export function toolModeOf(allowed: AllowedTools): ToolMode {
  if (allowed === null) return "unset";
  return Array.isArray(allowed) ? "all" : "list";
}

/** RB-12: null while nothing is configured; for the all-policy, the map of known tools. */
export function allowedToolsOf(mode: ToolMode, flags: readonly ToolFlags[]): Record<string, boolean> | null {
  switch (mode) {
    case "unset":
      return null;
    case "list":
      return Object.fromEntries(flags.map(({ tool, allowed }) => [tool, allowed]));
    case "all": {
      const known = flags.filter((flag) => flag.known).map(({ tool }) => [tool, true] as const);
      return known.length === 0 ? null : Object.fromEntries(known);
    }
  }
}

/** The auto-execute list: `["*"]` when stored so, else sorted names (BF-19). */
export function autoToolsOf(autoAll: boolean, flags: readonly ToolFlags[]): string[] {
  return autoAll
    ? ["*"]
    : flags
        .filter(({ auto }) => auto)
        .map(({ tool }) => tool)
        .toSorted();
}

/** Prices in USD, only of tools that have one. */
export function pricesOf(flags: readonly ToolFlags[]): Record<string, number> {
  return Object.fromEntries(
    flags.flatMap(({ tool, price_nano }) => (price_nano === null ? [] : [[tool, price_nano / NANO]])),
  );
}

/**
 * BF-19: the auto-execute list must be a subset of what may be executed.
 *
 * @param executable Whether a tool may be executed under the policy that will be in force.
 */
export function checkAuto(auto: readonly string[], executable: ((tool: string) => boolean) | "nothing"): void {
  const refuse = (rule: string) =>
    new GatewayError("invalid_request", `Invalid tools_to_auto_execute: ${rule}.`, { field: "tools_to_auto_execute" });
  if (auto.length === 0) return;
  if (executable === "nothing") throw refuse("must be empty while no tool may be executed");
  if (auto[0] !== "*" && !auto.every(executable)) throw refuse("must be a part of the tools that may be executed");
}

/**
 * BF-32, PS-42: prices per execution, in whole nano-dollars, rounded half up.
 *
 * @param known The tools that have been fetched: only these can have a price.
 */
export function parsePrices(
  pricing: Readonly<Record<string, number>>,
  known: ReadonlySet<string>,
): Record<string, number> {
  const refuse = (field: string, rule: string) => new GatewayError("invalid_request", `${field} ${rule}.`, { field });
  if (known.size === 0 && Object.keys(pricing).length > 0) {
    throw refuse("tool_pricing", "can be set once the tools have been fetched");
  }
  const prices = Object.entries(pricing).map(([tool, usd]) => {
    if (!known.has(tool)) throw refuse("tool_pricing", "names a tool that is not known");
    return [tool, parsePrice(usd, `tool_pricing.${tool}`)] as const;
  });
  return Object.fromEntries(prices);
}

/** A price in USD as nano-dollars. @throws GatewayError `invalid_request` with the field */
export function parsePrice(usd: number, field: string): number {
  if (Number.isFinite(usd) && usd >= 0 && usd <= MAX_PRICE_USD) return Math.round(usd * NANO);
  throw new GatewayError("invalid_request", `${field} must be from 0 to ${MAX_PRICE_USD} USD.`, { field });
}
