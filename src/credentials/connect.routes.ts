/** Linking an account as people see it: `/connect/<ticket>`, and where authorization servers send browsers back to. */
import { type Context, Hono } from "hono";
import { FAILURES, failureHeaders, GatewayError } from "../failure/gateway-error.ts";
import type { AppEnv } from "../http/app-env.ts";
import { type Html, pageHeaders } from "../http/html-page.ts";
import { refuseOtherMethods } from "../http/operation.ts";
import { addressOf, checkHeaderSizes } from "../http/security.ts";
import { formOf, sentForm, signInWithKey, signOut, type Visitor, visitorAt } from "../http/visitor.ts";
import { SIGN_IN_CALLBACK } from "../identity/browsers.ts";
import { readCookie } from "../identity/cookies.ts";
import * as pages from "./connect.page.ts";
import { scopesOf } from "./credential.ts";
import { CONNECT_CALLBACK, type OpenFlow } from "./flows.ts";
import { clientMetadata } from "./set-up.ts";

const CLIENT_METADATA = "/oauth/client-metadata.json";
const TICKET = "/connect/:ticket{[A-Za-z0-9_-]{43}}";

/** A visit to a link, as far as both methods agree. */
interface Visit extends OpenFlow, Visitor {
  readonly ticket: string;
}

export function createConnectDoors(onFailure: (error: GatewayError, c: Context<AppEnv>) => void): Hono<AppEnv> {
  const doors = new Hono<AppEnv>();
  doors.get(CLIENT_METADATA, (c) => c.json(clientMetadata(new URL(c.req.url).origin)));
  refuseOtherMethods(doors, CLIENT_METADATA, "GET");
  doors.get(CONNECT_CALLBACK, comeBack);
  refuseOtherMethods(doors, CONNECT_CALLBACK, "GET");
  doors.get(TICKET, (c) => visit(c, show));
  doors.post(TICKET, (c) => visit(c, decide));
  refuseOtherMethods(doors, TICKET, "GET, POST");
  doors.all("/connect/*", () => {
    throw new GatewayError("invalid_state", "Invalid or expired state");
  });
  doors.onError((thrown, c) => {
    const error = GatewayError.from(thrown);
    onFailure(error, c);
    for (const [name, value] of Object.entries(failureHeaders(error))) c.header(name, value);
    return page(c, pages.notLinkedPage(error.message), FAILURES[error.code].status);
  });
  return doors;
}

async function visit(c: Context<AppEnv>, serve: (visit: Visit) => Promise<Response>): Promise<Response> {
  checkHeaderSizes(c.req.raw.headers);
  const ticket = c.req.param("ticket") ?? "";
  const open = await c.var.services.flows.ofTicket(ticket);
  return serve({ ...open, ticket, ...(await visitorAt(c)) });
}

async function show(visit: Visit): Promise<Response> {
  return (await otherThan(visit)) ?? page(visit.c, confirm(visit), 200, authorizationOf(visit));
}

async function decide(visit: Visit): Promise<Response> {
  const { c, ticket, browser, here, record } = visit;
  const { services } = c.var;
  const form = await sentForm(visit);
  switch (form.get("decision")) {
    case "deny":
      return page(c, pages.cancelledPage(record.display_name), 200);
    case "key":
      return (await signInWithKey(visit, form)) ? c.redirect(here, 303) : askForKey(visit, true);
    case "sign_out":
      await signOut(visit);
      return page(c, pages.signedOutPage(here), 200);
    case "link": {
      const refused = await otherThan(visit);
      if (refused !== null) return refused;
      return c.redirect(await services.flows.depart(ticket, browser, new URL(c.req.url).origin), 303);
    }
    default:
      throw new GatewayError("invalid_request", "The form has no decision.");
  }
}

/** Where authorization servers send a browser back to (RB-36). */
async function comeBack(c: Context<AppEnv>): Promise<Response> {
  checkHeaderSizes(c.req.raw.headers);
  const { services } = c.var;
  const url = new URL(c.req.url);
  const state = url.searchParams.get("state");
  const browser = readCookie(c.req.raw, "browser");
  if (state === null || browser === null) throw new GatewayError("invalid_state", "Invalid or expired state");
  const open = await services.flows.take(state, browser);
  const { flow, record } = open;
  if (flow.person !== null) {
    const signedIn = await services.browsers.signedIn(readCookie(c.req.raw, "session"));
    if (signedIn?.id !== flow.person || !signedIn.orgs.includes(flow.org_id)) {
      throw new GatewayError("forbidden", "You are not signed in any more as the one whom this link was made for.");
    }
  }
  await services.flows.finish(open, url);
  const owner = { org_id: flow.org_id, user_id: flow.user_id };
  const { tools, trouble } = await services.verifyLink(record.server_id, owner, url.origin);
  await services.tokens.endTrial(owner, record.server_id);
  const isKept = flow.kind !== "trial";
  return page(c, pages.linkedPage({ server: record.display_name, isKept, tools, trouble }), 200);
}

/** The answer to whoever is not the person that the link is for; null for the right one. */
async function otherThan(visit: Visit): Promise<Response | null> {
  const { c, flow, signedIn, browser, here } = visit;
  const { services } = c.var;
  if (flow.person === null) return null;
  if (signedIn === null) {
    if (flow.person.startsWith("key:")) return askForKey(visit, false);
    if (!services.browsers.signsInElsewhere) {
      throw new GatewayError("forbidden", "This gateway has no sign-in for people, so nobody can show who they are.");
    }
    await services.rateLimits.stranger(addressOf(c.req.raw.headers));
    return c.redirect(await services.browsers.start(browser, new URL(SIGN_IN_CALLBACK, c.req.url).href, here), 302);
  }
  if (signedIn.id === flow.person && signedIn.orgs.includes(flow.org_id)) return null;
  return page(c, pages.otherPersonPage(signedIn.name, formOf(visit)), 403);
}

function askForKey(visit: Visit, wasWrong: boolean): Promise<Response> {
  const shown = pages.connectKeyPage(visit.record.display_name, formOf(visit), wasWrong);
  return page(visit.c, shown, wasWrong ? 400 : 200);
}

function confirm(visit: Visit): Html {
  const { flow, record, signedIn } = visit;
  const link: pages.LinkShown = {
    server: record.display_name,
    serverHost: new URL(record.server_url).host,
    issuerHost: new URL(authorizationOf(visit)).host,
    org: flow.org_id === "" ? "every org that sees the server" : flow.org_id,
    scopes: [...new Set([...scopesOf(record), ...flow.scopes])],
    account:
      flow.kind === "user"
        ? flow.user_id.startsWith("key:")
          ? "key"
          : "user"
        : flow.kind === "trial"
          ? "trial"
          : "server",
    name: signedIn?.name ?? "",
  };
  return pages.confirmPage(link, formOf(visit));
}

function authorizationOf({ record }: OpenFlow): string {
  return record.authorization_endpoint ?? record.oauth_issuer_url;
}

async function page(
  c: Context<AppEnv>,
  body: Html,
  status: 200 | (typeof FAILURES)[keyof typeof FAILURES]["status"],
  goesTo?: string,
): Promise<Response> {
  return c.html(body, status, pageHeaders(goesTo));
}
