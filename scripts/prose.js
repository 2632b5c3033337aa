'use strict';

// Checks comments: no line is wider than 110 columns, and no sentence begins with the noun "What" or "Who" (a
// question may). Run alone it prints the lines that break this.

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const WIDTH = 110;
const SOURCE = /\.(rs|[cm]?[jt]s)$/;
const ROOTS = [
  'bin',
  'index.js',
  'index.mjs',
  'index.d.ts',
  'index.d.mts',
  'lib',
  'scripts',
  '__test__',
  'examples',
  'benchmark',
  'src',
];
const NOT_OURS = /^(node_modules|target|build|static|\.svelte-kit)$/;

/** A line that is only a comment: the text behind its marker. */
const COMMENT = /^\s*(?:\/\/[/!]?|\/\*\*?|\*(?!\/))(?:\s+|$)(.*?)\s*(?:\*\/)?$/;
/** A comment behind code, where no string can be meant. */
const BEHIND = /[\s;,{}()\]]\/\/ ([^'"`]*)$/;
const NOUN = /(?:^|[.!?:;] )(?:- )?(?:What|Who)\b(?![^.]*\?)/;

function offences() {
  return ROOTS.flatMap(sources).flatMap((file) => {
    const lines = fs.readFileSync(path.join(ROOT, file), 'utf8').split('\n');
    return offencesOf(lines).map(([number, why]) => `${file}:${number}: ${why}`);
  });
}

function offencesOf(lines) {
  const found = [];
  /** The lines of the comment that this line may continue. */
  let comment = [];
  const end = (next) => {
    if (NOUN.test(comment.join(' ')))
      found.push([next - comment.length, 'a sentence begins with a noun "What" or "Who"']);
    comment = [];
  };
  lines.forEach((line, at) => {
    const text = (COMMENT.exec(line) ?? BEHIND.exec(line))?.[1];
    if (!text) end(at + 1);
    else comment.push(text);
    if (text && line.length > WIDTH) found.push([at + 1, `a comment of ${line.length} columns`]);
  });
  end(lines.length + 1);
  return found;
}

/** The source files at and below a path. */
function sources(name) {
  if (NOT_OURS.test(path.basename(name))) return [];
  const at = path.join(ROOT, name);
  if (!fs.statSync(at).isDirectory()) return SOURCE.test(name) ? [name] : [];
  return fs.readdirSync(at).flatMap((each) => sources(path.join(name, each)));
}

module.exports = { offences };

if (require.main === module) {
  const found = offences();
  for (const line of found) console.error(line);
  process.exit(found.length ? 1 : 0);
}
