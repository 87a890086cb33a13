/** The tools of the reference server that ask the client for something before they answer, and the prompt that does. */
import {
  acceptedContent,
  type ElicitRequestFormParams,
  type InputRequest,
  type InputRequests,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
  type McpServer,
  type ServerContext,
  type ToolCallback,
} from "@modelcontextprotocol/server";
import * as z from "zod";
import { text } from "./reference-tools.ts";

type Properties = ElicitRequestFormParams["requestedSchema"]["properties"];

/** Seals what is to come back with the answers. */
type Mint = (state: unknown) => Promise<string>;

const form = (message: string, properties: Properties, required?: string[]): InputRequest =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: "object", properties, ...(required !== undefined && { required }) },
  });
const oneText = (message: string, name: string) => form(message, { [name]: { type: "string" } }, [name]);
const sampling = (said: string, maxTokens = 100): InputRequest =>
  inputRequired.createMessage({ messages: [{ role: "user", content: { type: "text", text: said } }], maxTokens });
const CONFIRMATION = form("Please confirm", { ok: { type: "boolean" } }, ["ok"]);

const ask = (inputRequests: InputRequests, requestState?: string): InputRequiredResult =>
  inputRequired({ inputRequests, ...(requestState !== undefined && { requestState }) });

const responseOf = ({ mcpReq }: ServerContext, key: string) => inputResponse(mcpReq.inputResponses, key);
const textOf = ({ mcpReq }: ServerContext, key: string, field: string): string | undefined =>
  acceptedContent(mcpReq.inputResponses, key, z.object({ [field]: z.string() }))?.[field];

export function addAskingTools(server: McpServer, mint: Mint): void {
  addEliciting(server);
  addSampling(server);
  addResults(server);
  addStates(server, mint);
}

/** Asks a person by a form, and says what has come back. */
function addEliciting(server: McpServer): void {
  const asking = { description: "Asks the user", inputSchema: z.object({ message: z.string() }) };
  const account: Properties = {
    username: { type: "string", description: "User's response" },
    email: { type: "string", description: "User's email address" },
  };
  server.registerTool("test_elicitation", asking, ({ message }, ctx) => {
    const answer = responseOf(ctx, "account");
    if (answer.kind !== "elicit") return ask({ account: form(message, account, Object.keys(account)) });
    return text(`User response: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
  });

  const forms: Record<string, [string, Properties]> = {
    test_elicitation_sep1034_defaults: [
      "Please review the defaults",
      {
        name: { type: "string", default: "John Doe" },
        age: { type: "integer", default: 30 },
        score: { type: "number", default: 95.5 },
        status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
        verified: { type: "boolean", default: true },
      },
    ],
    test_elicitation_sep1330_enums: ["Please choose", enums()],
  };
  for (const [name, [message, properties]] of Object.entries(forms)) {
    server.registerTool(name, { description: "Asks the user by a form of many fields" }, (ctx) => {
      const answer = responseOf(ctx, "form");
      if (answer.kind !== "elicit") return ask({ form: form(message, properties) });
      return text(`Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
    });
  }

  const streaming = { description: "Asks the user in the midst of a stream" };
  server.registerTool("test_streaming_elicitation", streaming, (ctx) => {
    const name = textOf(ctx, "user_name", "name");
    return name === undefined ? ask({ user_name: oneText("What is your name?", "name") }) : text(`Hello, ${name}!`);
  });
}

function enums(): Properties {
  const titled = (noun: string) =>
    ["First", "Second", "Third"].map((nth, at) => ({ const: `value${at + 1}`, title: `${nth} ${noun}` }));
  const options = ["option1", "option2", "option3"];
  return {
    untitledSingle: { type: "string", enum: options },
    titledSingle: { type: "string", oneOf: titled("Option") },
    legacyEnum: {
      type: "string",
      enum: ["opt1", "opt2", "opt3"],
      enumNames: ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti: { type: "array", items: { type: "string", enum: options } },
    titledMulti: { type: "array", items: { anyOf: titled("Choice") } },
  };
}

/** Asks the client's model. */
function addSampling(server: McpServer): void {
  const asking = { description: "Asks the client's model", inputSchema: z.object({ prompt: z.string() }) };
  server.registerTool("test_sampling", asking, ({ prompt }, ctx) => {
    const answer = responseOf(ctx, "completion");
    if (answer.kind !== "sampling") return ask({ completion: sampling(prompt) });
    return text(`LLM response: ${said(answer.result.content)}`);
  });
  const needing = { description: "Works with clients that have a model only" };
  server.registerTool("test_missing_capability", needing, (ctx) => {
    const answer = responseOf(ctx, "completion");
    return answer.kind === "sampling"
      ? text("The client has a model")
      : ask({ completion: sampling("Are you there?") });
  });
}

/** Asks for one thing of each kind, and for the three together. */
function addResults(server: McpServer): void {
  const asking = (name: string, answer: ToolCallback) =>
    server.registerTool(`test_input_required_result_${name}`, { description: "Asks before it answers" }, answer);

  asking("elicitation", (ctx) => {
    const name = textOf(ctx, "user_name", "name");
    return name === undefined ? ask({ user_name: oneText("What is your name?", "name") }) : text(`Hello, ${name}!`);
  });
  asking("sampling", (ctx) => {
    const answer = responseOf(ctx, "capital_question");
    if (answer.kind === "sampling") return text(said(answer.result.content));
    return ask({ capital_question: sampling("What is the capital of France?") });
  });
  asking("list_roots", (ctx) => {
    const answer = responseOf(ctx, "client_roots");
    if (answer.kind !== "roots") return ask({ client_roots: inputRequired.listRoots() });
    return text(`Roots: ${answer.roots.map(({ uri }) => uri).join(", ")}`);
  });
  asking("capabilities", () => {
    const { elicitation, sampling: model } = server.server.getClientCapabilities() ?? {};
    const requests: InputRequests = {
      ...(elicitation !== undefined && { user_name: oneText("What is your name?", "name") }),
      ...(model !== undefined && { greeting: sampling("Generate a greeting") }),
    };
    return Object.keys(requests).length === 0 ? text("There is nothing that the client could be asked") : ask(requests);
  });

  const prompt = { description: "Asks before it answers" };
  server.registerPrompt("test_input_required_result_prompt", prompt, (ctx) => {
    const context = textOf(ctx, "user_context", "context");
    if (context === undefined) return ask({ user_context: oneText("What context should the prompt use?", "context") });
    return { messages: [{ role: "user", content: { type: "text", text: `Work with this context: ${context}` } }] };
  });
}

/** Asks, and has a state of its own come back with the answers. */
function addStates(server: McpServer, mint: Mint): void {
  const asking = (name: string, answer: ToolCallback) =>
    server.registerTool(`test_input_required_result_${name}`, { description: "Keeps a state between" }, answer);

  for (const name of ["request_state", "tampered_state"]) {
    asking(name, async (ctx) => {
      const state = ctx.mcpReq.requestState<{ readonly of: string }>();
      const { kind } = responseOf(ctx, "confirm");
      if (state?.of !== name || kind !== "elicit") return ask({ confirm: CONFIRMATION }, await mint({ of: name }));
      return text("state-ok");
    });
  }

  asking("multiple_inputs", async (ctx) => {
    const name = textOf(ctx, "user_name", "name");
    const greeting = responseOf(ctx, "greeting");
    const roots = responseOf(ctx, "client_roots");
    const state = ctx.mcpReq.requestState<{ readonly of: string }>();
    if (state === undefined || name === undefined || greeting.kind !== "sampling" || roots.kind !== "roots") {
      const requests = {
        user_name: oneText("What is your name?", "name"),
        greeting: sampling("Generate a greeting", 50),
        client_roots: inputRequired.listRoots(),
      };
      return ask(requests, await mint({ of: "multiple_inputs" }));
    }
    return text(`${said(greeting.result.content)} ${name}, of ${roots.roots.length} roots`);
  });

  asking("multi_round", async (ctx) => {
    const state = ctx.mcpReq.requestState<{ readonly step: number; readonly name?: string }>();
    if (state?.step === 2) {
      const color = textOf(ctx, "step2", "color");
      return color === undefined ? second(state.name ?? "") : text(`${state.name} likes ${color}`);
    }
    const name = textOf(ctx, "step1", "name");
    if (state !== undefined && name !== undefined) return second(name);
    return ask({ step1: oneText("Step 1: What is your name?", "name") }, await mint({ step: 1 }));
  });
  const second = async (name: string) =>
    ask({ step2: oneText("Step 2: What is your favorite color?", "color") }, await mint({ step: 2, name }));
}

/** The text of an answer of the client's model. */
function said(content: unknown): string {
  const block = Array.isArray(content) ? content[0] : content;
  return z.object({ text: z.string() }).safeParse(block).data?.text ?? "nothing";
}
