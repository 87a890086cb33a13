/** A person at a browser, as far as signing in needs one: it follows redirects by hand, keeps cookies, sends forms. */

export interface Visitor {
  /**
   * Goes where a client sends it, signs in with a key where it is asked to, and allows what the client wants.
   *
   * @returns Where the gateway sends the browser in the end: the client's own URL, with what it brings back.
   */
  allow(authorizationUrl: string | URL, key: string): Promise<URL>;
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
        const value = (name: string) => new RegExp(`name="${name}" value="([^"]*)"`).exec(page)?.[1] ?? "";
        if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${page}`);
        forms++;
        const form = page.includes('name="virtual_key"')
          ? { decision: "key", virtual_key: key }
          : { decision: "allow", org: value("org") };
        response = await request(url, { csrf: value("csrf"), ...form });
      }
      throw new Error("Signing in does not end.");
    },
  };
}
