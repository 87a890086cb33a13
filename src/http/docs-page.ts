/**
 * The OpenAPI document as a page. It is made here whole, without a script, so that it works offline, under the
 * strictest policy and in any browser; the filter is a form. `hono/html` escapes every value.
 */
import { html } from "hono/html";
import { type Fields, schemaFields, schemaName, type TypeName } from "./docs-schema.ts";
import {
  type Answer,
  codesOf,
  type DocumentedOperation,
  type JsonSchema,
  type OpenApi,
  type Parameter,
} from "./openapi.ts";

type Html = ReturnType<typeof html>;

/** Whoever writes a value asks what is required; whoever reads one, what may be absent. */
type Side = "input" | "output";

interface Entry extends DocumentedOperation {
  readonly method: string;
  readonly path: string;
}

/** @param filter Words that each shown operation has in its method, path, summary or id; empty shows all. */
export function docsPage(document: OpenApi, filter: string): Html {
  const all = entriesOf(document);
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = all.filter((entry) => words.every((word) => textOf(entry).includes(word)));
  const groups = Map.groupBy(shown, ({ tags }) => tags[0] ?? "");
  const schemas = Object.entries(document.components.schemas);
  const { title, version, description } = document.info;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} API</title>
<link rel="stylesheet" href="/docs/docs.css">
</head>
<body>
<a class="skip" href="#operations">Skip to the operations</a>
<header>
<h1>${title} API <span class="version">${version}</span></h1>
${description.split("\n\n").map((paragraph) => html`<p>${prose(paragraph)}</p>`)}
<p><a href="/openapi.json">OpenAPI document</a></p>
</header>
<nav aria-label="Operations">
<form role="search" action="/docs">
<label for="q">Filter operations</label>
<div class="search"><input type="search" id="q" name="q" value="${filter}"><button>Filter</button></div>
</form>
${words.length > 0 && html`<p>${shown.length} of ${all.length} operations. <a href="/docs">Show all</a></p>`}
<ul>
${[...groups].map(([tag, entries]) => indexOf(tag, entries))}
<li><a class="tag" href="#schemas">Schemas</a></li>
</ul>
</nav>
<main id="operations" tabindex="-1">
${[...groups].map(
  ([tag, entries]) => html`<section aria-labelledby="tag-${tag}">
<h2 id="tag-${tag}">${titleOf(tag)}</h2>
${entries.map(operationOf)}
</section>
`,
)}<section aria-labelledby="schemas">
<h2 id="schemas">Schemas</h2>
${schemas.map(
  ([name, schema]) => html`<article>
<h3 id="schema-${name}">${name}</h3>
${fieldList(schemaFields(schema), "output")}
</article>
`,
)}</section>
</main>
</body>
</html>
`;
}

function entriesOf({ paths }: OpenApi): Entry[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
  );
}

function textOf({ method, path, summary, operationId }: Entry): string {
  return `${method} ${path} ${summary} ${operationId}`.toLowerCase();
}

function indexOf(tag: string, entries: readonly Entry[]): Html {
  return html`<li><a class="tag" href="#tag-${tag}">${titleOf(tag)}</a>
<ul>
${entries.map(
  ({
    operationId,
    method,
    path,
  }) => html`<li><a href="#${operationId}">${methodBadge(method)} ${pathText(path)}</a></li>
`,
)}</ul>
</li>
`;
}

function operationOf(entry: Entry): Html {
  const { operationId, method, path, summary, description, parameters, requestBody, responses } = entry;
  const answers = Object.entries(responses);
  const failures = answers.filter(([status]) => Number(status) >= 400);
  return html`<article>
<h3 id="${operationId}"><a href="#${operationId}">${summary}</a></h3>
<p class="route">${methodBadge(method)} <code>${pathText(path)}</code></p>
<p class="note">${description}
Operation <code>${operationId}</code>.</p>
${parameters.length > 0 && html`<h4>Parameters</h4>${fieldList(parameters.map(parameterField), "input")}`}
${Object.values(requestBody?.content ?? {}).map(({ schema }) => html`<h4>Body</h4>${content(schema, "input")}`)}
${answers
  .filter(([status]) => Number(status) < 400)
  .flatMap(([status, { content: media }]) =>
    Object.entries(media).map(
      ([type, { schema }]) => html`<h4>Answer ${status}${kindOf(type)}</h4>${content(schema, "output")}`,
    ),
  )}
<details>
<summary>Errors: ${failures.map(([status]) => status).join(", ")}</summary>
<dl>
${failures.map(([status, answer]) => failureOf(status, answer))}</dl>
<p class="note">Each is a ${typeText(failureType(failures.map(([, answer]) => answer)))}.</p>
</details>
</article>
`;
}

/** All errors of an operation have one body. */
function failureType(failures: readonly Answer[]): TypeName {
  const [schema] = failures.flatMap(({ content: media }) => Object.values(media)).map((media) => media.schema);
  return schemaName(schema ?? {});
}

function failureOf(status: string, answer: Answer): Html {
  return html`<dt>${status}</dt><dd>${answer.description}: ${codesOf(answer).map((name, index) => [index > 0 && ", ", html`<code>${name}</code>`])}</dd>
`;
}

/** Which of several answers it is, where it is not JSON. */
function kindOf(mediaType: string): Html | string {
  return mediaType === "application/json" ? "" : html` as <code>${mediaType}</code>`;
}

function content(schema: JsonSchema, side: Side): Html {
  const fields = schemaFields(schema);
  const type = fields.length === 0 || schema.type !== "object" ? html`<p>${typeText(schemaName(schema))}</p>` : "";
  return html`${type}${fieldList(fields, side)}`;
}

function parameterField({ name, in: place, required, description, schema }: Parameter): Fields[number] {
  return {
    name,
    type: schemaName(schema),
    required,
    notes: [`in ${place}`, ...(description ? [description] : [])],
    fields: [],
  };
}

function fieldList(fields: Fields, side: Side): Html | string {
  if (fields.length === 0) return "";
  return html`<ul class="fields">
${fields.map(
  ({ name, type, required, notes, fields: inner }) => html`<li><code class="name">${name}</code>
<span class="type">${typeText(type)}</span>${side === "input" && required && html` <strong>required</strong>`}${side === "output" && !required && html` <em>may be absent</em>`}${notes.map(
    (note) => html` <span class="note">${prose(note)}</span>`,
  )}${fieldList(inner, side)}</li>
`,
)}</ul>`;
}

/** The name of a component becomes a link to it. */
function typeText(type: TypeName): (Html | string)[] {
  return type.map(({ text, isLink }) => (isLink ? html`<a href="#schema-${text}">${text}</a>` : text));
}

function methodBadge(method: string): Html {
  return html`<span class="method ${method.toLowerCase()}">${method}</span>`;
}

/** A tag is a segment of a path. */
function titleOf(tag: string): string {
  return tag.replaceAll("-", " ");
}

/** A long path breaks at its slashes. */
function pathText(path: string): (Html | string)[] {
  return path.split("/").flatMap((segment, index) => (index === 0 ? [segment] : [html`/<wbr>`, segment]));
}

/** Text in which backticks mark code. */
function prose(text: string): (Html | string)[] {
  return text.split("`").map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part));
}
