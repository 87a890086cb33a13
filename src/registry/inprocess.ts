/** Servers that run inside the gateway: code registers them, and nobody else makes or changes one (PS-29, PS-63). */
import { GatewayError } from "../failure/gateway-error.ts";
import { NO_OAUTH, NOTHING_FOUND } from "./oauth-fields.ts";
import type { ServerRecord } from "./server-record.ts";

/** The id and the slug of the server that is part of the gateway; its tools have migrations of their own (PS-29). */
export const GATEWAY = "gateway";

/** A server that code brings, registered in `services.ts`. */
export interface InProcessServer {
  /** Its slug and its id. */
  readonly name: string;
  readonly display_name: string;
  /** Answers MCP over Streamable HTTP: the whole of its interface, with no session kept. */
  readonly fetch: (request: Request) => Promise<Response>;
}

/** Where requests to such a server go on paper; none of them leaves the isolate. */
export const IN_PROCESS_URL = "https://inprocess.invalid/mcp";

/** Who has made the record of such a server. */
const MAKER = "postern";

/** The record of an in-process server: every org and every key may use all of it. */
export function inProcessRecord({ name, display_name }: InProcessServer, now: number): ServerRecord {
  return {
    ...NO_OAUTH,
    ...NOTHING_FOUND,
    server_id: name,
    name,
    display_name,
    connection_type: "inprocess",
    connection_detected: false,
    server_url: "",
    stdio_config: null,
    enabled: true,
    timeout_ms: null,
    auth_type: "none",
    config_sealed: null,
    client_secret_sealed: null,
    oauth_config_id: null,
    tool_mode: "all",
    auto_all: false,
    definition_policy: "trust",
    allow_on_all_virtual_keys: true,
    is_code_mode_client: false,
    is_ping_available: true,
    status: "active",
    status_reason: null,
    state: "connected",
    last_failure: null,
    era: null,
    server_info: null,
    capabilities: null,
    instructions: null,
    approved_instructions: null,
    created: now,
    created_by: MAKER,
    modified: now,
    modified_by: MAKER,
  };
}

/** @throws GatewayError `read_only` for a server that code brings */
export function requireWritable({ connection_type }: Pick<ServerRecord, "connection_type">): void {
  if (connection_type !== "inprocess") return;
  throw new GatewayError("read_only", "This server is part of the gateway and cannot be changed.");
}
