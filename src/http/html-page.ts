/**
 * The frame of the pages that people see in a browser while they sign in or link an account. They are made here whole,
 * and `hono/html` escapes every value. None but the one that has to close itself runs a script.
 */
import { createHash } from "node:crypto";
import { html } from "hono/html";

export type Html = ReturnType<typeof html>;

/** @param title Our own words. */
export function htmlPage(title: string, body: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} - Postern</title>
<link rel="stylesheet" href="/oauth/page.css">
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`;
}

/**
 * What every such page is sent with. It loads its style only and is in nobody's frame.
 *
 * @param formGoesTo A URL that the form may redirect to in the end: browsers hold the whole way against `form-action`.
 * @param script The one script that it runs, by `scriptSource`; without, it runs none.
 */
export function pageHeaders(formGoesTo?: string, script?: string): Record<string, string> {
  const target = formGoesTo === undefined ? "" : sourceOf(formGoesTo);
  const scripts = script === undefined ? "" : ` script-src ${script};`;
  const policy = `default-src 'none';${scripts} style-src 'self'; form-action 'self'${target}; frame-ancestors 'none'; base-uri 'none'`;
  return { "Content-Security-Policy": policy, "X-Frame-Options": "DENY" };
}

/** A script as a source of a policy: that text and no other. */
export function scriptSource(script: string): string {
  return `'sha256-${createHash("sha256").update(script).digest("base64")}'`;
}

/** An origin as a source of a policy; nothing for one that could be read as more than that. */
function sourceOf(url: string): string {
  const { origin, protocol, hostname } = new URL(url);
  // The grammar of sources has no IPv6 addresses.
  if (hostname.startsWith("[")) return ` ${protocol}`;
  return /^https?:\/\/[a-z0-9.-]+(:\d+)?$/.test(origin) ? ` ${origin}` : "";
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/**
 * A text of somebody else for a page: on one line, without characters that cannot be seen or that turn the direction of
 * what is around them, and not longer than given.
 */
export function foreignText(text: string, max: number): string {
  const line = text.replace(UNSEEN, "").replace(/\s+/g, " ").trim();
  const characters = Array.from(new Intl.Segmenter("en").segment(line), ({ segment }) => segment);
  const cut = characters.length > max ? `${characters.slice(0, max).join("")}…` : line;
  // One character can carry any number of combining marks.
  return cut.length > 4 * max ? `${cut.slice(0, 4 * max)}…` : cut;
}

/** One narrow column, light or dark as the system. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --back: #f4f5f7; --card: #fff; --line: #d5d8de; --text: #1b1e24; --soft: #565d6b; --link: #0b57c4; --on: #fff;
  --warn: #8a4b00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14161a; --card: #1e2127; --line: #383d47; --text: #e6e8ec; --soft: #a4abb8; --link: #8ab8ff; --on: #14161a;
    --warn: #f0b765;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 1rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
main {
  max-width: 32rem; margin: 0 auto; padding: 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 0.5rem;
}
h1 { margin: 0 0 1rem; font-size: 1.375rem; line-height: 1.25; }
h2 { margin: 1.25rem 0 0.25rem; font-size: 1rem; }
p, ul { margin: 0.5rem 0; }
ul { padding-left: 1.25rem; }
a { color: var(--link); }
dl { margin: 0.75rem 0; }
dt { color: var(--soft); font-size: 0.875rem; }
dd { margin: 0 0 0.5rem; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.soft { color: var(--soft); font-size: 0.875rem; }
.warn { padding-left: 0.75rem; border-left: 4px solid var(--warn); }
.error { padding-left: 0.75rem; border-left: 4px solid var(--warn); font-weight: bold; }
label, legend { display: block; margin: 0.75rem 0 0.25rem; font-weight: bold; }
input, select, button { font: inherit; padding: 0.5rem 0.75rem; border: 1px solid var(--soft); border-radius: 0.25rem; }
input, select { width: 100%; background: var(--card); color: var(--text); }
.buttons { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-top: 1.25rem; }
button { flex: 1 1 8rem; min-height: 2.75rem; background: var(--card); color: var(--text); cursor: pointer; }
button.main { background: var(--link); border-color: var(--link); color: var(--on); font-weight: bold; }
button.plain { flex: 0 0 auto; min-height: 0; padding: 0.25rem 0; border: 0; color: var(--link); text-decoration: underline; }
`;
