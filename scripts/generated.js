'use strict';

// Parts of the documents that are made from what the tests know. Each stands between two marks in its page.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT } = require('./run.js');

/** A part of a page, between the marks `begin` and `end`. */
class GeneratedPart {
  #page;
  #begin;
  #end;

  constructor({ page, begin, end }) {
    this.#page = page;
    this.#begin = begin;
    this.#end = end;
  }

  /** The page as it is, and as it would be with this text in its part. */
  #with(text) {
    const now = fs.readFileSync(path.join(ROOT, this.#page), 'utf8');
    const from = now.indexOf(this.#begin);
    const to = now.indexOf(this.#end);
    if (from < 0 || to < from) {
      throw new Error(`${this.#page} has no place for the part: ${this.#begin} … ${this.#end}`);
    }
    return { now, then: `${now.slice(0, from)}${this.#begin}\n\n${text}\n\n${now.slice(to)}` };
  }

  write(text) {
    fs.writeFileSync(path.join(ROOT, this.#page), this.#with(text).then);
  }

  /** Lines that say how the page differs from the text; none when it does not. */
  offences(text, script) {
    const { now, then } = this.#with(text);
    return now === then ? [] : [`${this.#page} is out of date: node ${script} --write`];
  }

  /** The program of a script that makes the text: `--write` renews the page, `--check` fails if it is old. */
  main(make, script) {
    if (process.argv.includes('--write')) return this.write(make());
    if (!process.argv.includes('--check')) {
      console.error(`Usage: node ${script} --write | --check`);
      process.exit(2);
    }
    for (const line of this.offences(make(), script)) {
      console.error(line);
      process.exitCode = 1;
    }
  }
}

/** Text in a cell of a table. */
const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** A table of Markdown. */
function table(heads, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}

module.exports = { GeneratedPart, cell, table };
