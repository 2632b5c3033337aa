'use strict';

// HTTP with autocannon, since its numbers are well known. It is a Node program and slower than any of these
// servers: read the CPU columns.

const { execFile } = require('child_process');
const path = require('path');

const { PACKAGES, packages } = require('../drivers.js');
const machine = require('../machine.js');
const { pinned } = require('../process.js');

const MIB = 1024 * 1024;

const cannon = (core, args) =>
  new Promise((resolve, reject) => {
    const program = path.join(PACKAGES, 'autocannon', 'autocannon.js');
    const [command, ...rest] = pinned(core, [process.execPath, program, '--json', '--no-progress', ...args]);
    execFile(command, rest, { maxBuffer: 16 * MIB }, (error, stdout) =>
      error ? reject(error) : resolve(JSON.parse(stdout)),
    );
  });

const measure = (trial, driver, { withServer, loadgen, generatorCore, seconds }) => {
  const missing = packages();
  if (missing) throw new Error(`autocannon: ${missing}`);
  return withServer(trial, driver, loadgen, async (server, { port }) => {
    const args = ['-c', '64', '-p', String(trial.pipeline)];
    const url = `http://127.0.0.1:${port}/`;
    await cannon(generatorCore, [...args, '-d', '1', url]);
    const [before, machineBefore] = [await server.stats(), machine.read()];
    const report = await cannon(generatorCore, [
      ...args,
      '-d',
      String(Math.max(2, Math.round(seconds))),
      url,
    ]);
    const [after, machineAfter] = [await server.stats(), machine.read()];
    if (report.errors || report.non2xx || report.mismatches)
      throw new Error(`autocannon: ${report.errors} errors, ${report.non2xx} not 2xx`);
    const requests = report.requests.total;
    const of = (key) => (before[key] === null ? null : (after[key] - before[key]) / requests);
    const serverCores = (after.cpu - before.cpu) / (after.time - before.time);
    return {
      rate: report.requests.average,
      jsCpu: of('threadCpu'),
      cpu: of('cpu'),
      p50: report.latency.p50 * 1000,
      p99: report.latency.p99 * 1000,
      p999: report.latency.p99_9 * 1000,
      rssMiB: after.rss / MIB,
      // Its own core is saturated, which limits the rate.
      generatorLimited: true,
      foreignCpu: machine.foreign(machineBefore, machineAfter, { serverCores, generatorCpu: 1 }),
    };
  });
};

module.exports = [1, 10].map((pipeline) => ({
  name: `autocannon/hello-c64-p${pipeline}`,
  about: `autocannon -c 64 -p ${pipeline}, GET of "Hello World!"`,
  server: 'http.js',
  raw: 'http',
  unit: 'request',
  others: true,
  rounds: 3,
  pipeline,
  measure,
}));
