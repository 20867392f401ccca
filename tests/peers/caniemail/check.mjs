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
  const html = readFileSync(file, "utf8");
  for (const group of clients) {
    let found;
    try {
      found = caniemail({ clients: [group], html }).issues.errors;
    } catch (error) {
      // Of Thunderbird the data lack `table-layout`, which only digests use: alerts still ask it.
      if (!(error instanceof RangeError)) throw error;
      console.error(`${group} cannot be asked about ${file}: ${error.message}`);
      continue;
    }
    for (const [client, problems] of found)
      for (const { title } of problems) (unseen[title] ??= new Set()).add(client);
  }
}
const sorted = Object.entries(unseen).sort(([a], [b]) => (a < b ? -1 : 1));
console.log(JSON.stringify(Object.fromEntries(sorted.map(([title, who]) => [title, [...who].sort()]))));
