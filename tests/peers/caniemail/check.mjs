// Prints what some mail program cannot show of the pages given as arguments, as JSON:
// {"feature": ["client", ...]}. Features that a program shows in part are left out.
import { readFileSync } from "node:fs";
import { caniemail } from "caniemail";

// The data know too little of the others to be asked ("Feature ... not found").
const clients = [
  "apple-mail.*",
  "gmail.*",
  "outlook.*",
  "protonmail.*",
  "samsung-email.android",
  "thunderbird.macos",
  "yahoo.*",
];
const unseen = {};
for (const file of process.argv.slice(2)) {
  const { issues } = caniemail({ clients, html: readFileSync(file, "utf8") });
  for (const [client, found] of issues.errors)
    for (const { title } of found) (unseen[title] ??= new Set()).add(client);
}
const sorted = Object.entries(unseen).sort(([a], [b]) => (a < b ? -1 : 1));
console.log(JSON.stringify(Object.fromEntries(sorted.map(([title, who]) => [title, [...who].sort()]))));
