'use strict';

// One run of one trial under one driver: what it measures, as plain numbers.

const { Server, generate } = require('./process.js');

const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
const MIB = 1024 * 1024;

/**
 * CPU of a server between two readings, as a share of a core. Both readings are taken inside the server, so a late
 * answer under load changes the span and not the share.
 */
const usage = (before, after) => {
  const span = after.time - before.time;
  const share = (key) => (before[key] === null ? null : (after[key] - before[key]) / span);
  return { cpu: share('cpu'), js: share('threadCpu') };
};

/** What is counted: replies or deliveries, or megabytes for bulk transfers. */
const rateOf = (trial, report) => {
  if (trial.unit !== 'MiB') return report.rate;
  return report[trial.direction === 'up' ? 'bytes_out_per_s' : 'bytes_in_per_s'] / MIB;
};

const perUnit = (share, rate) => (share === null ? null : (share * 1e6) / rate);

const metrics = (trial, report, before, after) => {
  const rate = rateOf(trial, report);
  const { cpu, js } = usage(before, after);
  const latency = report.last_latency_us ?? report.latency_us;
  return {
    rate,
    jsCpu: perUnit(js, rate),
    cpu: perUnit(cpu, rate),
    p50: latency.p50,
    p99: latency.p99,
    p999: latency.p999,
    rssMiB: after.rss / MIB,
    serverCores: cpu,
    generatorCpu: report.generator_cpu,
    generatorLimited: report.generator_limited,
  };
};

const withServer = async (trial, driver, use) => {
  const core = trial.pinned === false ? null : SERVER_CORE;
  const server = new Server(trial.server, driver.module, trial.options, core, trial.flags);
  try {
    return await use(server, await server.ready());
  } finally {
    await server.stop();
  }
};

const load = (trial, driver, { loadgen, seconds, warmup }) =>
  withServer(trial, driver, async (server, { port }) => {
    const [mode, options] = trial.load;
    const readings = [];
    const core = trial.pinned === false ? null : GENERATOR_CORE;
    const timing = trial.timed === false ? {} : { seconds, warmup };
    if (trial.timed === false) readings.push(server.stats());
    const report = await generate(loadgen, [mode, { ...timing, ...options, port }], core, {
      onPhase: () => readings.push(server.stats()),
    });
    if (trial.timed === false) readings.push(server.stats());
    const [before, after] = await Promise.all(readings);
    return metrics(trial, report, before, after);
  });

/** Runs a trial once; a trial may bring its own way of measuring. */
const measure = (trial, driver, context) =>
  trial.measure ? trial.measure(trial, driver, { ...context, withServer, generate }) : load(trial, driver, context);

module.exports = { measure };
