'use strict';

// The goals of the trials: `must` of a trial holds bounds of ratios to uWebSockets.js 20.30 in the same run,
// or, as `is`, of the values themselves. A rate must be at least the bound, everything else at most.

const REFERENCE = 'uws-20.30';
const LIMIT = 'raw';

const TITLES = {
  rate: 'rate',
  jsCpu: 'JS CPU',
  cpu: 'CPU',
  p50: 'p50',
  p99: 'p99',
  rssMiB: 'RSS MiB',
  kibPerConnection: 'KiB each',
  firstByteMs: 'first byte',
};

const holds = (key, value, bound) => (key === 'rate' ? value >= bound : value <= bound);

const digits = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(value < 0.1 ? 3 : 2));

/** Compares one bound with its value. */
const check = (key, value, bound, unit) => {
  const known = typeof value === 'number' && Number.isFinite(value);
  return {
    title: TITLES[key],
    wanted: `${key === 'rate' ? '≥' : '≤'} ${bound}${unit}`,
    found: known ? `${digits(value)}${unit}` : '–',
    // Rounds as shown: a ratio of 1.003 counts as 1.
    met: known ? holds(key, Number(digits(value)), bound) : null,
  };
};

const checksOf = ({ must = {}, subject, ratios, drivers }) => {
  const { is = {}, ...bounds } = must;
  return [
    ...Object.entries(bounds).map(([key, bound]) => check(key, ratios[REFERENCE]?.[key]?.median, bound, '×')),
    ...Object.entries(is).map(([key, bound]) => check(key, drivers[subject]?.[key]?.median, bound, '')),
  ];
};

/** The share of the rate that moving the bytes alone would allow. */
const ofLimit = ({ ratios }) => ratios[LIMIT]?.rate?.median ?? null;

const verdict = (checks) => {
  if (checks.some(({ met }) => met === false)) return 'below';
  return checks.length && checks.every(({ met }) => met) ? 'reached' : '–';
};

/** Returns a row per trial that has a target or a limit. */
const rows = (results) =>
  results
    .map((result) => ({ result, checks: checksOf(result), limit: ofLimit(result) }))
    .filter(({ checks, limit }) => checks.length || limit !== null)
    .map(({ result, checks, limit }) => [
      result.trial,
      checks
        .map(({ title, found, wanted, met }) => `${title} ${found} (${wanted})${met === false ? ' ✗' : ''}`)
        .join(', ') || '–',
      limit === null ? '–' : `${Math.round(limit * 100)} %`,
      verdict(checks) + (result.generatorLimited ? ', generator LIMIT' : ''),
    ]);

const HEAD = ['trial', `found (wanted), × of ${REFERENCE}`, `of ${LIMIT}`, 'target'];

const table = (results) => {
  const found = rows(results);
  return found.length ? [HEAD, ...found] : [];
};

const text = (results) => {
  const lines = table(results);
  const widths = lines[0]?.map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
};

const markdown = (results) => {
  const [head, ...body] = table(results).map((line) => `| ${line.join(' | ')} |`);
  return head ? [head, `|${'---|'.repeat(HEAD.length)}`, ...body].join('\n') : '';
};

module.exports = { markdown, text };
