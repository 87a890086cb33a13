/** What somebody sees who comes back from an authorization server. All text from outside is cut, and escaped. */
import { html, raw } from "hono/html";
import type { Denial } from "../credentials/authorization-request.ts";
import { foreignText, type Html, htmlPage, scriptSource } from "../http/html-page.ts";

/** Tells the window that has opened this one, if it is the gateway's own, and closes this one (BF-46, T-7). */
const SCRIPT = `window.opener?.postMessage({ type: "oauth_success" }, window.location.origin);
window.close();`;

/** The one script that the page of success may run. */
export const SUCCESS_SCRIPT = scriptSource(SCRIPT);

export function successPage(): Html {
  return htmlPage(
    "The gateway is authorized",
    html`<p>You can close this page. The server is stored as soon as the app that sent you here has completed it.</p>
<script>${raw(SCRIPT)}</script>`,
  );
}

/** @param reason Our own words. */
export function failurePage(reason: string, denial?: Denial): Html {
  return htmlPage(
    "The gateway was not authorized",
    html`<p>${foreignText(reason, 300)}</p>
${
  denial === undefined
    ? ""
    : html`<dl>
<dt>What the authorization server says</dt>
<dd><bdi>${foreignText(denial.error, 100)}</bdi>${
        denial.description === null ? "" : html`<br><bdi>${foreignText(denial.description, 300)}</bdi>`
      }</dd>
</dl>`
}
<p>Nothing was stored. Begin again in the app that sent you here.</p>`,
  );
}
