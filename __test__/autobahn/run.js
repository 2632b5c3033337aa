'use strict';
// Runs Autobahn, the conformance suite of WebSocket, against our server, and compares the results with
// expected.json.
//
//   node run.js [--quick] [--agents=plain,shared,dedicated,tls] [--record] [case …]
//
// Cases have the names of the suite, with wildcards (`7.*`, `12.1.3`). Without any, all cases for servers are
// run; those of compression only where the agent has it. With --quick only those are run that CI can afford.
// With --record the results are written to expected.json; bad results are not stored. The last line counts
// the cases of all agents. Known cases that were not asked for are skipped; without Python 2.7 all are.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { AGENTS, compresses, start } = require('./agents');
const suite = require('./suite');

const EXPECTED = path.join(__dirname, 'expected.json');
const PLAIN = ['1.*', '2.*', '3.*', '4.*', '5.*', '6.*', '7.*', '9.*', '10.*'];
const COMPRESSED = ['12.*', '13.*'];
const COMPRESSED_PARTS = [
  ...[1, 2, 3, 4, 5].map((part) => `12.${part}.*`),
  ...[1, 2, 3, 4, 5, 6, 7].map((part) => `13.${part}.*`),
];
const QUICK = {
  plain: ['1.*', '2.*', '3.*', '4.*', '5.*', '6.*', '7.*', '10.*'],
  tls: ['1.*', '2.*', '3.*', '4.*', '5.*', '7.*', '10.*'],
  shared: ['1.*', '5.*', '7.*', '12.1.1', '12.2.5', '12.3.11', '13.1.1', '13.3.5', '13.7.1'],
  dedicated: ['1.*', '5.*', '12.1.1', '12.2.5', '12.3.11', '13.1.1', '13.3.5', '13.7.1'],
};
const GOOD = ['OK', 'INFORMATIONAL'];
const PARALLEL = 2;
/**
 * The time limit of one process of the suite. A process writes its results at its very end, so each gets only
 * some of the cases.
 */
const LIMIT_S = 900;

function parse(args) {
  const flags = args.filter((arg) => arg.startsWith('--'));
  const agents = flags.find((flag) => flag.startsWith('--agents='))?.slice('--agents='.length);
  const wrong = flags.filter((flag) => !/^--(quick|record|agents=.+)$/.test(flag));
  if (wrong.length > 0) throw new Error(`no such option: ${wrong}`);
  return {
    quick: flags.includes('--quick'),
    record: flags.includes('--record'),
    agents: agents ? agents.split(',') : Object.keys(AGENTS),
    cases: args.filter((arg) => !arg.startsWith('--')),
  };
}

function matches(pattern, name) {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function isCompression(pattern) {
  return COMPRESSED.some((section) => matches(section, pattern));
}

/** Selects the cases of each agent, in parts that may run side by side. */
function plan({ quick, agents, cases }) {
  return agents.flatMap((agent) => {
    const all = compresses(agent) ? [...PLAIN, ...COMPRESSED_PARTS] : PLAIN;
    const asked = cases.length > 0 ? cases : quick ? QUICK[agent] : all;
    const wanted = asked.filter((pattern) => compresses(agent) || !isCompression(pattern));
    const parts = [
      wanted.filter((pattern) => !isCompression(pattern)),
      ...wanted.filter(isCompression).map((pattern) => [pattern]),
    ];
    return parts.filter((part) => part.length > 0).map((part) => ({ agent, cases: part }));
  });
}

/** The verdict in one word, or in two where the end of the connection is judged differently. */
function verdict({ behavior, behaviorClose }) {
  return behavior === behaviorClose ? behavior : `${behavior}, close ${behaviorClose}`;
}

function isGood(result) {
  return result.split(', close ').every((word) => GOOD.includes(word));
}

/**
 * Reads the results of an agent for the cases `patterns`: lists of good and bad ones, the latter with a line
 * that explains.
 */
function judge({ agent, cases: patterns }, results, expected, directory) {
  const known = Object.keys(expected).filter((name) => patterns.some((pattern) => matches(pattern, name)));
  const names = [...new Set([...known, ...Object.keys(results)])];
  const failures = names.flatMap((name) => {
    const entry = results[name];
    if (!entry) return [`${agent} ${name}: not run`];
    const result = verdict(entry);
    if (isGood(result) && result === expected[name]) return [];
    const line = `${agent} ${name}: ${result}, expected ${expected[name] ?? 'nothing: not in expected.json'}`;
    if (isGood(result)) return [line];
    const report = JSON.parse(fs.readFileSync(path.join(directory, entry.reportfile), 'utf8'));
    return [
      `${line}\n  ${report.result}\n  ${report.resultClose}\n` +
        `  expected ${JSON.stringify(report.expected).slice(0, 300)}\n` +
        `  received ${JSON.stringify(report.received).slice(0, 300)}`,
    ];
  });
  return { passed: names.length - failures.length, failures };
}

async function runPart(part, wstest, directory) {
  const server = await start(part.agent);
  try {
    const results = await suite.run({ ...part, wstest, url: server.url, directory, limitS: LIMIT_S });
    return { results: results ?? {}, crashed: !server.alive() };
  } finally {
    server.stop();
  }
}

/**
 * Sorts the results as the suite does, one for all agents. A case on which agents disagree is reported as a
 * failure afterwards.
 */
function record(found, expected) {
  const good = Object.entries(found).filter(([, result]) => isGood(result));
  const merged = Object.entries({ ...expected, ...Object.fromEntries(good) });
  merged.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
  fs.writeFileSync(EXPECTED, `${JSON.stringify(Object.fromEntries(merged), null, 2)}\n`);
}

/** The cases known for `agents`; those that were not run count as skipped. */
function total(agents, expected) {
  const names = Object.keys(expected);
  const of = (agent) => names.filter((name) => compresses(agent) || !isCompression(name)).length;
  return agents.reduce((sum, agent) => sum + of(agent), 0);
}

async function runAll(options, wstest, expected, output) {
  const queue = plan(options);
  const sum = { passed: 0, failed: 0 };
  const found = {};
  const work = async (part, index) => {
    const directory = path.join(output, `${index}-${part.agent}`);
    const started = Date.now();
    const { results, crashed } = await runPart(part, wstest, directory);
    for (const [name, entry] of Object.entries(results)) found[name] = verdict(entry);
    const { passed, failures } = judge(part, results, expected, directory);
    if (crashed) failures.push(`${part.agent}: the server ended`);
    if (Object.keys(results).length === 0) failures.push(`${part.agent}: no results of ${part.cases}`);
    sum.passed += passed;
    sum.failed += failures.length;
    const seconds = ((Date.now() - started) / 1000).toFixed(0);
    console.log(
      `${part.agent} ${part.cases.join(' ')}: ${passed} passed, ${failures.length} failed, ${seconds} s`,
    );
    if (failures.length > 0) console.log(failures.join('\n'));
  };
  const parts = queue.entries();
  await Promise.all(
    Array.from({ length: PARALLEL }, async () => {
      for (const [index, part] of parts) await work(part, index);
    }),
  );
  return { ...sum, found };
}

async function main() {
  const options = parse(process.argv.slice(2));
  const expected = fs.existsSync(EXPECTED) ? JSON.parse(fs.readFileSync(EXPECTED, 'utf8')) : {};
  const known = total(Object.keys(AGENTS), expected);
  const python = suite.python();
  const skip = (why) => console.log(`Autobahn is skipped: ${why}\n0 passed, 0 failed, ${known} skipped`);
  if (!python) return skip('its suite wants Python 2.7 with pip, and there is none (PYTHON2 may name it)');
  let wstest;
  try {
    wstest = suite.install(python);
  } catch (error) {
    return skip(`its suite could not be installed: ${error.message}`);
  }
  const output = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-rs-autobahn-reports-'));
  const { passed, failed, found } = await runAll(options, wstest, expected, output);
  if (options.record) record(found, expected);
  if (failed === 0) fs.rmSync(output, { recursive: true });
  else console.log(`The suite's reports are in ${output}`);
  const skipped = Math.max(0, known - passed - failed);
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed > 0 ? 1 : 0;
}

main();
