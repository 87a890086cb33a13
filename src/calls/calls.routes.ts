import { operation } from "../http/operation.ts";
import { CallPage, CallQuery } from "./calls.wire.ts";

export const callOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/calls",
      needs: "platform_admin",
      summary: "List tool calls of the org, newest first",
      query: CallQuery,
      status: 200,
      answer: CallPage,
    },
    ({ services, principal, query }) => services.calls.list(principal.org, query),
  ),
];
