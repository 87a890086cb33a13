/** A person at a browser, as far as signing in needs one: it follows redirects by hand, keeps cookies, sends forms. */

export interface Visitor {
  /**
   * Goes where a client sends it, signs in with a key where it is asked to, and allows what the client wants.
   *
   * @returns Where the gateway sends the browser in the end: the client's own URL, with what it brings back.
   */
  allow(authorizationUrl: string | URL, key: string): Promise<URL>;
  /**
   * Follows a link to link an account, signs in with a key where it is asked to, and goes on wherever it may.
   *
   * @returns The page at the end of it.
   */
  link(url: string, key?: string): Promise<{ readonly status: number; readonly page: string }>;
  /** How many forms it has sent. */
  readonly forms: number;
}

const MAX_STEPS = 10;

/**
 * @param elsewhere Signs in at an identity provider that the gateway sends the browser to, and says where that sends it
 *   back to; without one, whatever is not the gateway is the client.
 */
export function createVisitor(elsewhere?: { origin: string; signIn(url: string): Promise<string> }): Visitor {
  const cookies = new Map<string, string>();
  let forms = 0;

  async function request(url: URL, fields?: Record<string, string>): Promise<Response> {
    const Cookie = Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; ");
    const form = fields && { method: "POST", body: new URLSearchParams(fields) };
    const response = await fetch(url, { ...form, redirect: "manual", headers: { Cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      cookies.set(name, value);
    }
    return response;
  }

  /** Sends the form of a page, with a decision that the page offers. */
  function submit(url: URL, page: string, key: string, decision: string): Promise<Response> {
    const value = (name: string) => new RegExp(`name="${name}" value="([^"]*)"`).exec(page)?.[1] ?? "";
    forms++;
    const form = page.includes('name="virtual_key"')
      ? { decision: "key", virtual_key: key }
      : { decision, org: value("org") };
    return request(url, { csrf: value("csrf"), ...form });
  }

  return {
    get forms() {
      return forms;
    },
    async allow(authorizationUrl, key) {
      let url = new URL(authorizationUrl);
      const { origin } = url;
      let response = await request(url);
      for (let step = 0; step < MAX_STEPS; step++) {
        const location = response.headers.get("Location");
        if (location !== null) {
          url = new URL(location, url);
          if (url.origin === elsewhere?.origin) url = new URL(await elsewhere.signIn(url.href));
          if (url.origin !== origin) return url;
          response = await request(url);
          continue;
        }
        const page = await response.text();
        if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${page}`);
        response = await submit(url, page, key, "allow");
      }
      throw new Error("Signing in does not end.");
    },
    async link(start, key = "") {
      let url = new URL(start);
      let response = await request(url);
      for (let step = 0; step < MAX_STEPS; step++) {
        const location = response.headers.get("Location");
        if (location !== null) {
          url = new URL(location, url);
          if (url.origin === elsewhere?.origin) url = new URL(await elsewhere.signIn(url.href));
          response = await request(url);
          continue;
        }
        const page = await response.text();
        const { status } = response;
        if (status !== 200 || !page.includes('name="csrf"')) return { status, page };
        response = await submit(url, page, key, "link");
      }
      throw new Error("Linking does not end.");
    },
  };
}
