import { describe, expect, it } from "vitest";
import { looksRedacted, redact, shownUrl } from "../../src/bifrost/redaction.ts";

const MASK = "*".repeat(24);

describe("redact", () => {
  it.each([
    ["", ""],
    ["s", "*"],
    ["secret", "******"],
    ["12345678", "********"],
    ["123456789", `1234${MASK}6789`],
    ["a".repeat(100), `aaaa${MASK}aaaa`],
    ["🚀".repeat(9), `${"🚀".repeat(4)}${MASK}${"🚀".repeat(4)}`],
  ])("shows %o as %o [BF-44]", (secret, shown) => {
    expect(redact(secret)).toBe(shown);
    expect(looksRedacted(shown)).toBe(secret !== "");
  });

  it.each(["", "secret", "*********", `123${MASK}6789`, `1234${MASK}*6789`, "Bearer abc"])(
    "does not take %o for redacted",
    (text) => expect(looksRedacted(text)).toBe(false),
  );
});

describe("shownUrl", () => {
  it.each([
    ["https://docs.example/mcp", "https://docs.example/mcp"],
    ["https://docs.example/mcp?key=s3cret", `http${MASK}cret`],
    ["https://docs.example/mcp?", `http${MASK}mcp?`],
  ])("shows %s as %s [BF-44]", (url, shown) => expect(shownUrl(url)).toBe(shown));
});
