/**
 * The wires that operations speak. Routing, access and validation are the same for all; what a wire has of its own is
 * how it tells a failure, and whether it minds fields that it does not know.
 */
import * as z from "zod";
import { FAILURES, type GatewayError } from "../failure/gateway-error.ts";
import { problemResponse } from "../failure/problem.ts";

export interface Surface {
  /** The error body of every operation; its `id` names it in the OpenAPI document. */
  readonly failure: z.ZodType;
  readonly failureMediaType: string;
  /** Where the code stands in it, member by member. */
  readonly codeAt: readonly string[];
  /** Fields that are not known are dropped, and not refused. */
  readonly isLenient: boolean;
  /** What is said of a field whose shape does not fit; `""` for the whole. */
  readonly misfit: (field: string, rule: string) => string;
  readonly refuse: (error: GatewayError, requestId: string, headers: Record<string, string>) => Response;
}

const CODE = z.enum(Object.keys(FAILURES));

/** The JSON API of the gateway itself, under `/v1` (PS-70). */
export const nativeSurface: Surface = {
  failure: z
    .strictObject({
      type: z.literal("about:blank"),
      title: z.string(),
      status: z.int(),
      detail: z.string(),
      code: CODE,
      field: z.string().optional().describe("The one field to blame, where there is one."),
      details: z
        .array(z.strictObject({ path: z.string(), code: CODE, field: z.string().optional(), message: z.string() }))
        .optional()
        .describe("The single refusals, where a request is refused for several things at once."),
      request_id: z.string(),
    })
    .meta({ id: "Problem" }),
  failureMediaType: "application/problem+json",
  codeAt: ["code"],
  isLenient: false,
  misfit: (field, rule) => `${field === "" ? "The body" : field}: ${rule}.`,
  refuse: problemResponse,
};
