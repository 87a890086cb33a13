import { GatewayError } from "../failure/gateway-error.ts";
import { joined } from "../platform/chunks.ts";
import { depthOf, duplicateKey, hasKey } from "../platform/json-text.ts";

/** PS-74. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** PS-72. */
export const MAX_DEPTH = 64;

/**
 * The body of a request as text, bounded.
 *
 * @throws GatewayError `body_too_large`, whether the size was declared or found while reading; `invalid_json` for bytes
 *   that are not UTF-8.
 */
export async function readText(request: Request): Promise<string> {
  const declared = request.headers.get("Content-Length");
  if (declared !== null && Number(declared) > MAX_BODY_BYTES) throw tooLarge();
  // A declared length is kept by the HTTP layer, so only a chunked body has to be counted.
  const bytes = declared === null ? await readCounted(request.body) : await request.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new GatewayError("invalid_json", "The body is not UTF-8.", { cause });
  }
}

async function readCounted(body: ReadableStream<Uint8Array> | null): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (body !== null) {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) throw tooLarge();
      chunks.push(chunk);
    }
  }
  return joined(chunks);
}

function tooLarge(): GatewayError {
  return new GatewayError("body_too_large", `The body has more than ${MAX_BODY_BYTES} bytes.`);
}

/**
 * The JSON body of a request to the native API (PS-72).
 *
 * @throws GatewayError `unsupported_media_type`, `body_too_large`, `invalid_json`
 */
export async function readJson(request: Request): Promise<unknown> {
  if (!isJson(request.headers.get("Content-Type"))) {
    throw new GatewayError("unsupported_media_type", "The body must be application/json.");
  }
  const text = await readText(request);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new GatewayError("invalid_json", "The body is not JSON.", { cause });
  }
  if (depthOf(text) > MAX_DEPTH)
    throw new GatewayError("invalid_json", `The body nests more than ${MAX_DEPTH} levels.`);
  const repeated = duplicateKey(text);
  if (repeated !== undefined) throw new GatewayError("invalid_json", "The body has the same member twice.");
  // No member of ours is called so, and what JavaScript makes of one that is differs from place to place.
  if (hasKey(text, "__proto__")) throw new GatewayError("invalid_json", "The body has a member called __proto__.");
  return value;
}

/** Whether a media type is `application/json`, whatever its parameters. */
export function isJson(contentType: string | null): boolean {
  return /^\s*application\/json\s*(;|$)/i.test(contentType ?? "");
}

/** Whether a content type is that of server-sent events. */
export function isEventStream(type: string | null | undefined): boolean {
  return /^\s*text\/event-stream\s*(;|$)/i.test(type ?? "");
}
