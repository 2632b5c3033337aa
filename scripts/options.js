'use strict';

// The options of scripts that run for a while: one that is misspelt or has no sense ends the script at once,
// since a run of nothing, or of something else, would pass for a success.

const { parseArgs } = require('node:util');

/**
 * Reads the options of a script.
 *
 * @param {Record<string, 'flag' | 'number' | 'whole' | 'text' | string[]>} kinds for each option what it
 *   takes; a list has all values that there are, of which several may be given with commas
 * @param {string[]} [list] the arguments of the script
 */
function optionsOf(kinds, list = process.argv.slice(2)) {
  try {
    return read(kinds, list);
  } catch (error) {
    console.error(error.message);
    process.exit(2);
  }
}

function read(kinds, list) {
  const described = Object.entries(kinds).map(([name, kind]) => [
    name,
    { type: kind === 'flag' ? 'boolean' : 'string' },
  ]);
  const { values } = parseArgs({ args: list, options: Object.fromEntries(described) });
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, checked(name, value, kinds[name])]),
  );
}

function checked(name, value, kind) {
  if (kind === 'number' && /^\d+(\.\d+)?$/.test(value)) return Number(value);
  if (kind === 'whole' && /^\d+$/.test(value) && Number.isSafeInteger(Number(value))) return Number(value);
  if (kind === 'number' || kind === 'whole')
    throw new RangeError(
      `--${name} takes a ${kind === 'whole' ? 'whole ' : ''}number; got ${value || 'none'}`,
    );
  const unknown = Array.isArray(kind) && value.split(',').find((each) => !kind.includes(each));
  if (typeof unknown === 'string')
    throw new RangeError(`--${name} takes ${kind.join(', ')}; got ${unknown || 'nothing'}`);
  return value;
}

module.exports = { optionsOf };
