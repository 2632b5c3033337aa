'use strict';

// Compares servers: node benchmark/index.js [trial…] [--rounds 5] [--seconds 3] [--peer uws-20.30,…]
// See README.md for the rules and for what the numbers mean.

const fs = require('fs');
const path = require('path');
const { parseArgs } = require('util');

const drivers = require('./drivers.js');
const machine = require('./machine.js');
const { measure } = require('./measure.js');
const { buildLoadgen, canPin } = require('./process.js');
const report = require('./report.js');

const RESULTS = path.join(__dirname, 'results');
/** Cores used by others from which on a round is disturbed. */
const FOREIGN_LIMIT = 0.1;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    warmup: { type: 'string', default: '1' },
    retries: { type: 'string', default: '2' },
    patience: { type: 'string', default: '10' },
    subject: { type: 'string', default: 'ours' },
    peer: { type: 'string', default: 'uws-20.30' },
    name: { type: 'string' },
    list: { type: 'boolean', default: false },
    'no-write': { type: 'boolean', default: false },
  },
});

const number = (name, least) => {
  const value = Number(options[name]);
  if (!(value >= least)) throw new Error(`--${name} must be a number from ${least} on`);
  return value;
};

const allTrials = () => {
  const files = fs.readdirSync(path.join(__dirname, 'trials')).filter((file) => file.endsWith('.js'));
  return files.sort().flatMap((file) => require(`./trials/${file}`));
};

/** Trials whose name starts with one of the words; all without words. */
const chosenTrials = () => {
  const trials = allTrials();
  if (positionals.length === 0) return trials;
  for (const word of positionals) {
    if (!trials.some(({ name }) => name.startsWith(word)))
      throw new Error(`no trial is called ${word}…; try --list`);
  }
  return trials.filter(({ name }) => positionals.some((word) => name.startsWith(word)));
};

/** The subject and its peers. A driver named twice is run twice, which shows the noise of the machine. */
const chosenDrivers = () => {
  const found = [options.subject, ...options.peer.split(',')].map(drivers.resolve);
  for (const { name, missing } of found) if (missing) console.error(`without ${name}: ${missing}`);
  const present = found.filter(({ missing }) => !missing);
  const seen = new Map();
  return present.map((driver) => {
    const times = (seen.get(driver.name) ?? 0) + 1;
    seen.set(driver.name, times);
    return times === 1 ? driver : { ...driver, name: `${driver.name} (${times})` };
  });
};

/** One round, when the machine is quiet. It is run again, some times, when something else used it meanwhile. */
const runRound = async (trial, driver, context) => {
  for (let retry = 0; ; retry += 1) {
    await machine.quiet(context.patience, FOREIGN_LIMIT);
    const round = await measure(trial, driver, context);
    const disturbed = round.foreignCpu > FOREIGN_LIMIT || round.late === true;
    if (!disturbed || retry >= context.retries) return { ...round, disturbed };
  }
};

/** All rounds of a trial, the drivers taking turns. A driver that fails is out for the rest of the trial. */
const runTrial = async (trial, competitors, context, failures) => {
  const runs = Object.fromEntries(competitors.map(({ name }) => [name, []]));
  for (let count = 0; count < context.rounds; count += 1) {
    for (const driver of competitors.filter(({ name }) => runs[name])) {
      try {
        runs[driver.name].push(await runRound(trial, driver, context));
      } catch (error) {
        delete runs[driver.name];
        failures.push({ trial: trial.name, driver: driver.name, error: error.message });
        console.error(`FAILED: ${trial.name} with ${driver.name}: ${error.message}`);
      }
    }
  }
  return Object.keys(runs).length ? report.evaluate(trial, runs, competitors[0].name) : null;
};

/** Whether a driver has what a trial needs. */
const isAble = (trial, { module, raw }) => {
  if (raw) return Boolean(trial.raw);
  if (!trial.needs) return true;
  try {
    return trial.needs(require(module));
  } catch {
    // It does not load: the trial will say so.
    return true;
  }
};

const describeRun = ({ rounds, seconds, warmup }) => ({
  date: new Date().toISOString(),
  ...machine.describe(),
  pinned: canPin,
  rounds,
  seconds,
  warmup,
});

const write = (run, results, failures, competitors) => {
  const name = options.name ?? competitors.map((driver) => driver.name.replace(/[ ()]+/g, '-')).join('-vs-');
  const stamp = run.date.slice(0, 16).replace(/:/g, '').replace('T', '-');
  const file = path.join(RESULTS, `${stamp}-${name}`);
  fs.mkdirSync(RESULTS, { recursive: true });
  fs.writeFileSync(`${file}.json`, `${JSON.stringify({ run, failures, results }, null, 1)}\n`);
  fs.writeFileSync(`${file}.md`, `${report.markdown(run, results, failures)}\n`);
  console.log(`written: ${path.relative(process.cwd(), file)}.json and .md`);
};

const main = async () => {
  const trials = chosenTrials();
  if (options.list) {
    for (const { name, about } of trials) console.log(`${name.padEnd(32)} ${about}`);
    return;
  }
  const context = {
    rounds: number('rounds', 1),
    seconds: number('seconds', 0.1),
    warmup: number('warmup', 0),
    retries: number('retries', 0),
    patience: number('patience', 0),
  };
  const competitors = chosenDrivers();
  if (competitors.length === 0) throw new Error('no driver is there');
  if (!canPin) console.error('cannot pin processes to cores: expect more noise');
  context.loadgen = buildLoadgen();
  const failures = [];
  const results = [];
  for (const trial of trials) {
    const able = competitors.filter((driver) => isAble(trial, driver));
    if (able.length === 0) {
      console.error(`skipped ${trial.name}: no driver here has what it needs`);
      continue;
    }
    const result = await runTrial(trial, able, context, failures);
    if (!result) continue;
    results.push(result);
    console.log(`${report.text(result)}\n`);
  }
  if (!options['no-write']) write(describeRun(context), results, failures, competitors);
  if (failures.length) process.exitCode = 1;
  for (const { trial, driver, error } of failures) console.error(`FAILED: ${trial} with ${driver}: ${error}`);
};

main().catch((error) => {
  console.error(`benchmark: ${error.message}`);
  process.exitCode = 1;
});
