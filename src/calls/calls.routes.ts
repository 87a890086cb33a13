import * as z from "zod";
import { operation } from "../http/operation.ts";
import { isoTime } from "../platform/clock.ts";
import {
  CallExportQuery,
  CallPage,
  CallQuery,
  CallStats,
  CallStatsQuery,
  CallView,
  OneCallQuery,
} from "./calls.wire.ts";
import { csv, ndjson } from "./export.ts";

const FORMATS = { csv, ndjson };

export const callOperations = [
  operation(
    {
      method: "GET",
      path: "/v1/calls",
      needs: "member",
      summary: "List tool calls of the org, newest first; members see their own. Go on while there is a next_cursor",
      query: CallQuery,
      status: 200,
      answer: CallPage,
    },
    ({ services, principal, query }) => services.calls.list(principal, query),
  ),
  operation(
    {
      id: "get_call_stats",
      method: "GET",
      path: "/v1/calls/stats",
      needs: "member",
      summary: "How many calls, how many succeeded, how long they took and what they cost",
      query: CallStatsQuery,
      status: 200,
      answer: CallStats,
    },
    ({ services, principal, query }) => services.calls.stats(principal, query),
  ),
  operation(
    {
      id: "export_calls",
      method: "GET",
      path: "/v1/calls/export",
      needs: "member",
      summary: "All calls that the list would show, as a file",
      query: CallExportQuery,
      status: 200,
      answer: z.string().describe("CSV with a header, or a line of JSON for each call: the rows of the list."),
      media: [csv.mediaType, ndjson.mediaType],
    },
    async ({ services, principal, query }) => {
      const format = FORMATS[query.format ?? "ndjson"];
      const day = isoTime(services.clock()).slice(0, 10);
      return {
        mediaType: format.mediaType,
        fileName: `calls-${day}.${format.extension}`,
        chunks: services.calls.export(principal, query, format),
      };
    },
  ),
  operation(
    {
      method: "GET",
      path: "/v1/calls/:call_id",
      needs: "member",
      summary: "Read one call",
      query: OneCallQuery,
      status: 200,
      answer: CallView,
    },
    ({ services, principal, query, param }) => services.calls.get(principal, param("call_id"), query),
  ),
];
