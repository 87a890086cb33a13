/**
 * Sealing of secrets at rest (PS-50): AES-256-GCM under a key derived from the operator's key ring, a random 96-bit
 * nonce, the key's id beside the ciphertext, and the owner's identity as additional data, so that a ciphertext moved to
 * another row does not open. Without a key nothing is written; there is no fall-back to plain text.
 */
import { GatewayError } from "../failure/gateway-error.ts";
import { equalInConstantTime, hmacBase64Url } from "../platform/hash.ts";
import { base64Url, fromBase64 } from "../platform/ids.ts";
import type { Secret } from "../platform/secret.ts";

export interface Sealer {
  /**
   * Seals a text for one owner with the newest key.
   *
   * @param owner Whose it is, for example `server:srv_…:config`; opening asks for the same.
   * @returns `<key id>.<nonce>.<ciphertext>`, the latter two in base64url.
   * @throws GatewayError `encryption_key_missing`
   */
  seal(text: string, owner: string): Promise<string>;
  /**
   * Opens what `seal` made, with whichever key of the ring it names.
   *
   * @throws GatewayError `encryption_key_missing` without any key, `sealed_payload_invalid` when it does not open.
   */
  open(sealed: string, owner: string): Promise<string>;
  /**
   * A mark that only this gateway can put on a text, the same each time.
   *
   * @throws GatewayError `encryption_key_missing`
   */
  mark(text: string): string;
  /** Whether the gateway has put that mark on that text, with whichever key of the ring. */
  isMark(text: string, mark: string): boolean;
}

interface RingKey {
  readonly kid: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const INFO = new TextEncoder().encode("postern sealing v1");
const MIN_KEY_BYTES = 32;

/** @param ring `ENCRYPTION_KEYS`: `kid:base64` pairs separated by commas, newest first, 32 bytes or more each. */
export function createSealer(ring: Secret): Sealer {
  const keys = (): readonly [RingKey, ...RingKey[]] => {
    const [newest, ...older] = parseRing(ring.reveal());
    if (newest === undefined) {
      throw new GatewayError("encryption_key_missing", "ENCRYPTION_KEYS is not set, so secrets cannot be stored.");
    }
    return [newest, ...older];
  };
  return {
    async seal(text, owner) {
      const [{ kid, bytes }] = keys();
      const nonce = crypto.getRandomValues(new Uint8Array(12));
      const algorithm = { name: "AES-GCM", iv: nonce, additionalData: new TextEncoder().encode(owner) };
      const sealed = await crypto.subtle.encrypt(algorithm, await derive(bytes), new TextEncoder().encode(text));
      return `${kid}.${base64Url(nonce)}.${base64Url(new Uint8Array(sealed))}`;
    },

    async open(sealed, owner) {
      const [kid, nonce, ciphertext] = sealed.split(".");
      const key = keys().find((candidate) => candidate.kid === kid);
      const iv = fromBase64(nonce ?? "");
      const data = fromBase64(ciphertext ?? "");
      if (key === undefined || iv === null || data === null) throw invalid();
      const algorithm = { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(owner) };
      try {
        return new TextDecoder().decode(await crypto.subtle.decrypt(algorithm, await derive(key.bytes), data));
      } catch (cause) {
        throw invalid(cause);
      }
    },

    mark: (text) => markWith(keys()[0], text),

    isMark: (text, mark) => keys().some((key) => equalInConstantTime(markWith(key, text), mark)),
  };
}

function markWith({ bytes }: RingKey, text: string): string {
  return hmacBase64Url(base64Url(bytes), `mark ${text}`);
}

function invalid(cause?: unknown): GatewayError {
  return new GatewayError("sealed_payload_invalid", "A stored secret does not open with the present keys.", { cause });
}

/** @throws GatewayError `encryption_key_missing` for a ring that cannot be read: half a ring must not be used. */
function parseRing(text: string): RingKey[] {
  const entries = text.split(",").filter((entry) => entry.trim() !== "");
  return entries.map((entry) => {
    const [, kid = "", encoded = ""] = /^\s*([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/_=-]+)\s*$/.exec(entry) ?? [];
    const bytes = fromBase64(encoded);
    if (kid === "" || bytes === null || bytes.length < MIN_KEY_BYTES) {
      const rule = `each entry is <key id>:<base64 of ${MIN_KEY_BYTES} bytes or more>`;
      throw new GatewayError("encryption_key_missing", `ENCRYPTION_KEYS cannot be read: ${rule}.`);
    }
    return { kid, bytes };
  });
}

/** HKDF (RFC 5869) with SHA-256, so that the ring's bytes are never a cipher key themselves. */
async function derive(bytes: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  const source = await crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveKey"]);
  const kdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: INFO };
  return crypto.subtle.deriveKey(kdf, source, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}
