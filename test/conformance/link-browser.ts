/** A browser in which somebody links an account: it follows redirects by hand, keeps cookies, and agrees to a link. */

export interface Browser {
  /**
   * Opens a link of the gateway and goes on until a page is there to stay.
   *
   * @returns Its title. @throws Error for a page that says that nothing was linked
   */
  link(url: string): Promise<string>;
}

const MAX_STEPS = 15;

/** @param cookie What it brings for every site but the gateway: who has signed in at the identity provider. */
export function createBrowser(gateway: string, cookie: string): Browser {
  const jars = new Map<string, Map<string, string>>();

  async function request(url: URL, form?: Record<string, string>): Promise<Response> {
    const jar = jars.get(url.origin) ?? new Map<string, string>();
    jars.set(url.origin, jar);
    const own = Array.from(jar, ([name, value]) => `${name}=${value}`);
    const headers = { Cookie: (url.origin === gateway ? own : [cookie, ...own]).join("; ") };
    const body = form && { method: "POST", body: new URLSearchParams(form) };
    const response = await fetch(url, { ...body, redirect: "manual", headers });
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      jar.set(name, value);
    }
    return response;
  }

  return {
    async link(url) {
      let at = new URL(url);
      let response = await request(at);
      for (let step = 0; step < MAX_STEPS; step++) {
        const location = response.headers.get("Location");
        if (location !== null) {
          at = new URL(location, at);
          response = await request(at);
          continue;
        }
        const page = await response.text();
        if (response.status !== 200) throw new Error(`${at.origin}${at.pathname} answered ${response.status}: ${page}`);
        const [, csrf] = /name="csrf" value="([^"]*)"/.exec(page) ?? [];
        if (csrf === undefined) return /<title>([^<]*)/.exec(page)?.[1] ?? page;
        response = await request(at, { csrf, decision: "link" });
      }
      throw new Error("Linking does not end.");
    },
  };
}
