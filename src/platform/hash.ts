import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** SHA-256 of a text (UTF-8), in lower-case hexadecimal. Synchronous: the warm path awaits nothing for it. */
export function sha256Hex(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Compares two texts in a time that tells nothing about where they differ, or how long they are. */
export function equalInConstantTime(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** HMAC-SHA-256 of a text under a secret, in base64url without padding: 43 characters that only its holder can make. */
export function hmacBase64Url(secret: string, text: string): string {
  return createHmac("sha256", secret).update(text).digest("base64url");
}
