import { Buffer } from "node:buffer";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

export type NewId = (prefix: string) => string;

/**
 * A new id: the prefix, `_`, and 26 characters of base32: 48 bits of time, so that ids sort by age, and 80 random bits.
 *
 * @param now Milliseconds since the Unix epoch.
 */
export function createNewId(clock: () => number): NewId {
  return (prefix) => {
    let time = clock();
    let head = "";
    for (let i = 0; i < 10; i++) {
      head = ALPHABET.charAt(time % 32) + head;
      time = Math.floor(time / 32);
    }
    const tail = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => ALPHABET.charAt(byte % 32)).join("");
    return `${prefix}_${head}${tail}`;
  };
}

/** Random bytes as base64url without padding: for values that must not be guessed. */
export function randomToken(bytes: number): string {
  return base64Url(crypto.getRandomValues(new Uint8Array(bytes)));
}

/** Base64url without padding (RFC 4648 section 5). */
export function base64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/** Base64url or base64, padded or not, to bytes; null when it is neither. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}
