import { operation } from "../http/operation.ts";
import { RunPage, RunQuery, RunView } from "./runs.wire.ts";

export const runOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/runs",
      needs: "member",
      summary: "List runs of the org, newest first; members see their own",
      query: RunQuery,
      status: 200,
      answer: RunPage,
    },
    ({ services, principal, query, namedOrg }) => services.runs.list(principal, query, namedOrg),
  ),
  operation(
    {
      method: "GET",
      path: "/v1/runs/:run_id",
      needs: "member",
      summary: "Read a run; members read their own",
      status: 200,
      answer: RunView,
    },
    ({ services, principal, param, namedOrg }) => services.runs.get(principal, param("run_id"), namedOrg),
  ),
];
