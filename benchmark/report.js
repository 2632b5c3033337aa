'use strict';

// Shows medians, spreads and ratios of the runs, as a table on the terminal and in Markdown.

const targets = require('./targets.js');

/** The columns; those for which no driver has a value are omitted. */
const COLUMNS = [
  { key: 'rate', title: 'rate /s' },
  { key: 'jsCpu', title: 'JS CPU µs' },
  { key: 'cpu', title: 'CPU µs' },
  { key: 'p50', title: 'p50 µs' },
  { key: 'p99', title: 'p99 µs' },
  { key: 'p999', title: 'p99.9 µs' },
  { key: 'rssMiB', title: 'RSS MiB' },
  { key: 'kibAt1000', title: 'KiB at 1,000' },
  { key: 'kibUsed', title: 'KiB once used' },
  { key: 'kibPerConnection', title: 'KiB at 10,000' },
  { key: 'kibAtMost', title: 'KiB at most' },
  { key: 'most', title: 'most' },
  { key: 'mibAt50000', title: 'MiB at 50,000 (fit)' },
  { key: 'compressedTo', title: 'compressed to' },
  { key: 'requireMs', title: 'require ms' },
  { key: 'firstByteMs', title: 'first byte ms' },
];

const numbers = (values) => values.filter((value) => typeof value === 'number' && Number.isFinite(value));

const median = (values) => {
  const sorted = numbers(values).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return null;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const summary = (values) => {
  const known = numbers(values);
  return known.length === 0
    ? null
    : { median: median(known), min: Math.min(...known), max: Math.max(...known) };
};

const metricsOf = (rounds) => {
  const keys = [...new Set(rounds.flatMap((round) => Object.keys(round)))];
  return Object.fromEntries(keys.map((key) => [key, summary(rounds.map((round) => round[key]))]));
};

/** Computes the ratios of the subject to a peer: of the medians, and the range of those within each round. */
const ratiosOf = (subject, peer) => {
  const ratios = {};
  for (const { key } of COLUMNS) {
    const rounds = summary(subject.map((round, i) => round[key] / peer[i]?.[key]));
    const ratio = median(subject.map((round) => round[key])) / median(peer.map((round) => round[key]));
    if (rounds && Number.isFinite(ratio)) ratios[key] = { ...rounds, median: ratio };
  }
  return ratios;
};

/** Returns the result of a trial: the summary of its rounds per driver, and the ratios per peer. */
const evaluate = (trial, runs, subject, unable) => {
  const rounds = Object.values(runs).flat();
  const peers = Object.keys(runs).filter((name) => name !== subject && runs[subject]);
  return {
    trial: trial.name,
    about: trial.about,
    unit: trial.unit ?? 'message',
    subject,
    must: trial.must,
    unable,
    generatorLimited: rounds.some(({ generatorLimited }) => generatorLimited),
    disturbed: rounds.filter(({ disturbed }) => disturbed).length,
    drivers: Object.fromEntries(Object.entries(runs).map(([name, rounds]) => [name, metricsOf(rounds)])),
    ratios: Object.fromEntries(peers.map((peer) => [peer, ratiosOf(runs[subject], runs[peer])])),
    runs,
  };
};

const short = (value) => {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`;
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(3);
};

const spread = (cell, format) =>
  cell ? `${format(cell.median)} (${format(cell.min)}–${format(cell.max)})` : '–';

/** Returns the rows of a result: the values of each driver, then the ratios to each peer. */
const rows = (result) => {
  const { drivers, ratios, subject, unit, generatorLimited } = result;
  const cells = (metrics, format) => COLUMNS.map(({ key }) => spread(metrics[key], format));
  return [
    [`per ${unit}`, ...COLUMNS.map(({ title }) => title), 'generator'],
    ...Object.entries(drivers).map(([name, metrics]) => [
      name,
      ...cells(metrics, short),
      metrics.generatorCpu
        ? `${Math.round(metrics.generatorCpu.median * 100)} %${generatorLimited ? ' LIMIT' : ''}`
        : '–',
    ]),
    ...Object.entries(ratios).map(([peer, metrics]) => [
      `${subject} ÷ ${peer}`,
      ...cells(metrics, (value) => value.toFixed(2)),
      '',
    ]),
  ];
};

/** The negotiated TLS parameters; where they differ, the drivers do not do the same work. */
const negotiated = (runs) => {
  const found = Object.entries(runs).map(([name, rounds]) => [name, rounds[0]?.tls]);
  const kinds = new Set(found.map(([, tls]) => tls).filter(Boolean));
  if (kinds.size === 0) return [];
  if (kinds.size === 1) return [`Negotiated: ${[...kinds][0]}.`];
  return [`Negotiated differently: ${found.map((entry) => entry.join(': ')).join('; ')}.`];
};

/** The reasons for which a result is not reliable. */
const notes = ({ generatorLimited, disturbed, runs, unable }) => [
  ...(unable.length ? [`Cannot do this: ${unable.join(', ')}.`] : []),
  ...negotiated(runs),
  ...(generatorLimited ? [LIMITED] : []),
  ...(disturbed ? [`${disturbed} rounds were disturbed by other programs, after all retries.`] : []),
];

const LIMITED =
  'The generator was at its limit in some run: the rate is a lower bound, its ratio says little.';

const table = (result) => {
  const lines = rows(result);
  const shown = lines[0].map((_, i) => i === 0 || lines.slice(1).some((line) => line[i] && line[i] !== '–'));
  return lines.map((line) => line.filter((_, i) => shown[i]));
};

const text = (result) => {
  const lines = table(result);
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  const body = lines.map((line) => `  ${line.map((cell, i) => cell.padEnd(widths[i])).join('  ')}`.trimEnd());
  return [`${result.trial}: ${result.about}`, ...body, ...notes(result).map((note) => `  ${note}`)].join(
    '\n',
  );
};

const targetTable = (results) => {
  const table = targets.markdown(results);
  return table ? ['## Targets', '', table, ''] : [];
};

const markdown = (run, results, failures, absent) => {
  const sections = results.map((result) => {
    const [head, ...body] = table(result).map((line) => `| ${line.join(' | ')} |`);
    const rule = `|${'---|'.repeat(table(result)[0].length)}`;
    const remarks = notes(result).map((note) => `\n${note}\n`);
    return `## ${result.trial}\n${result.about}\n\n${[head, rule, ...body].join('\n')}\n${remarks.join('')}`;
  });
  const failed = failures.map(({ trial, driver, error }) => `- **${trial}** with ${driver}: ${error}`);
  return [
    `# Benchmark of ${run.date}`,
    '',
    `${run.cpu}, ${run.cores} cores, ${run.kernel}, Node ${run.node}; ${run.rounds} rounds of`,
    `${run.seconds} s; pinned: ${run.pinned ? 'yes' : 'no'}. Median (least–most of the rounds). ${run.minutes} minutes.`,
    ...absent.map(({ name, missing }) => `Without ${name}: ${missing}.`),
    '',
    ...targetTable(results),
    ...(failed.length ? ['## FAILED', ...failed, ''] : []),
    ...sections,
  ].join('\n');
};

module.exports = { evaluate, markdown, text };
