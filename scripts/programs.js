'use strict';

// Puts the programs of examples/recipes, which tests run, into the pages that show them, each between two
// marks with its name. `node scripts/programs.js --write` renews the pages; `--check` fails where a page
// shows anything else than the program, or where a program is shown nowhere.

const fs = require('node:fs');
const path = require('node:path');
const { GeneratedPart } = require('./generated.js');
const { ROOT } = require('./run.js');

const FOLDER = 'examples/recipes';
const PAGES = ['README.md', 'docs/guide.md'];
const LANGUAGES = { '.cfg': 'haproxy', '.conf': 'nginx', '.mjs': 'js', '.mts': 'ts' };
const SCRIPT = 'scripts/programs.js';

const beginOf = (name) => `<!-- program: ${name} -->`;

/** The programs that are shown: the page of each, and its part there. */
function shown() {
  return PAGES.flatMap((page) => {
    const text = fs.readFileSync(path.join(ROOT, page), 'utf8');
    return [...text.matchAll(/<!-- program: (\S+) -->/g)].map(([begin, name]) => {
      const part = new GeneratedPart({ page, begin, end: `<!-- end of ${name} -->` });
      return { name, page, part };
    });
  });
}

const names = () => fs.readdirSync(path.join(ROOT, FOLDER)).filter((name) => path.extname(name) in LANGUAGES);

/** The program as a page shows it. */
function block(name) {
  const text = fs.readFileSync(path.join(ROOT, FOLDER, name), 'utf8').trimEnd();
  return `\`\`\`${LANGUAGES[path.extname(name)]}\n${text}\n\`\`\``;
}

function offences() {
  const there = shown();
  const nowhere = names().filter((name) => !there.some((each) => each.name === name));
  return [
    ...nowhere.map(
      (name) => `${FOLDER}/${name} is on no page: ${beginOf(name)} belongs to one of ${PAGES.join(', ')}`,
    ),
    ...there.flatMap(({ name, part }) => part.offences(block(name), SCRIPT)),
  ];
}

function main() {
  if (process.argv.includes('--write')) return shown().forEach(({ name, part }) => part.write(block(name)));
  if (!process.argv.includes('--check')) {
    console.error(`Usage: node ${SCRIPT} --write | --check`);
    process.exit(2);
  }
  for (const line of offences()) {
    console.error(line);
    process.exitCode = 1;
  }
}

module.exports = { block, names, offences, shown };

if (require.main === module) main();
