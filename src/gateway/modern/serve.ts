/** Serving a modern request that has passed the ladder: rungs 3.3.9 and on. */

import { POSTERN } from "../../platform/version.ts";
import { defaultSessionName } from "../../sessions/session.ts";
import { messageResponse } from "../answer.ts";
import { serveToolCall } from "../call-door.ts";
import type { ClientMessage } from "../client-message.ts";
import { introduce } from "../introduce.ts";
import type { DoorRequest } from "../request.ts";
import { errorText, resultText } from "../rpc-text.ts";
import { listTools } from "../tool-list.ts";
import { isLogLevel, modernClient } from "./client-side.ts";
import { LOG_LEVEL, REVISION } from "./ladder.ts";

const META = JSON.stringify({ "io.modelcontextprotocol/serverInfo": POSTERN });

const OFFERED = ["server/discover", "tools/list", "tools/call"];

/** @param message A request whose envelope and headers have been checked. */
export async function serveModern(request: DoorRequest, message: ClientMessage): Promise<Response> {
  const { principal, accepts, services } = request;
  const id = message.id ?? "null";
  const result = (members: string) =>
    messageResponse(resultText(`{"resultType":"complete",${members},"_meta":${META}}`, id), 200, accepts);
  const refuse = (status: number, code: number, text: string) =>
    messageResponse(errorText({ code, message: text }, id), status, accepts);
  // Lists depend on the caller's rights, so nobody else may be served from a cached one (P-10).
  const cache = `"ttlMs":${services.config.snapshotTtlMs},"cacheScope":"private"`;

  const level = message.meta[LOG_LEVEL];
  if (OFFERED.includes(message.method) && level !== undefined && !isLogLevel(level)) {
    return refuse(200, -32602, "The log level is not known.");
  }
  switch (message.method) {
    case "server/discover":
      return result(
        `"supportedVersions":["${REVISION}"],"capabilities":{"tools":{}},${instructionsMember(await introduce(request))}${cache}`,
      );
    case "tools/list": {
      const page = await listTools(request, "modern", message);
      return page.ok ? result(`${page.members},${cache}`) : refuse(200, -32602, page.message);
    }
    case "tools/call": {
      const name = defaultSessionName(principal.org, principal.id);
      return serveToolCall(request, modernClient, message, { name, id: null });
    }
    default:
      return refuse(404, -32601, "This method is not offered here.");
  }
}

function instructionsMember(text: string | null): string {
  return text === null ? "" : `"instructions":${JSON.stringify(text)},`;
}
