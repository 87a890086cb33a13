/** OAuth as people see it: signing in, and saying whether a client may act for them (RFC 6749 section 4.1). */
import { type Context, Hono } from "hono";
import { FAILURES, failureHeaders, GatewayError } from "../failure/gateway-error.ts";
import type { AppEnv } from "../http/app-env.ts";
import { type Html, PAGE_STYLE, pageHeaders } from "../http/html-page.ts";
import { refuseOtherMethods } from "../http/operation.ts";
import { addressOf, checkHeaderSizes } from "../http/security.ts";
import { formOf, keepSession, sentForm, signInWithKey, signOut, type Visitor, visitorAt } from "../http/visitor.ts";
import { type Ask, denied } from "./ask.ts";
import { SESSION_S, SIGN_IN_CALLBACK, type SignedIn } from "./browsers.ts";
import { readCookie } from "./cookies.ts";
import { AUTHORIZE } from "./oauth-library.ts";
import type { Grantor } from "./person.wire.ts";
import { consentPage, keyPage, problemPage, signedOutPage, strangerPage } from "./sign-in.page.ts";

type Answer = Response | Promise<Response>;
type Asked = Extract<Ask, { kind: "ask" }>;

/** A request at the authorization endpoint, as far as both methods agree. */
interface Visit extends Asked, Visitor {}

export function createSignInDoors(onFailure: (error: GatewayError, c: Context<AppEnv>) => void): Hono<AppEnv> {
  const doors = new Hono<AppEnv>();
  doors.get("/oauth/page.css", (c) => c.body(PAGE_STYLE, 200, { "Content-Type": "text/css; charset=utf-8" }));
  refuseOtherMethods(doors, "/oauth/page.css", "GET");
  doors.get(AUTHORIZE, (c) => visit(c, show));
  doors.post(AUTHORIZE, (c) => visit(c, decide));
  refuseOtherMethods(doors, AUTHORIZE, "GET, POST");
  doors.get(SIGN_IN_CALLBACK, comeBack);
  refuseOtherMethods(doors, SIGN_IN_CALLBACK, "GET");
  doors.onError((thrown, c) => {
    const error = GatewayError.from(thrown);
    onFailure(error, c);
    for (const [name, value] of Object.entries(failureHeaders(error))) c.header(name, value);
    return page(c, problemPage(error.message), FAILURES[error.code].status);
  });
  return doors;
}

async function visit(c: Context<AppEnv>, serve: (visit: Visit) => Promise<Response>): Promise<Response> {
  checkHeaderSizes(c.req.raw.headers);
  const ask = await c.var.services.readAsk(new URL(c.req.url));
  if (ask.kind === "refused") return c.redirect(ask.redirectTo, 302);
  return serve({ ...ask, ...(await visitorAt(c)) });
}

async function show(visit: Visit): Promise<Response> {
  const { c, browser, signedIn, here, request, client } = visit;
  const { services } = c.var;
  if (signedIn === null) {
    if (!services.browsers.signsInElsewhere) return showKeyForm(visit, false);
    await services.rateLimits.stranger(addressOf(c.req.raw.headers));
    return c.redirect(await services.browsers.start(browser, callbackUrl(c), here), 302);
  }
  const [org, ...others] = signedIn.orgs;
  // A program on this machine can call itself by any description, so that one is asked about each time (RFC 8252 8.6).
  const isAnybody = client.clientDomain !== undefined && client.redirectIsLoopback;
  // Whoever has several says each time which one is meant.
  if (org !== undefined && others.length === 0 && !isAnybody) {
    const grantor = grantorOf(signedIn, org);
    if (await services.grants.hasConsent(request, grantor)) {
      return c.redirect(await services.grants.give(request, grantor), 302);
    }
  }
  return showConsent(visit, signedIn);
}

async function decide(visit: Visit): Promise<Response> {
  const { c, signedIn, here, request } = visit;
  const { services } = c.var;
  const form = await sentForm(visit);
  switch (form.get("decision")) {
    case "deny":
      return c.redirect(denied(request), 302);
    case "key":
      return (await signInWithKey(visit, form)) ? c.redirect(here, 303) : showKeyForm(visit, true);
    case "sign_out":
      await signOut(visit);
      return page(c, signedOutPage(here), 200);
    case "allow": {
      const org = form.get("org") ?? "";
      if (signedIn === null || !signedIn.orgs.includes(org)) {
        throw new GatewayError("invalid_request", "Choose one of your orgs.");
      }
      return c.redirect(await services.grants.give(request, grantorOf(signedIn, org)), 302);
    }
    default:
      throw new GatewayError("invalid_request", "The form has no decision.");
  }
}

/** Where the identity provider sends a browser back to. */
async function comeBack(c: Context<AppEnv>): Promise<Response> {
  checkHeaderSizes(c.req.raw.headers);
  const { services } = c.var;
  const url = new URL(c.req.url);
  const state = url.searchParams.get("state");
  const browser = readCookie(c.req.raw, "browser");
  const returnTo = state === null || browser === null ? null : await services.browsers.take(browser, state);
  if (state === null || browser === null || returnTo === null) {
    throw new GatewayError("invalid_request", "This sign-in is over, or was begun in another browser.");
  }
  if (url.searchParams.has("error") && !returnTo.startsWith(`${AUTHORIZE}?`)) {
    throw new GatewayError("unauthorized", "The sign-in was not completed.");
  }
  if (url.searchParams.has("error")) {
    // Whatever the provider says of it stays here: the person has seen it, the client has no use for it.
    const ask = await services.readAsk(new URL(returnTo, url));
    return c.redirect(ask.kind === "refused" ? ask.redirectTo : denied(ask.request), 302);
  }
  keepSession(c, await services.browsers.finish(browser, state, callbackUrl(c), c.req.url), SESSION_S);
  return c.redirect(returnTo, 302);
}

function showKeyForm(visit: Visit, wasWrong: boolean): Answer {
  const { c, client } = visit;
  return page(c, keyPage(client, formOf(visit), wasWrong), wasWrong ? 400 : 200, client.redirectUri);
}

function showConsent(visit: Visit, signedIn: SignedIn): Answer {
  const { c, client, request } = visit;
  const form = formOf(visit);
  const shown =
    signedIn.orgs.length === 0
      ? strangerPage(signedIn, form)
      : consentPage(client, request.resource ?? "", signedIn, form);
  return page(c, shown, 200, client.redirectUri);
}

function page(
  c: Context<AppEnv>,
  body: Html,
  status: 200 | (typeof FAILURES)[keyof typeof FAILURES]["status"],
  goesTo?: string,
): Answer {
  return c.html(body, status, pageHeaders(goesTo));
}

function grantorOf({ person }: SignedIn, org: string): Grantor {
  return person.kind === "key" ? person : { ...person, org };
}

function callbackUrl(c: Context<AppEnv>): string {
  return new URL(SIGN_IN_CALLBACK, c.req.url).href;
}
