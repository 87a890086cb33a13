/** The description of the JSON API, for tools (`/openapi.json`) and for people (`/docs`); no credential is asked for. */
import { type Context, Hono } from "hono";
import type { AppEnv } from "./app-env.ts";
import { docsPage } from "./docs-page.ts";
import { DOCS_STYLE } from "./docs-style.ts";
import { type OpenApi, openApiOf } from "./openapi.ts";
import { type OperationSpec, refuseOtherMethods } from "./operation.ts";

/** The page runs no script and loads its style only; it may send nothing but its filter, and to nobody but itself. */
const PAGE_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

export function createDocs(specs: readonly OperationSpec[]): Hono<AppEnv> {
  // Most isolates are never asked, so the document is made for the first who asks.
  let made: OpenApi | undefined;
  const document = () => {
    made ??= openApiOf(specs);
    return made;
  };
  const pages: Record<string, (c: Context<AppEnv>) => Response | Promise<Response>> = {
    "/openapi.json": (c) => c.json(document()),
    "/docs": (c) => {
      c.header("Content-Security-Policy", PAGE_POLICY);
      return c.html(docsPage(document(), c.req.query("q") ?? ""));
    },
    "/docs/docs.css": (c) => c.body(DOCS_STYLE, 200, { "Content-Type": "text/css; charset=utf-8" }),
  };
  const docs = new Hono<AppEnv>();
  for (const [path, page] of Object.entries(pages)) {
    docs.get(path, page);
    refuseOtherMethods(docs, path, "GET");
  }
  return docs;
}
