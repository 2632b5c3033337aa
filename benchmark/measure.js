'use strict';

// Runs one trial under one driver, and returns the measured values as plain numbers.

const { certificate } = require('./certificate.js');
const machine = require('./machine.js');
const { Server, generate, program } = require('./process.js');

const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
/** The tolerated difference between the time of the server's readings and the measured time. */
const SPAN_TOLERANCE = 0.3;
const MIB = 1024 * 1024;

/** The counted unit: replies or deliveries, or megabytes for bulk transfers. */
const rateOf = (trial, report) => {
  if (trial.unit !== 'MiB') return report.rate;
  return report[trial.direction === 'up' ? 'bytes_out_per_s' : 'bytes_in_per_s'] / MIB;
};

/**
 * Returns the CPU microseconds of the server per unit. The server itself takes both readings, so a late
 * answer under load changes the span but not the share of a core, from which the cost follows. A trial
 * without a span counts everything.
 */
const costs = (trial, report, rate, before, after) => {
  const span = trial.timed === false ? report.messages / (rate * 1e-6) : after.time - before.time;
  const share = (key) => (before[key] === null ? null : (after[key] - before[key]) / span);
  const perUnit = (key) => (before[key] === null ? null : (share(key) * 1e6) / rate);
  // If the server answered late, it was not measured under load.
  const late = trial.timed !== false && Math.abs(span / 1e6 / report.seconds - 1) > SPAN_TOLERANCE;
  return { jsCpu: perUnit('threadCpu'), cpu: perUnit('cpu'), serverCores: share('cpu'), late };
};

const metrics = (trial, report, before, after) => {
  const rate = rateOf(trial, report);
  const latency = report.last_latency_us ?? report.latency_us;
  return {
    rate,
    ...costs(trial, report, rate, before, after),
    p50: latency.p50,
    p99: latency.p99,
    p999: latency.p999,
    rssMiB: after.rss / MIB,
    generatorCpu: report.generator_cpu,
    generatorLimited: report.generator_limited,
    compressedTo: report.compressed_to,
    tls: report.tls ? Object.values(report.tls).join(' ') : undefined,
  };
};

const commandOf = (trial, driver, loadgen) => {
  if (driver.raw) return [loadgen, 'server', trial.raw, ...rawArguments(trial)];
  const options = trial.tls ? { ...trial.options, tls: certificate() } : trial.options;
  return program(trial.server, driver, { options, flags: trial.flags });
};

const serverOf = (trial, driver, loadgen) =>
  new Server(commandOf(trial, driver, loadgen), trial.pinned === false ? null : SERVER_CORE);

/** The generator's options for TLS. */
const security = ({ tls }) => (tls ? { tls, certificate: certificate().certificate } : {});

const withServer = async (trial, driver, loadgen, use) => {
  const server = serverOf(trial, driver, loadgen);
  try {
    return await use(server, await server.ready());
  } catch (error) {
    // A broken connection is often seen before the end of the process that caused it.
    await server.diedWithin(300);
    throw server.death ? new Error(`${server.death}; ${error.message}`) : error;
  } finally {
    await server.stop();
  }
};

const load = (trial, driver, { loadgen, seconds, warmup }) =>
  withServer(trial, driver, loadgen, async (server, { port }) => {
    const [mode, options] = trial.load;
    const core = trial.pinned === false ? null : GENERATOR_CORE;
    const timing = trial.timed === false ? {} : { seconds, warmup };
    const readings = [];
    const read = () => {
      const reading = Promise.all([server.stats(), machine.read()]);
      // The result is examined when the generator is done; until then a death of the server must not be an
      // unhandled rejection.
      reading.catch(() => {});
      readings.push(reading);
    };
    if (trial.timed === false) read();
    const report = await generate(
      loadgen,
      [mode, { ...timing, ...security(trial), ...options, ...driver.load, port }],
      core,
      {
        onPhase: trial.timed === false ? undefined : read,
      },
    );
    if (trial.timed === false) read();
    const [[before, machineBefore], [after, machineAfter]] = await Promise.all(readings);
    const result = metrics(trial, report, before, after);
    return { ...result, foreignCpu: machine.foreign(machineBefore, machineAfter, result) };
  });

/** The options for the answers of the raw server. */
const rawArguments = ({ rawOptions = {} }) =>
  Object.entries(rawOptions).flatMap(([name, value]) => [`--${name}`, String(value)]);

/** Runs a trial once; a trial may have its own way of measuring. */
const measure = (trial, driver, context) =>
  trial.measure
    ? trial.measure(trial, driver, { ...context, withServer, generate, generatorCore: GENERATOR_CORE })
    : load(trial, driver, context);

module.exports = { measure };
