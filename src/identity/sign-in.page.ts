/** The pages of signing in. Names of clients, hosts and people come from outside: cut, and escaped by `hono/html`. */
import type { ConsentDescription } from "@cloudflare/workers-oauth-provider";
import { html } from "hono/html";
import { foreignText, type Html, htmlPage } from "../http/html-page.ts";
import type { SignedIn } from "./browsers.ts";
import { slugOf } from "./resource.ts";

/** What a form sends back with the person's decision. */
export interface Form {
  /** Path and query of this very request. */
  readonly action: string;
  readonly token: string;
}

const NAME_LENGTH = 80;

/** Asks for a virtual key: where no identity provider is configured. */
export function keyPage(client: ConsentDescription, form: Form, wasWrong: boolean): Html {
  return htmlPage(
    "Sign in",
    html`<p>${nameOf(client)} wants to use this gateway. Sign in with a virtual key; you decide about the app in the next
step.</p>
${keyForm(form, wasWrong)}`,
  );
}

/** The form that asks for a virtual key; its decisions are `key` and `deny`. */
export function keyForm(form: Form, wasWrong: boolean): Html {
  return html`<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.token}">
<label for="key">Virtual key</label>
<input type="password" id="key" name="virtual_key" required autocomplete="off" spellcheck="false" autofocus
 aria-describedby="key-help${wasWrong ? " key-error" : ""}"${wasWrong ? html` aria-invalid="true"` : ""}>
${wasWrong ? html`<p class="error" id="key-error" role="alert">This is not a key that opens this gateway.</p>` : ""}
<p class="soft" id="key-help">It begins with sk-pst-. An administrator of your org makes them.</p>
<div class="buttons">
<button class="main" name="decision" value="key">Sign in</button>
<button name="decision" value="deny" formnovalidate>Cancel</button>
</div>
</form>`;
}

/** Asks whether a client may act for the person (protocol.md 5.4). */
export function consentPage(client: ConsentDescription, resource: string, signedIn: SignedIn, form: Form): Html {
  const slug = slugOf(resource);
  const { person, orgs } = signedIn;
  return htmlPage(
    "Let this app in?",
    html`<dl>
<dt>App</dt><dd><strong>${nameOf(client)}</strong><br><span class="soft">${originOf(client)}</span></dd>
<dt>Access is sent to</dt><dd><strong>${foreignText(client.redirectHost, 253)}</strong></dd>
<dt>Signed in ${person.kind === "key" ? "with the virtual key" : "as"}</dt>
<dd><bdi>${foreignText(signedIn.name, NAME_LENGTH)}</bdi></dd>
</dl>
${
  client.redirectIsLoopback
    ? html`<p class="warn">This sends access to a program on the computer that this browser runs on, and it can call
itself whatever it likes. Go on only if you have just started to sign in from it.</p>`
    : ""
}
<h2>The app will be able to</h2>
<ul>
<li>see and call the tools that you may use ${slug === null ? "on every server" : html`on the server “${slug}”`}, in your
name${person.kind === "key" ? " and within what the key allows" : ""}</li>
${
  person.kind === "user" && slug === null
    ? html`<li>use the gateway's own API with your role, administration included if you administer something</li>`
    : ""
}
<li>do so for up to 30 days, until it signs out or ${person.kind === "key" ? "the key ends" : "your access ends"}</li>
</ul>
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.token}">
${orgField(orgs)}
<div class="buttons">
<button class="main" name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Do not allow</button>
</div>
<p class="soft">Not you? <button class="plain" name="decision" value="sign_out">Sign out</button></p>
</form>`,
  );
}

/** For somebody whom the identity provider knows, and no org here. */
export function strangerPage(signedIn: SignedIn, form: Form): Html {
  return htmlPage(
    "You have no org here",
    html`<p>You are signed in as <strong><bdi>${foreignText(signedIn.name, NAME_LENGTH)}</bdi></strong>, but the org that
your identity provider names is none of this gateway's. An administrator can change that.</p>
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.token}">
<div class="buttons">
<button name="decision" value="sign_out">Sign out</button>
<button name="decision" value="deny">Cancel</button>
</div>
</form>`,
  );
}

/** @param again Where to begin anew, on our own origin. */
export function signedOutPage(again: string): Html {
  return htmlPage("You are signed out", html`<p><a href="${again}">Sign in again</a> to go on with the app.</p>`);
}

/** @param reason Our own words. */
export function problemPage(reason: string): Html {
  return htmlPage(
    "This did not work",
    html`<p>${foreignText(reason, 300)}</p>
<p>Go back to your app and start to sign in from there again.</p>`,
  );
}

function orgField(orgs: readonly string[]): Html {
  const [only, ...others] = orgs;
  if (others.length === 0) {
    return html`<input type="hidden" name="org" value="${only ?? ""}">
<p>It acts in the org <strong><bdi>${foreignText(only ?? "", NAME_LENGTH)}</bdi></strong>.</p>`;
  }
  return html`<label for="org">The org that it acts in</label>
<select id="org" name="org" required>
<option value="">Choose an org</option>
${orgs.map((org) => html`<option value="${org}">${foreignText(org, NAME_LENGTH)}</option>`)}
</select>`;
}

function nameOf({ clientName }: ConsentDescription): Html {
  return html`<bdi>${foreignText(clientName, NAME_LENGTH) || "An app without a name"}</bdi>`;
}

function originOf({ clientDomain }: ConsentDescription): Html | string {
  if (clientDomain === undefined) return "It has registered itself; nobody has checked this name.";
  return html`Described at <strong>${foreignText(clientDomain, 253)}</strong>.`;
}
