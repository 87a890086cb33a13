/** What admission decides on, as values. */
import type { KeyRule } from "../../src/access/virtual-key.ts";
import type { KeyGrant, Principal } from "../../src/identity/principal.ts";
import { NO_OAUTH, NOTHING_FOUND } from "../../src/registry/oauth-fields.ts";
import type { ServerRecord } from "../../src/registry/server-record.ts";

/** A server that is on and connected, with a list of allowed tools. */
export const serverRecord = (changes: Partial<ServerRecord> = {}): ServerRecord => ({
  server_id: "srv_docs",
  name: "docs",
  display_name: "Docs",
  connection_type: "http",
  connection_detected: false,
  instructions: null,
  approved_instructions: null,
  server_url: "https://docs.example/mcp",
  enabled: true,
  timeout_ms: null,
  auth_type: "none",
  config_sealed: null,
  client_secret_sealed: null,
  stdio_config: null,
  ...NO_OAUTH,
  ...NOTHING_FOUND,
  oauth_config_id: null,
  auto_all: false,
  definition_policy: "pin",
  is_code_mode_client: false,
  is_ping_available: true,
  status_reason: null,
  tool_mode: "list",
  allow_on_all_virtual_keys: false,
  status: "active",
  state: "connected",
  last_failure: null,
  era: "modern",
  server_info: null,
  capabilities: null,
  created: 0,
  created_by: "ann",
  modified: 0,
  modified_by: "ann",
  ...changes,
});

export const keyGrant = (rules: Record<string, KeyRule>): KeyGrant => ({
  virtual_key_id: "key_1",
  name: "agent",
  rules: new Map(Object.entries(rules)),
});

/** A virtual key without an assignment. */
export const principalWith = (changes: Partial<Principal> = {}): Principal => ({
  kind: "virtual_key",
  id: "key:key_1",
  email: null,
  org: "default",
  role: "member",
  groups: new Map(),
  isPlatformAdmin: false,
  key: keyGrant({}),
  view: "",
  generation: 1,
  ...changes,
});
