/**
 * Prints the SQL that brings the tools of the built-in server into the catalog as the code has them. After a change of
 * what agents are told of a tool: `drizzle-kit generate --custom --name <why>`, and this into the file it has made.
 */
import { hashOf } from "../src/catalog/definition.ts";
import { builtInDefinitions } from "../src/instructions/built-in-tools.ts";

const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;

const rows = builtInDefinitions().map((definition) => {
  const [text, hash] = [quoted(JSON.stringify(definition)), quoted(hashOf(definition))];
  const found = [text, hash, text, hash, "unixepoch() * 1000", "unixepoch() * 1000"].join(", ");
  return `  ('gateway', ${quoted(definition.name)}, 1, 0, 1, ${found})`;
});

console.log(`-- What agents are told of the built-in tools (PS-29): made by \`node scripts/built-in-tools.ts\`.
UPDATE \`server_tools\` SET \`known\` = 0 WHERE \`server_id\` = 'gateway';
--> statement-breakpoint
INSERT INTO \`server_tools\` (
  \`server_id\`, \`tool\`, \`known\`, \`is_new\`, \`allowed\`,
  \`definition\`, \`definition_hash\`, \`approved_definition\`, \`approved_hash\`, \`first_seen\`, \`last_seen\`
) VALUES
${rows.join(",\n")}
ON CONFLICT (\`server_id\`, \`tool\`) DO UPDATE SET
  \`known\` = 1, \`definition\` = excluded.\`definition\`, \`definition_hash\` = excluded.\`definition_hash\`,
  \`approved_definition\` = excluded.\`approved_definition\`, \`approved_hash\` = excluded.\`approved_hash\`,
  \`last_seen\` = excluded.\`last_seen\`;
--> statement-breakpoint
UPDATE \`generations\` SET \`value\` = \`value\` + 1 WHERE \`org_id\` = '*';`);
