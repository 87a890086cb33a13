/** Values of `Mcp-Name` and `Mcp-Param-*` on the wire (protocol.md 2.1). Pure. */
import { fromBase64 } from "../../platform/ids.ts";

const MARKER = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/;

/**
 * A value as a header: plain where a header can carry it, else base64 of its UTF-8 within the marker. An empty header is
 * one that some leave out on the way.
 */
export function encodeHeaderValue(value: string): string {
  if (/^[\t\x20-\x7e]+$/.test(value) && value.trim() === value && !value.startsWith("=?base64?")) return value;
  const bytes = new TextEncoder().encode(value);
  return `=?base64?${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}?=`;
}

/** The value that a header carries; null when it claims to be encoded and is not. */
export function decodeHeaderValue(header: string): string | null {
  const value = header.trim();
  if (!(value.startsWith("=?base64?") && value.endsWith("?="))) return value;
  const encoded = MARKER.exec(value)?.[1];
  if (encoded === undefined || encoded.length % 4 !== 0) return null;
  const bytes = fromBase64(encoded);
  if (bytes === null) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
