/** Thirty tool definitions of the size that real servers have: `echo`, and the everyday verbs of a back office. */

export interface Tool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: object;
  readonly annotations: object;
}

const ECHO: Tool = {
  name: "echo",
  description: "Returns the message it is given, for checking that a connection works from end to end.",
  inputSchema: {
    type: "object",
    properties: { message: { type: "string", description: "The text to return." } },
    required: ["message"],
  },
  annotations: { title: "Echo", readOnlyHint: true, openWorldHint: false },
};

const RECORDS = [
  ["invoice", "number"],
  ["customer", "customer number"],
  ["order", "order number"],
  ["ticket", "ticket number"],
  ["shipment", "tracking code"],
  ["contract", "contract number"],
  ["employee", "staff number"],
  ["project", "short name"],
  ["supplier", "supplier number"],
  ["asset", "inventory number"],
] as const;

const REGION = { type: "string", enum: ["eu-north", "eu-south", "us-east", "us-west"], description: "Where it lives." };

/** In this order, which is also the order of a server that does not sort. */
export const TOOLS: readonly Tool[] = [ECHO, ...RECORDS.flatMap(([noun, key]) => toolsOf(noun, key))].slice(0, 30);

function toolsOf(noun: string, key: string): Tool[] {
  const reference = { type: "string", minLength: 1, maxLength: 64, description: `The ${key} of the ${noun}.` };
  return [
    {
      name: `find_${noun}`,
      description: `Finds one ${noun} by its ${key}, or several by words in their text. Use it before you change one.`,
      inputSchema: {
        type: "object",
        properties: {
          reference,
          query: { type: "string", description: `Words to look for in the title and notes of each ${noun}.` },
          region: REGION,
          limit: { type: "integer", minimum: 1, maximum: 100, default: 20, description: "At most so many results." },
        },
        additionalProperties: false,
      },
      annotations: { title: `Find ${noun}`, readOnlyHint: true, openWorldHint: false },
    },
    {
      name: `create_${noun}`,
      description: `Creates one ${noun} and returns its ${key}. Fails when its title is taken in the region.`,
      inputSchema: {
        type: "object",
        properties: {
          title: { type: "string", minLength: 1, maxLength: 200, description: `A short title for this ${noun}.` },
          notes: { type: "string", maxLength: 4000, description: "Free text for the people who will read it." },
          region: REGION,
          labels: { type: "array", items: { type: "string" }, maxItems: 20, description: "Labels to file it under." },
        },
        required: ["title", "region"],
        additionalProperties: false,
      },
      annotations: { title: `Create ${noun}`, readOnlyHint: false, destructiveHint: false, idempotentHint: false },
    },
    {
      name: `update_${noun}`,
      description: `Changes the state or the notes of one ${noun}. What is left out stays as it is.`,
      inputSchema: {
        type: "object",
        properties: {
          reference,
          state: {
            type: "string",
            enum: ["draft", "open", "waiting", "done", "void"],
            description: "The state to set.",
          },
          notes: { type: "string", maxLength: 4000, description: "Replaces the notes; empty text removes them." },
          due: { type: "string", format: "date", description: "The day by which it must be done." },
        },
        required: ["reference"],
        additionalProperties: false,
      },
      annotations: { title: `Update ${noun}`, readOnlyHint: false, destructiveHint: true, idempotentHint: true },
    },
  ];
}
