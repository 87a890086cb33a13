/**
 * Which hosts a gateway may contact. A Worker does not see what a name resolves to, so this looks at the host as
 * written; the registry's allowlist carries the rest (protocol.md 5.5). Expects hosts as `URL` prints them, which has
 * already turned `2130706433`, `0x7f.1` and `[::FFFF:10.0.0.1]` into their plain forms.
 */

export type HostKind = "public" | "local" | "forbidden";

/** Reachable in development only: loopback and private networks, and names that only a local resolver knows. */
const LOCAL_NAMES = /^localhost$|\.(localhost|local|internal|lan|home\.arpa)$/;

/** IPv4 blocks of the IANA special-purpose registry, as [first address, prefix length, kind]. */
const BLOCKS_V4: readonly [address: string, bits: number, kind: HostKind][] = [
  ["0.0.0.0", 8, "forbidden"],
  ["10.0.0.0", 8, "local"],
  ["100.64.0.0", 10, "forbidden"],
  ["127.0.0.0", 8, "local"],
  // Link-local, where clouds keep their metadata services.
  ["169.254.0.0", 16, "forbidden"],
  ["172.16.0.0", 12, "local"],
  ["192.0.0.0", 24, "forbidden"],
  ["192.0.2.0", 24, "forbidden"],
  ["192.88.99.0", 24, "forbidden"],
  ["192.168.0.0", 16, "local"],
  ["198.18.0.0", 15, "forbidden"],
  ["198.51.100.0", 24, "forbidden"],
  ["203.0.113.0", 24, "forbidden"],
  // Multicast, reserved and broadcast.
  ["224.0.0.0", 3, "forbidden"],
];

/** Says whether a host is public, local (development only) or never to be contacted (PS-61). */
export function kindOfHost(hostname: string): HostKind {
  const host = plainHost(hostname);
  if (host.startsWith("[")) return kindOfV6(host.slice(1, -1));
  const v4 = parseV4(host);
  if (v4 !== null) return kindOfV4(v4);
  if (LOCAL_NAMES.test(host)) return "local";
  return host.includes(".") ? "public" : "local";
}

/** Whether a URL leads to the host and port of an origin, however it spells them. */
export function isSameHost(url: string, origin: string): boolean {
  const [one, other] = [URL.parse(url), URL.parse(origin)];
  if (one === null || other === null) return false;
  return plainHost(one.hostname) === plainHost(other.hostname) && portOf(one) === portOf(other);
}

/** Whether a host is a domain or lies below it: `notion.com` and `api.notion.com`, and not `notnotion.com` (CN-6). */
export function isHostWithin(hostname: string, domain: string): boolean {
  const host = plainHost(hostname);
  return host === domain || host.endsWith(`.${domain}`);
}

/** The port of a URL, given or implied. */
export function portOf({ port, protocol }: URL): number {
  if (port !== "") return Number(port);
  return protocol === "https:" ? 443 : 80;
}

/** Lower case, and without the dots that end a name: resolvers take `localhost.` for `localhost`. */
function plainHost(hostname: string): string {
  return hostname.toLowerCase().replace(/\.+$/, "");
}

function parseV4(host: string): number | null {
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(host)) return null;
  return host.split(".").reduce((address, part) => address * 256 + Number(part), 0);
}

function kindOfV4(address: number): HostKind {
  for (const [first, bits, kind] of BLOCKS_V4) {
    const size = 2 ** (32 - bits);
    if (Math.floor(address / size) === Math.floor((parseV4(first) ?? 0) / size)) return kind;
  }
  return "public";
}

function kindOfV6(text: string): HostKind {
  const groups = expandV6(text);
  const [first = 0, second = 0] = groups;
  const low = (groups[6] ?? 0) * 65_536 + (groups[7] ?? 0);
  const zeros = groups.findIndex((group) => group !== 0);
  if (zeros === -1) return "forbidden";
  if (zeros === 7 && groups[7] === 1) return "local";
  // Addresses that carry an IPv4 address are what that address is: mapped, compatible, NAT64 and 6to4.
  if (zeros >= 5 && (zeros > 5 || groups[5] === 0xffff)) return kindOfV4(low);
  if (first === 0x64 && second === 0xff9b) return kindOfV4(low);
  if (first === 0x2002) return kindOfV4(second * 65_536 + (groups[2] ?? 0));
  if ((first & 0xfe00) === 0xfc00) return "local";
  // Teredo and documentation addresses lie within 2000::/3; everything outside it is special.
  if (first === 0x2001 && (second === 0 || second === 0xdb8)) return "forbidden";
  return first >= 0x2000 && first < 0x4000 ? "public" : "forbidden";
}

/** The eight groups of an IPv6 address in the form that `URL` prints. */
function expandV6(text: string): number[] {
  const [head = "", tail] = text.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  if (tail === undefined) return groups(head);
  const [left, right] = [groups(head), groups(tail)];
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}
