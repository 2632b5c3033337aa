'use strict';
// Strict readers of the two text formats of metrics. Whatever the formats do not allow is an error.

const assert = require('node:assert/strict');

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\\\n]|\\\\[\\\\"n])*)"';
const SAMPLE = new RegExp(
  `^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)\\})? ([0-9]+(?:\\.[0-9]+)?(?:e-?[0-9]+)?)$`,
);
const META = new RegExp(`^# (HELP|TYPE|UNIT) (${NAME}) (.+)$`);

/**
 * Reads a text; returns its families by name: { type, help, unit, samples }. The samples are numbers by their
 * name with labels, as they are written. `open`: OpenMetrics.
 */
function read(text, open = false) {
  assert.ok(text.endsWith(open ? '\n# EOF\n' : '\n'), 'the end');
  const families = new Map();
  let current;
  const lines = text.slice(0, -1).split('\n');
  if (open) lines.pop();
  for (const line of lines) {
    const meta = META.exec(line);
    if (meta) {
      const [, kind, name, value] = meta;
      if (current?.name !== name) {
        assert.ok(!families.has(name), `${name} is in two places`);
        current = { name, samples: new Map() };
        families.set(name, current);
      }
      assert.equal(current.samples.size, 0, `${line} behind samples`);
      const key = kind.toLowerCase();
      assert.equal(current[key], undefined, `${line}: a second time`);
      current[key] = value;
      continue;
    }
    const sample = SAMPLE.exec(line);
    assert.ok(sample, `no line of the format: ${line}`);
    belongs(current, sample[1], open);
    const at = sample[2] === undefined ? sample[1] : `${sample[1]}{${sample[2]}}`;
    assert.ok(!current.samples.has(at), `${at} comes twice`);
    current.samples.set(at, Number(sample.at(-1)));
  }
  for (const family of families.values()) complete(family, open);
  return families;
}

function belongs(family, name, open) {
  const suffix = open && family.type === 'counter' ? '_total' : '';
  assert.equal(name, family.name + suffix, 'a sample of another family');
}

function complete({ name, type, help, unit, samples }, open) {
  assert.ok(['counter', 'gauge'].includes(type) && help && samples.size > 0, name);
  assert.equal(name.endsWith('_total'), !open && type === 'counter', name);
  if (unit !== undefined) assert.ok(open && name.endsWith(`_${unit}`), `${name} in ${unit}`);
}

/** All samples of a text in one object. */
function samples(text, open) {
  return Object.fromEntries([...read(text, open).values()].flatMap((family) => [...family.samples]));
}

module.exports = { read, samples };
