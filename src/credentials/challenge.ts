/** What a server's `WWW-Authenticate` says of the scopes that it misses (RFC 6750 section 3). Pure. */
import { bearerChallenge, scopesIn } from "./bearer-challenge.ts";

/** @returns The scopes that it asks for; null when scopes are not what is wrong. */
export function scopesAskedFor(challenge: string | null): readonly string[] | null {
  const bearer = bearerChallenge(challenge);
  return bearer?.["error"] === "insufficient_scope" ? scopesIn(bearer["scope"]) : null;
}
