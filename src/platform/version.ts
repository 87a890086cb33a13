/** How the gateway introduces itself, to clients and to servers. A test compares the version with `package.json`. */
export const POSTERN = { name: "postern", version: "0.1.0" } as const;
