/** The SDKs' own OAuth clients: discovery, registration, PKCE, exchange and refresh are theirs. */
import {
  Client as ClientV2,
  type OAuthClientProvider,
  StreamableHTTPClientTransport as TransportV2,
} from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

/** Where a client on this machine is reached; nobody listens there, the tests bring it what comes back. */
const REDIRECT_URL = "http://127.0.0.1:1/callback";
const ME = { name: "oauth-test", version: "1.0.0" };

type Stored = Awaited<ReturnType<OAuthClientProvider["tokens"]>>;
type Registered = Awaited<ReturnType<OAuthClientProvider["clientInformation"]>>;

/** What a client remembers of its sign-in. */
export interface Keeper extends OAuthClientProvider {
  /** Where it has sent the person last. */
  sentTo: URL | undefined;
  saved: Stored;
  registered: Registered;
}

export function createKeeper(): Keeper {
  let verifier = "";
  return {
    sentTo: undefined,
    saved: undefined,
    registered: undefined,
    redirectUrl: REDIRECT_URL,
    clientMetadata: {
      client_name: "OAuth test",
      redirect_uris: [REDIRECT_URL],
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"],
    },
    state: () => "state-of-the-test",
    clientInformation() {
      return this.registered;
    },
    saveClientInformation(information) {
      this.registered = information;
    },
    tokens() {
      return this.saved;
    },
    saveTokens(tokens) {
      this.saved = tokens;
    },
    redirectToAuthorization(url) {
      this.sentTo = url;
    },
    saveCodeVerifier(text) {
      verifier = text;
    },
    codeVerifier: () => verifier,
  };
}

export interface OAuthClientKind {
  readonly label: string;
  /**
   * Asks for a tool with what is remembered; signs in first if it must.
   *
   * @param signIn Plays the person. @returns The text of the result
   */
  call(
    url: string,
    keeper: Keeper,
    signIn: (authorizationUrl: URL) => Promise<URL>,
    tool: { readonly name: string; readonly args: Record<string, unknown> },
  ): Promise<unknown>;
}

/** Connects, and again once the person has signed in. */
async function connected<T>(
  keeper: Keeper,
  signIn: (url: URL) => Promise<URL>,
  open: () => { connect(): Promise<T>; finish(brought: URLSearchParams): Promise<void> },
): Promise<T> {
  const first = open();
  keeper.sentTo = undefined;
  try {
    return await first.connect();
  } catch (error) {
    // The SDKs say so by an error of their own, after they have sent the person away.
    if (keeper.sentTo === undefined) throw error;
    const back = await signIn(keeper.sentTo);
    await first.finish(back.searchParams);
    return await open().connect();
  }
}

export const OAUTH_CLIENTS: readonly OAuthClientKind[] = [
  {
    label: "the v2 client",
    async call(url, keeper, signIn, { name, args }) {
      const client = await connected(keeper, signIn, () => {
        const transport = new TransportV2(new URL(url), { authProvider: keeper });
        const made = new ClientV2(ME, { versionNegotiation: { mode: "auto" } });
        return {
          connect: async () => {
            await made.connect(transport);
            return made;
          },
          finish: (brought) => transport.finishAuth(brought),
        };
      });
      return client.callTool({ name, arguments: args }).finally(() => client.close());
    },
  },
  {
    label: "the v1 client",
    async call(url, keeper, signIn, { name, args }) {
      const client = await connected(keeper, signIn, () => {
        const transport = new TransportV1(new URL(url), { authProvider: keeper as never });
        const made = new ClientV1(ME);
        return {
          connect: async () => {
            await made.connect(transport);
            return made;
          },
          finish: (brought) => transport.finishAuth(brought.get("code") ?? ""),
        };
      });
      return client.callTool({ name, arguments: args }).finally(() => client.close());
    },
  },
];
