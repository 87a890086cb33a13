import { describe, expect, it } from "vitest";
import { expiryOf, freshUntil, isExpired, statusOf, type TokenRow } from "../../src/credentials/token.ts";

const NOW = 1_800_000_000;
const row = (changes: Partial<TokenRow>): TokenRow => ({
  ...{ server_id: "s", org_id: "o", user_id: "u", token_id: "t", version: 1, scopes: [], created: 0, modified: 0 },
  ...{ expires_at: null, assumed_expiry: null, has_refresh_token: true, refresh_failed: false },
  ...changes,
});

describe("a token counts as expired", () => {
  it.each([
    ["at the buffer", NOW + 300, undefined, true],
    ["not a second before it", NOW + 301, undefined, false],
    ["at its end without a buffer", NOW, 0, true],
    ["not a second before that", NOW + 1, 0, false],
    ["never when nothing is known", null, undefined, false],
    ["never at zero, which says nothing", 0, undefined, false],
  ])("%s [CN-24, CN-25, CN-26]", (_, expiresAt, buffer, expired) => {
    expect(isExpired(expiresAt, NOW, buffer)).toBe(expired);
  });
});

describe("the status that is shown", () => {
  it.each([
    ["valid", "refresh_failed of neither", row({ expires_at: NOW + 1 })],
    ["valid", "within the buffer", row({ expires_at: NOW + 10 })],
    ["expired", "a known end in the past", row({ expires_at: NOW })],
    ["valid", "an assumed end in the past", row({ assumed_expiry: NOW - 1 })],
    ["refresh_failed", "a failed refresh, expired or not", row({ expires_at: NOW - 1, refresh_failed: true })],
  ] as const)("is %s for %s [RB-2, RB-20, CN-21]", (status, _, token) => {
    expect(statusOf(token, NOW)).toBe(status);
  });
});

describe("the expiry of an answer", () => {
  it("is now and what it says [CN-21]", () => {
    expect(expiryOf({ expires_in: 60 }, 1_000)).toEqual({ expires_at: 61_000, assumed_expiry: null });
  });

  it("is assumed to be an hour, for refreshing only, when it says nothing [CN-21]", () => {
    expect(expiryOf({ expires_in: null }, 1_000)).toEqual({ expires_at: null, assumed_expiry: 3_601_000 });
    expect(freshUntil(row({ assumed_expiry: 3_600_000 }))).toBe(3_300_000);
    expect(freshUntil(row({ assumed_expiry: 3_600_000, has_refresh_token: false }))).toBeNull();
  });
});
