import { operation } from "../http/operation.ts";
import { CallPage, CallQuery } from "./calls.wire.ts";

export const callOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/calls",
      needs: "member",
      summary: "List tool calls of the org, newest first; members see their own",
      query: CallQuery,
      status: 200,
      answer: CallPage,
    },
    ({ services, principal, query }) => services.calls.list(principal, query),
  ),
];
