/** Whoever sits at a browser in front of one of our own pages, and the decisions about themselves that all pages share. */
import type { Context } from "hono";
import { GatewayError } from "../failure/gateway-error.ts";
import { orNull, SESSION_S, type SignedIn } from "../identity/browsers.ts";
import { readCookie, writeCookie } from "../identity/cookies.ts";
import type { AppEnv } from "./app-env.ts";
import { readForm } from "./form.ts";
import { addressOf } from "./security.ts";

export interface Visitor {
  readonly c: Context<AppEnv>;
  /** The browser's own secret. */
  readonly browser: string;
  readonly signedIn: SignedIn | null;
  /** Path and query of this request. */
  readonly here: string;
}

/** Who is there; a browser that has no secret yet gets one. */
export async function visitorAt(c: Context<AppEnv>): Promise<Visitor> {
  const { browsers } = c.var.services;
  const url = new URL(c.req.url);
  const browser = readCookie(c.req.raw, "browser") ?? browsers.newSecret();
  // As long as the session, so that a form that was shown while somebody is signed in can be sent.
  c.header("Set-Cookie", writeCookie(url, "browser", browser, SESSION_S), { append: true });
  const signedIn = await browsers.signedIn(readCookie(c.req.raw, "session"));
  return { c, browser, signedIn, here: `${url.pathname}${url.search}` };
}

/** What a form of a page shown to somebody must bring back. */
export function formOf({ c, browser, here, signedIn }: Visitor): { readonly action: string; readonly token: string } {
  return { action: here, token: c.var.services.browsers.formToken(browser, here, signedIn) };
}

/** The form that the page has sent. @throws GatewayError `forbidden` for any other page's or browser's */
export async function sentForm({ c, browser, here, signedIn }: Visitor): Promise<URLSearchParams> {
  const form = await readForm(c.req.raw);
  if (c.var.services.browsers.isFormToken(form.get("csrf") ?? "", browser, here, signedIn)) return form;
  throw new GatewayError("forbidden", "The page was too old, or was opened in another browser.");
}

/** Signs in with the virtual key of a form. False for one that opens nothing. @throws GatewayError `rate_limited` */
export async function signInWithKey({ c }: Visitor, form: URLSearchParams): Promise<boolean> {
  const { browsers, rateLimits } = c.var.services;
  const signIn = () => browsers.signInWithKey((form.get("virtual_key") ?? "").trim());
  const session = await orNull(rateLimits.guard(addressOf(c.req.raw.headers), signIn));
  if (session !== null) keepSession(c, session, SESSION_S);
  return session !== null;
}

export async function signOut({ c }: Visitor): Promise<void> {
  await c.var.services.browsers.signOut(readCookie(c.req.raw, "session"));
  keepSession(c, "", 0);
}

export function keepSession(c: Context<AppEnv>, session: string, seconds: number): void {
  c.header("Set-Cookie", writeCookie(new URL(c.req.url), "session", session, seconds), { append: true });
}
