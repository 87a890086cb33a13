import { describe, expect, it } from "vitest";
import { type HostKind, kindOfHost } from "../../src/platform/address.ts";

/** First and last address of each special IPv4 block, with its neighbours outside. */
const V4: [kind: HostKind, first: string, last: string, below: string | null, above: string | null][] = [
  ["forbidden", "0.0.0.0", "0.255.255.255", null, "1.0.0.0"],
  ["local", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"],
  ["forbidden", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"],
  ["local", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"],
  ["forbidden", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"],
  ["local", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"],
  ["forbidden", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"],
  ["forbidden", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"],
  ["local", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"],
  ["forbidden", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"],
  ["forbidden", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"],
  ["forbidden", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"],
  ["forbidden", "224.0.0.0", "255.255.255.255", "223.255.255.255", null],
];

/** A host as `URL` prints it, which is what the guard looks at. */
const printed = (host: string) => new URL(`https://${host}/`).hostname;
const inV6 = (v4: string, prefix: string) => printed(`[${prefix}${v4}]`);

/** The kinds of hosts, beside the hosts, so that a difference names them. */
const kindsOf = (hosts: readonly string[]) => hosts.map((host) => [host, kindOfHost(host)]);

describe("an IPv4 address", () => {
  it("is special within its block and public beside it, also inside an IPv6 address", () => {
    for (const [kind, first, last, below, above] of V4) {
      const [inside, outside] = [[first, last], [below, above].filter((address) => address !== null)];
      expect(kindsOf(inside)).toEqual(inside.map((host) => [host, kind]));
      expect(kindsOf(outside)).toEqual(outside.map((host) => [host, "public"]));
      for (const prefix of ["::ffff:", "64:ff9b::"]) {
        const [mapped, others] = [inside, outside].map((list) => list.map((host) => inV6(host, prefix)));
        expect(kindsOf(mapped ?? [])).toEqual(mapped?.map((host) => [host, kind]));
        expect(kindsOf(others ?? [])).toEqual(others?.map((host) => [host, "public"]));
      }
    }
  });
});

describe("an IPv6 address", () => {
  it("is public where the special-purpose registry leaves it", () => {
    const table: [host: string, kind: HostKind][] = [
      ["[::]", "forbidden"],
      ["[::1]", "local"],
      ["[::2]", "forbidden"],
      ["[::ffff:0:a00:1]", "forbidden"],
      ["[fc00::]", "local"],
      ["[fdff:ffff::1]", "local"],
      ["[fe80::1]", "forbidden"],
      ["[febf::1]", "forbidden"],
      ["[fec0::1]", "forbidden"],
      ["[ff02::1]", "forbidden"],
      ["[100::1]", "forbidden"],
      ["[2001::1]", "forbidden"],
      ["[2001:db8::1]", "forbidden"],
      ["[2002:7f00:1::]", "local"],
      ["[2002:a9fe:a9fe::1]", "forbidden"],
      ["[2002:808:808::1]", "public"],
      ["[4000::1]", "forbidden"],
      ["[2606:4700::1111]", "public"],
      ["[2000::]", "public"],
      ["[3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "public"],
      ["[64:ff9b:1::a00:1]", "local"],
    ];
    expect(table.map(([host]) => [host, kindOfHost(printed(host))])).toEqual(table);
  });
});

describe("a name", () => {
  it("is public unless only a local resolver can know it", () => {
    const table: [host: string, kind: HostKind][] = [
      ["docs.example", "public"],
      ["docs.example.", "public"],
      ["xn--bcher-kva.example", "public"],
      ["localhost.example", "public"],
      ["internal.example", "public"],
      ["127.0.0.1.example", "public"],
      ["1.2.3.4.5", "public"],
      ["notlocalhost", "local"],
      ["localhost", "local"],
      ["LOCALHOST", "local"],
      ["localhost.", "local"],
      ["a.localhost", "local"],
      ["printer.local", "local"],
      ["a.b.internal", "local"],
      ["a.internal.", "local"],
      ["router.lan", "local"],
      ["host.home.arpa", "local"],
      ["docs", "local"],
      ["docs.", "local"],
      ["", "local"],
    ];
    expect(kindsOf(table.map(([host]) => host))).toEqual(table);
  });
});
