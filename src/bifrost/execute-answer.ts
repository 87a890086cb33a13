/** A tool's result as a chat message or a responses message (BF-57, BF-58). Pure. */
import { cut } from "../calls/call.ts";
import { memberOf } from "../platform/json-text.ts";
import { isObject } from "../platform/json-value.ts";
import type { ChatBlock, ChatToolAnswer, ResponsesBlock, ResponsesToolAnswer } from "./execute.wire.ts";
import type { ExecuteCall } from "./execute-call.ts";

/** A content block of MCP, as far as the formats can say it. */
type Part =
  /** `isPlain`: it came as text; else it is text that stands for something. */
  | { readonly kind: "text"; readonly text: string; readonly isPlain: boolean }
  | { readonly kind: "image" | "audio"; readonly mime: string; readonly data: string }
  | { readonly kind: "file"; readonly mime: string; readonly data: string; readonly filename: string };

/**
 * @param text The server's response, in which structured content has its bytes.
 * @param result The response's result.
 */
export function answerOf(
  call: ExecuteCall,
  text: string,
  result: Readonly<Record<string, unknown>>,
): ChatToolAnswer | ResponsesToolAnswer {
  const isError = result["isError"] === true;
  const parts = partsOf(result["content"]);
  const isOnlyText = parts.every((part) => part.kind === "text" && part.isPlain);
  const shown = shownText(parts.length === 0 ? structuredParts(text, result) : parts);
  const empty = `MCP tool '${call.name}' ${isError ? "failed" : "executed successfully"}`;
  const output = shown === "" ? empty : shown;
  if (call.format === "chat") {
    return {
      role: "tool",
      content: isOnlyText ? output : parts.map(chatBlock),
      ...(call.id === undefined ? {} : { tool_call_id: call.id }),
      name: call.name,
    };
  }
  return {
    type: "function_call_output",
    ...(call.id === undefined ? {} : { call_id: call.id }),
    output,
    status: isError ? "failed" : "completed",
    name: call.name,
    ...(call.arguments === undefined ? {} : { arguments: call.arguments }),
    content: isOnlyText ? output : parts.map(responsesBlock),
    ...(isError ? { error: output } : {}),
  };
}

/** The parts of a content list; whatever is none is left out, as are blank texts: they would be refused by models. */
function partsOf(content: unknown): Part[] {
  if (!Array.isArray(content)) return [];
  return content.flatMap((block: unknown): Part[] => {
    const part = isObject(block) ? partOf(block) : null;
    return part === null || (part.kind === "text" && part.text === "") ? [] : [part];
  });
}

function partOf(block: Readonly<Record<string, unknown>>): Part | null {
  const { type, text, data, mimeType, uri, resource } = block;
  switch (type) {
    case "text":
      return typeof text === "string" ? { kind: "text", text, isPlain: true } : null;
    case "image":
    case "audio":
      return typeof data === "string" ? { kind: type, mime: mimeOf(mimeType), data } : null;
    case "resource_link":
      return typeof uri === "string" ? { kind: "text", text: uri, isPlain: false } : null;
    case "resource":
      return isObject(resource) ? resourcePart(resource) : null;
    default:
      // A kind of later revisions: that it was there is all that can be said.
      return typeof type === "string" ? { kind: "text", text: `[${cut(type)}]`, isPlain: false } : null;
  }
}

function resourcePart({ uri, mimeType, text, blob }: Readonly<Record<string, unknown>>): Part | null {
  if (typeof text === "string") return { kind: "text", text, isPlain: false };
  if (typeof blob !== "string") return null;
  return { kind: "file", mime: mimeOf(mimeType), data: blob, filename: fileNameOf(typeof uri === "string" ? uri : "") };
}

function mimeOf(mimeType: unknown): string {
  return typeof mimeType === "string" && mimeType !== "" ? mimeType : "application/octet-stream";
}

/** The last segment of a resource's address. */
function fileNameOf(uri: string): string {
  const [path = ""] = uri.split(/[?#]/);
  return path.split("/").findLast((segment) => segment !== "") ?? "file";
}

function structuredParts(text: string, { structuredContent }: Readonly<Record<string, unknown>>): Part[] {
  if (structuredContent === undefined || structuredContent === null) return [];
  // From the text, so that numbers keep their digits.
  const result = memberOf(text, 0, "result");
  const member = result === undefined ? undefined : memberOf(text, result.valueStart, "structuredContent");
  const json = member === undefined ? "" : text.slice(member.valueStart, member.end);
  return [{ kind: "text", text: json, isPlain: true }];
}

/** Texts one behind the other; everything else on a line of its own, and without its data. */
function shownText(parts: readonly Part[]): string {
  const isPlain = (part: Part | undefined) => part?.kind === "text" && part.isPlain;
  const shown = parts.map((part, at) => {
    const isBroken = at > 0 && !(isPlain(part) && isPlain(parts[at - 1]));
    return `${isBroken ? "\n" : ""}${part.kind === "text" ? part.text : `[${part.kind} ${part.mime}]`}`;
  });
  return shown.join("").trim();
}

function chatBlock(part: Part): ChatBlock {
  switch (part.kind) {
    case "text":
      return { type: "text", text: part.text };
    case "image":
      return { type: "image_url", image_url: { url: dataUri(part) } };
    case "audio":
      return { type: "input_audio", input_audio: { data: part.data, format: audioFormat(part.mime) } };
    case "file":
      return { type: "file", file: { filename: part.filename, file_data: dataUri(part) } };
  }
}

function responsesBlock(part: Part): ResponsesBlock {
  switch (part.kind) {
    case "text":
      return { type: "output_text", text: part.text };
    case "image":
      return { type: "input_image", image_url: dataUri(part) };
    case "audio":
      return { type: "input_audio", input_audio: { data: part.data, format: audioFormat(part.mime) } };
    case "file":
      return { type: "input_file", filename: part.filename, file_data: dataUri(part) };
  }
}

function dataUri({ mime, data }: { readonly mime: string; readonly data: string }): string {
  return `data:${mime};base64,${data}`;
}

/** Both formats name audio by its file type: `mp3`, `wav`. */
function audioFormat(mime: string): string {
  const [type = ""] = mime.toLowerCase().split(";");
  const format = type
    .trim()
    .replace(/^audio\//, "")
    .replace(/^x-/, "");
  return format === "mpeg" ? "mp3" : format === "wave" ? "wav" : format;
}
