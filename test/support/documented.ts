/** What a test may hold an answer against: the OpenAPI document of the app. */
import { expect } from "vitest";
import { operations } from "../../src/app.ts";
import { codesOf, openApiOf } from "../../src/http/openapi.ts";

export const document = openApiOf(operations.map(({ spec }) => spec));

/** Fails for an error of the JSON API that the document does not name for its operation, code and all (PS-75). */
export async function expectDocumented(method: string, path: string, response: Response): Promise<void> {
  if (response.status < 400) return;
  const [pathname = ""] = path.split("?");
  const operation = operationAt(method, pathname);
  if (operation === undefined) return;
  const body = await response.clone().json<{ code: string; extra_fields?: { code: string } }>();
  const answer = operation.responses[response.status];
  const codes = answer === undefined ? [] : codesOf(answer);
  expect(codes, `errors of ${operation.operationId}`).toContain(body.extra_fields?.code ?? body.code);
}

/** The operation behind a path with values in it; one with fewer parameters goes first, as in the app. */
function operationAt(method: string, pathname: string) {
  const fits = Object.entries(document.paths).filter(([template, methods]) => {
    const pattern = new RegExp(`^${template.replace(/\{\w+\}/g, "[^/]+")}$`);
    return methods[method.toLowerCase()] !== undefined && pattern.test(pathname);
  });
  const [first] = fits.sort(([a], [b]) => a.split("{").length - b.split("{").length);
  return first?.[1][method.toLowerCase()];
}
