/** The revisions that the gateway speaks with servers (protocol.md 1.1). */
export const MODERN_REVISION = "2026-07-28";

/** Offered in `initialize`; a server may choose any legacy one. */
export const LEGACY_REVISION = "2025-11-25";

const LEGACY_REVISIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

export type Era = "legacy" | "modern";

export function isLegacyRevision(revision: unknown): revision is string {
  return typeof revision === "string" && LEGACY_REVISIONS.includes(revision);
}
