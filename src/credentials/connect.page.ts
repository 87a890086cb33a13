/** The pages of linking an upstream account. Names come from outside: cut, and escaped by `hono/html`. */
import { html } from "hono/html";
import { foreignText, type Html, htmlPage } from "../http/html-page.ts";
import { type Form, keyForm } from "../identity/sign-in.page.ts";

const NAME_LENGTH = 80;

/** What is linked, and for whom. */
export interface LinkShown {
  /** The server's display name. */
  readonly server: string;
  /** Where calls go. */
  readonly serverHost: string;
  /** Where the browser is sent. */
  readonly issuerHost: string;
  readonly org: string;
  readonly scopes: readonly string[];
  readonly account: "user" | "key" | "server" | "trial";
  /** Whom the account is linked for; empty for a server's own. */
  readonly name: string;
}

/** Asks for the virtual key that the account is to be linked for. */
export function connectKeyPage(server: string, form: Form, wasWrong: boolean): Html {
  return htmlPage(
    "Sign in to link an account",
    html`<p>An account on ${nameOf(server)} is to be linked for a virtual key. Sign in with that key first.</p>
${keyForm(form, wasWrong)}`,
  );
}

/** Says what is about to be linked, before anybody is sent anywhere (PS-54). */
export function confirmPage(link: LinkShown, form: Form): Html {
  return htmlPage(
    "Link an account?",
    html`<dl>
<dt>Server</dt><dd><strong>${nameOf(link.server)}</strong><br><span class="soft">${foreignText(link.serverHost, 253)}</span></dd>
<dt>You sign in at</dt><dd><strong>${foreignText(link.issuerHost, 253)}</strong></dd>
<dt>Linked for</dt><dd>${ownerOf(link)}</dd>
<dt>Org</dt><dd>${nameOf(link.org)}</dd>
${link.scopes.length === 0 ? "" : html`<dt>Asked for</dt><dd>${foreignText(link.scopes.join(", "), 400)}</dd>`}
</dl>
${
  link.account === "trial"
    ? html`<p>The gateway reads the server's tools with the access that you give there, and then gives it up. Everybody who
uses the server links an account of their own.</p>`
    : html`<p>The gateway keeps the access that you give there, sealed, and uses it for the calls of ${
        link.account === "user"
          ? "your agents"
          : link.account === "key"
            ? "this key"
            : "everybody who may use the server"
      } only.</p>`
}
${
  link.account === "key"
    ? html`<p class="warn">The account belongs to the key from then on: whoever holds the key acts with it.</p>`
    : ""
}
${link.account === "server" ? html`<p class="warn">All who may use this server act with this one account.</p>` : ""}
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.token}">
<div class="buttons">
<button class="main" name="decision" value="link">Go on</button>
<button name="decision" value="deny">Cancel</button>
</div>
${
  link.name === ""
    ? ""
    : html`<p class="soft">Not you? <button class="plain" name="decision" value="sign_out">Sign out</button></p>`
}
</form>`,
  );
}

/** For somebody else than the one who was asked. */
export function otherPersonPage(name: string, form: Form): Html {
  return htmlPage(
    "This link is not for you",
    html`<p>You are signed in as <strong>${nameOf(name)}</strong>, and this link was made for somebody else. Nothing was
linked.</p>
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.token}">
<div class="buttons"><button name="decision" value="sign_out">Sign out</button></div>
</form>`,
  );
}

/** What has come of a link. */
export interface LinkOutcome {
  readonly server: string;
  /** Whether the account stays linked: one that a server was tried with does not. */
  readonly isKept: boolean;
  readonly tools: number;
  /** Why the server does not work with the account yet, in words of ours; null when it does. */
  readonly trouble: string | null;
}

export function linkedPage({ server, isKept, tools, trouble }: LinkOutcome): Html {
  return htmlPage(
    isKept ? "The account is linked" : "The server was tried",
    html`<p>${
      isKept
        ? html`The gateway can now use your account on <strong>${nameOf(server)}</strong>.`
        : html`The access to <strong>${nameOf(server)}</strong> that you gave has been given up again.`
    }</p>
${
  trouble === null
    ? html`<p>The server answers and offers ${tools === 1 ? "one tool" : `${tools} tools`}.</p>`
    : html`<p class="warn">The server does not work with it yet: ${foreignText(trouble, 300)}</p>`
}
<p>You can close this page.${isKept ? " The call that brought you here works when it is made again." : ""}</p>`,
  );
}

/** @param reason Our own words. */
export function notLinkedPage(reason: string): Html {
  return htmlPage(
    "The account was not linked",
    html`<p>${foreignText(reason, 300)}</p>
<p>Nothing was stored. Make the call again in your app, or ask whoever sent you here for a new link.</p>`,
  );
}

export function cancelledPage(server: string): Html {
  return htmlPage(
    "Nothing was linked",
    html`<p>No account on ${nameOf(server)} was linked. You can close this page.</p>`,
  );
}

export function signedOutPage(again: string): Html {
  return htmlPage("You are signed out", html`<p><a href="${again}">Sign in again</a> to go on.</p>`);
}

function ownerOf({ account, name }: LinkShown): Html {
  if (account === "server") return html`<strong>the server itself</strong>`;
  if (account === "trial") return html`<strong>nobody: this is a test</strong>`;
  return html`${account === "key" ? "the virtual key " : ""}<strong>${nameOf(name)}</strong>`;
}

function nameOf(text: string): Html {
  return html`<bdi>${foreignText(text, NAME_LENGTH)}</bdi>`;
}
