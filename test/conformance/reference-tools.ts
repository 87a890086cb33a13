/** The tools of the reference server that ask nobody for anything. */
import { setTimeout as sleep } from "node:timers/promises";
import { fromJsonSchema, type McpServer, type ServerContext, type ToolCallback } from "@modelcontextprotocol/server";
import * as z from "zod";
import type { Listeners } from "./reference-server.ts";

/** Of 1 × 1 pixels. */
export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/** Of no samples. */
const WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/** Between two messages of a tool that sends some before its result. */
const BEAT_MS = 50;

/** Keywords of JSON Schema 2020-12 that are lost where a schema is rewritten on its way. */
const SCHEMA_2020_12 = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  $defs: {
    address: {
      $anchor: "addressDef",
      type: "object",
      properties: { street: { type: "string" }, city: { type: "string" } },
    },
  },
  properties: {
    name: { type: "string" },
    address: { $ref: "#/$defs/address" },
    contactMethod: { type: "string", enum: ["phone", "email"] },
    phone: { type: "string" },
    email: { type: "string" },
  },
  allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
  if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { required: ["phone"] },
  else: { required: ["email"] },
  additionalProperties: false,
};

const WITH_HEADER = {
  type: "object",
  properties: { region: { type: "string", "x-mcp-header": "Region" } },
  required: ["region"],
};

export const text = (said: string) => ({ content: [{ type: "text" as const, text: said }] });

export function addTools(server: McpServer, listeners: Listeners): void {
  const simple = (name: string, description: string, answer: ToolCallback) =>
    server.registerTool(name, { description }, answer);

  simple("test_simple_text", "Answers with a text", () => text("This is a simple text response for testing."));
  simple("test_image_content", "Answers with an image", () => ({
    content: [{ type: "image", data: PNG, mimeType: "image/png" }],
  }));
  simple("test_audio_content", "Answers with a sound", () => ({
    content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }],
  }));
  const embedded = { uri: "test://embedded-resource", mimeType: "text/plain" };
  simple("test_embedded_resource", "Answers with a resource", () => ({
    content: [{ type: "resource", resource: { ...embedded, text: "This is an embedded resource content." } }],
  }));
  const mixed = { uri: "test://mixed-content-resource", mimeType: "application/json" };
  simple("test_multiple_content_types", "Answers with a text, an image and a resource", () => ({
    content: [
      { type: "text", text: "Multiple content types test:" },
      { type: "image", data: PNG, mimeType: "image/png" },
      { type: "resource", resource: { ...mixed, text: JSON.stringify({ test: "data", value: 123 }) } },
    ],
  }));
  simple("test_error_handling", "Fails", () => {
    throw new Error("This tool intentionally returns an error for testing");
  });

  simple("test_tool_with_logging", "Logs three times before it answers", async (ctx) => {
    await ctx.mcpReq.log("info", "Tool execution started");
    await sleep(BEAT_MS, undefined, { signal: ctx.mcpReq.signal });
    await ctx.mcpReq.log("info", "Tool processing data");
    await sleep(BEAT_MS, undefined, { signal: ctx.mcpReq.signal });
    await ctx.mcpReq.log("info", "Tool execution completed");
    return text("Logged three times");
  });
  simple("test_logging_tool", "Logs, where the client wants to read it", async (ctx) => {
    await ctx.mcpReq.log("info", "Logging tool at work");
    return text("Logged");
  });
  simple("test_tool_with_progress", "Reports progress three times before it answers", async (ctx) => {
    for (const progress of [0, 50, 100]) {
      await report(ctx, progress);
      if (progress < 100) await sleep(BEAT_MS, undefined, { signal: ctx.mcpReq.signal });
    }
    return text(`Progressed with token ${ctx.mcpReq._meta?.progressToken ?? "none"}`);
  });
  simple("test_reconnection", "Ends the stream before it answers, where the stream can be resumed", async (ctx) => {
    ctx.http?.closeSSE?.();
    await sleep(2 * BEAT_MS);
    return text("Reconnection test completed");
  });

  // What a scenario looks at is the notice. The lists are as before, so that runs are alike.
  simple("test_trigger_tool_change", "Says that the list of tools has changed", () => {
    listeners.toolsChanged();
    return text("The tools have changed");
  });
  simple("test_trigger_prompt_change", "Says that the list of prompts has changed", () => {
    listeners.promptsChanged();
    return text("The prompts have changed");
  });
  const updated = { description: "Says that a resource has been updated", inputSchema: z.object({ uri: z.string() }) };
  server.registerTool("test_trigger_resource_update", updated, ({ uri }) => {
    listeners.resourceUpdated(uri);
    return text(`${uri} has been updated`);
  });

  server.registerTool(
    "test_x_mcp_header",
    { description: "Takes an argument that a header repeats", inputSchema: fromJsonSchema(WITH_HEADER) },
    (args) => text(JSON.stringify(args)),
  );
  server.registerTool(
    "json_schema_2020_12_tool",
    { description: "Tool with JSON Schema 2020-12 features", inputSchema: fromJsonSchema(SCHEMA_2020_12) },
    (args) => text(JSON.stringify(args)),
  );
}

async function report({ mcpReq }: ServerContext, progress: number): Promise<void> {
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken === undefined) return;
  await mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
}
