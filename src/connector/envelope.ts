import { POSTERN } from "../platform/version.ts";
import { MODERN_REVISION } from "./revisions.ts";

/** The `_meta` of a modern request that the gateway makes for itself; of a client it declares nothing. */
export const OWN_ENVELOPE = {
  "io.modelcontextprotocol/protocolVersion": MODERN_REVISION,
  "io.modelcontextprotocol/clientInfo": POSTERN,
  "io.modelcontextprotocol/clientCapabilities": {},
} as const;
