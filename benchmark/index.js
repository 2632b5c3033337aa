'use strict';

// Compares servers:
//
//   node benchmark/index.js [trial…] [--rounds 5] [--seconds 3] [--peer uws-20.30,…]
//
// README.md explains the rules and the numbers.

const fs = require('fs');
const path = require('path');
const { parseArgs } = require('util');

const machine = require('./machine.js');
const { measure } = require('./measure.js');
const { buildLoadgen, canPin } = require('./process.js');
const report = require('./report.js');
const { chooseDrivers, chooseTrials, competitorsOf } = require('./selection.js');
const targets = require('./targets.js');

const RESULTS = path.join(__dirname, 'results');
/** A round counts as disturbed when other processes use more than this number of cores. */
const FOREIGN_LIMIT = 0.1;
/**
 * Rounds of the limit and of other kinds of servers when all trials are run: their numbers need not be as
 * exact.
 */
const CONTEXT_ROUNDS = 2;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string' },
    warmup: { type: 'string' },
    retries: { type: 'string' },
    patience: { type: 'string' },
    subject: { type: 'string', default: 'ours' },
    peer: { type: 'string' },
    name: { type: 'string' },
    list: { type: 'boolean', default: false },
    'no-write': { type: 'boolean', default: false },
  },
});

/** A few trials may take their time; all of them have to be done in some twenty minutes. */
const isWhole = positionals.length === 0;
const defaults = isWhole
  ? { seconds: 0.7, warmup: 0.3, retries: 1, patience: 2 }
  : { seconds: 3, warmup: 1, retries: 2, patience: 10 };

const number = (name, least) => {
  const value = Number(options[name] ?? defaults[name]);
  if (!(value >= least)) throw new Error(`--${name} must be a number from ${least} on`);
  return value;
};

/**
 * Runs one round when the machine is quiet. The round is repeated, a few times, when another process used the
 * machine meanwhile.
 */
const runRound = async (trial, driver, context) => {
  for (let retry = 0; ; retry += 1) {
    await machine.quiet(context.patience, FOREIGN_LIMIT);
    const round = await measure(trial, driver, {
      ...context,
      seconds: Math.max(context.seconds, trial.least ?? 0),
      warmup: Math.max(context.warmup, trial.leastWarmup ?? 0),
    });
    const disturbed = round.foreignCpu > FOREIGN_LIMIT || round.late === true;
    if (!disturbed || retry >= context.retries) return { ...round, disturbed };
  }
};

const roundsOf = (driver, rounds) => {
  const isContext = driver.raw || (driver.program && isWhole);
  return isContext ? Math.min(CONTEXT_ROUNDS, Math.ceil(rounds / 2)) : rounds;
};

/**
 * Runs all rounds of a trial, in which the drivers take turns. A driver that fails is excluded from the rest
 * of the trial.
 */
const runTrial = async (trial, competitors, context, failures) => {
  const runs = Object.fromEntries(competitors.map(({ name }) => [name, []]));
  const rounds = Math.min(context.rounds, trial.rounds ?? Infinity);
  for (let count = 0; count < rounds; count += 1) {
    for (const driver of competitors.filter(({ name }) => runs[name])) {
      if (count >= roundsOf(driver, rounds)) continue;
      try {
        runs[driver.name].push(await runRound(trial, driver, context));
      } catch (error) {
        delete runs[driver.name];
        failures.push({ trial: trial.name, driver: driver.name, error: error.message });
        console.error(`FAILED: ${trial.name} with ${driver.name}: ${error.message}`);
      }
    }
  }
  return runs;
};

/** Prepares a trial's server, once for all rounds; returns `null` if that fails. */
const prepared = (trial, failures) => {
  try {
    return trial.prepare ? { ...trial, options: { ...trial.options, ...trial.prepare() } } : trial;
  } catch (error) {
    failures.push({ trial: trial.name, driver: 'all', error: error.message });
    return null;
  }
};

const describeRun = (context, started) => ({
  date: new Date().toISOString(),
  minutes: Math.round((performance.now() - started) / 6000) / 10,
  ...machine.describe(),
  pinned: canPin,
  rounds: context.rounds,
  seconds: context.seconds,
  warmup: context.warmup,
});

const write = (run, results, failures, absent) => {
  const day = run.date.slice(0, 10);
  const time = isWhole ? '' : `-${run.date.slice(11, 16).replace(':', '')}`;
  const file = path.join(RESULTS, `${day}${time}-${options.name ?? machine.name()}`);
  fs.mkdirSync(RESULTS, { recursive: true });
  fs.writeFileSync(`${file}.json`, `${JSON.stringify({ run, failures, absent, results }, null, 1)}\n`);
  fs.writeFileSync(`${file}.md`, `${report.markdown(run, results, failures, absent)}\n`);
  console.log(`written: ${path.relative(process.cwd(), file)}.json and .md`);
};

const runAll = async (trials, { present, absent }, context) => {
  const failures = [];
  const results = [];
  for (const trial of trials) {
    const { able, unable } = competitorsOf(trial, present, options.peer !== undefined);
    if (unable.length && options.peer) console.error(`${trial.name}: without ${unable.join(', ')}`);
    if (able.length === 0) {
      console.error(`skipped ${trial.name}: no driver here has what it needs`);
      continue;
    }
    const ready = prepared(trial, failures);
    if (!ready) continue;
    const runs = await runTrial(ready, able, context, failures);
    if (Object.keys(runs).length === 0) continue;
    const result = report.evaluate(trial, runs, able[0].name, unable);
    results.push(result);
    console.log(`${report.text(result)}\n`);
  }
  const summary = targets.text(results);
  if (summary) console.log(`${summary}\n`);
  for (const { name, missing } of absent) console.error(`without ${name}: ${missing}`);
  for (const { trial, driver, error } of failures) console.error(`FAILED: ${trial} with ${driver}: ${error}`);
  return { results, failures };
};

const main = async () => {
  const trials = chooseTrials(options.list && isWhole ? [''] : positionals);
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
  const drivers = chooseDrivers(options.subject, options.peer?.split(','));
  for (const { name, missing } of drivers.absent) console.error(`without ${name}: ${missing}`);
  if (drivers.present.length === 0) throw new Error('no driver is there');
  if (!canPin) console.error('cannot pin processes to cores: expect more noise');
  context.loadgen = buildLoadgen();
  const started = performance.now();
  const { results, failures } = await runAll(trials, drivers, context);
  if (!options['no-write']) write(describeRun(context, started), results, failures, drivers.absent);
  if (failures.length) process.exitCode = 1;
};

main().catch((error) => {
  console.error(`benchmark: ${error.message}`);
  process.exitCode = 1;
});
