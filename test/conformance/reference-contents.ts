/** The prompts and resources of the reference server, as far as they ask nobody for anything. */
import { completable, type McpServer, ResourceTemplate } from "@modelcontextprotocol/server";
import * as z from "zod";
import { PNG } from "./reference-tools.ts";

const WORDS = ["paris", "park", "party", "test"];
const IDS = ["123", "456"];

export function addContents(server: McpServer): void {
  addPrompts(server);
  addResources(server);
}

function addPrompts(server: McpServer): void {
  const user = <T>(content: T) => ({ role: "user" as const, content });
  const text = (said: string) => user({ type: "text" as const, text: said });

  server.registerPrompt("test_simple_prompt", { description: "A text" }, () => ({
    messages: [text("This is a simple prompt for testing.")],
  }));
  const word = (nth: string) => z.string().describe(`${nth} test argument`);
  const two = z.object({
    arg1: completable(word("First"), (begun) => WORDS.filter((known) => known.startsWith(begun))),
    arg2: word("Second"),
  });
  server.registerPrompt("test_prompt_with_arguments", { description: "Of two", argsSchema: two }, ({ arg1, arg2 }) => ({
    messages: [text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
  }));
  const one = { description: "A resource", argsSchema: z.object({ resourceUri: z.string() }) };
  server.registerPrompt("test_prompt_with_embedded_resource", one, ({ resourceUri: uri }) => {
    const resource = { uri, mimeType: "text/plain", text: "Embedded resource content for testing." };
    return {
      messages: [user({ type: "resource" as const, resource }), text("Please process the embedded resource above.")],
    };
  });
  server.registerPrompt("test_prompt_with_image", { description: "An image" }, () => ({
    messages: [
      user({ type: "image" as const, data: PNG, mimeType: "image/png" }),
      text("Please analyze the image above."),
    ],
  }));
}

function addResources(server: McpServer): void {
  const texts = [
    ["static-text", "This is the content of the static text resource."],
    ["watched-resource", "This is the content of a resource that may change."],
  ] as const;
  for (const [name, said] of texts) {
    const described = { description: "A text", mimeType: "text/plain" };
    server.registerResource(name, `test://${name}`, described, ({ href }) => ({
      contents: [{ uri: href, mimeType: "text/plain", text: said }],
    }));
  }
  const image = { description: "An image", mimeType: "image/png" };
  server.registerResource("static-binary", "test://static-binary", image, ({ href }) => ({
    contents: [{ uri: href, mimeType: "image/png", blob: PNG }],
  }));
  const byId = new ResourceTemplate("test://template/{id}/data", {
    list: undefined,
    complete: { id: (begun) => IDS.filter((known) => known.startsWith(begun)) },
  });
  const described = { description: "Data by id", mimeType: "application/json" };
  server.registerResource("template", byId, described, ({ href }, { id }) => ({
    contents: [
      {
        uri: href,
        mimeType: "application/json",
        text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
      },
    ],
  }));
}
