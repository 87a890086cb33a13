/** Bodies of the execute door: a call and its answer, in the chat and in the responses format (BF-53 to BF-58). */
import * as z from "zod";
import { omissible } from "./omissible.wire.ts";

const args = omissible(z.string()).describe("A JSON object as text; blank for none.");

/** A missing name has a refusal of its own, so nothing here requires one; `required` is for the document. */
export const ChatToolCall = z
  .object({
    index: z.unknown().optional(),
    type: z.unknown().optional(),
    id: omissible(z.string()),
    function: omissible(z.object({ name: omissible(z.string()), arguments: args }).meta({ required: ["name"] })),
  })
  .meta({ id: "ChatAssistantMessageToolCall", required: ["function"] });

export const ResponsesToolMessage = z
  .object({
    name: omissible(z.string()),
    call_id: omissible(z.string()),
    arguments: args,
    output: z.unknown().optional().describe("Ignored."),
    action: z.unknown().optional().describe("Ignored."),
    error: z.unknown().optional().describe("Ignored."),
  })
  .meta({ id: "ResponsesToolMessage", required: ["name"] });

const audio = z.strictObject({
  type: z.literal("input_audio"),
  input_audio: z.strictObject({ data: z.string().describe("Base64."), format: z.string() }),
});

const ChatBlock = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text"), text: z.string() }),
  z.strictObject({
    type: z.literal("image_url"),
    image_url: z.strictObject({ url: z.string().describe("A data URI.") }),
  }),
  audio,
  z.strictObject({
    type: z.literal("file"),
    file: z.strictObject({ filename: z.string(), file_data: z.string().describe("A data URI.") }),
  }),
]);
export type ChatBlock = z.infer<typeof ChatBlock>;

const ResponsesBlock = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("output_text"), text: z.string() }),
  z.strictObject({ type: z.literal("input_image"), image_url: z.string().describe("A data URI.") }),
  audio,
  z.strictObject({
    type: z.literal("input_file"),
    filename: z.string(),
    file_data: z.string().describe("A data URI."),
  }),
]);
export type ResponsesBlock = z.infer<typeof ResponsesBlock>;

const ChatToolAnswer = z
  .strictObject({
    role: z.literal("tool"),
    content: z.union([z.string(), z.array(ChatBlock)]),
    tool_call_id: z.string().optional(),
    name: z.string(),
  })
  .meta({ id: "ChatToolAnswer" });
export type ChatToolAnswer = z.infer<typeof ChatToolAnswer>;

const ResponsesToolAnswer = z
  .strictObject({
    type: z.literal("function_call_output"),
    call_id: z.string().optional(),
    output: z.string(),
    status: z.enum(["completed", "failed"]),
    name: z.string(),
    arguments: z.string().optional(),
    content: z.union([z.string(), z.array(ResponsesBlock)]),
    error: z.string().optional().describe("The text of the tool's error."),
  })
  .meta({ id: "ResponsesToolAnswer" });
export type ResponsesToolAnswer = z.infer<typeof ResponsesToolAnswer>;

export const ExecuteRequest = z.union([ChatToolCall, ResponsesToolMessage]);
export const ExecuteAnswer = z.union([ChatToolAnswer, ResponsesToolAnswer]);

export const ExecuteQuery = z.object({
  format: z.enum(["chat", "responses"]).optional().describe("Of the body and of the answer, ignoring case."),
});
