'use strict';

// The cost of a server besides messages: starting, accepting, and holding connections.

const fs = require('fs');

const KIB = 1024;

/** The time from `require` to the first byte, in a process of its own. */
const startup = async (trial, driver, { withServer, loadgen }) =>
  withServer(trial, driver, loadgen, async (_, { requireMs, firstByteMs }) => ({ requireMs, firstByteMs }));

/** The number of open files that a process may have. */
const fileLimit = () => {
  try {
    const limits = fs.readFileSync('/proc/self/limits', 'utf8');
    return Number(limits.match(/Max open files +\S+ +(\d+)/)?.[1] ?? Infinity);
  } catch {
    return 1024;
  }
};

/** The number of files that a server needs besides its connections. */
const SPARE_FILES = 1000;
const MOST = 19000;
const FAR = 50000;

/**
 * The resident memory, with a server of its own, before and after so many connections, garbage collected both
 * times.
 */
const withConnections = (connections, trial, driver, { withServer, generate, loadgen }) =>
  withServer(trial, driver, loadgen, async (server, { port }) => {
    const settled = async () => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      server.collectGarbage();
      return server.stats();
    };
    const before = await settled();
    const [mode, options] = trial.load;
    const load = { ...options, ...driver.load, connections, port };
    const { held: after } = await generate(loadgen, [mode, load], null, { hold: settled });
    return { connections, rss: after.rss, each: (after.rss - before.rss) / KIB / connections };
  });

/** The value at `x` of the straight line through the points, by least squares. */
const extrapolate = (points, x) => {
  const mean = (key) => points.reduce((sum, point) => sum + point[key], 0) / points.length;
  const [meanX, meanY] = [mean('connections'), mean('rss')];
  const along = points.reduce((sum, { connections, rss }) => sum + (connections - meanX) * (rss - meanY), 0);
  const square = points.reduce((sum, { connections }) => sum + (connections - meanX) ** 2, 0);
  return meanY + (along / square) * (x - meanX);
};

/**
 * Memory at 1,000, at 10,000, and at as many connections as the limit of open files allows; from these three
 * that of 50,000 is estimated.
 */
const idle = async (trial, driver, context) => {
  const most = Math.min(MOST, fileLimit() - SPARE_FILES);
  const counts = [1000, 10000, most].filter((count) => count <= most);
  const points = [];
  for (const count of counts) points.push(await withConnections(count, trial, driver, context));
  const at = (count) => points.find(({ connections }) => connections === count);
  return {
    rssMiB: at(10000) && at(10000).rss / KIB / KIB,
    kibAt1000: at(1000)?.each,
    kibPerConnection: at(10000)?.each,
    kibAtMost: at(most).each,
    most,
    mibAt50000: points.length > 2 ? extrapolate(points, FAR) / KIB / KIB : undefined,
  };
};

module.exports = [
  {
    name: 'ws-storm',
    about: '10,000 connections and upgrades, 128 in progress; CPU includes closing them',
    server: 'ws-echo.js',
    load: ['ws-storm', { connections: 10000, 'in-progress': 128 }],
    timed: false,
    unit: 'upgrade',
    must: { rate: 1 },
    others: true,
  },
  {
    name: 'ws-idle',
    about: 'memory of idle WebSockets with one subscription each',
    server: 'ws-publish.js',
    flags: ['--expose-gc'],
    load: ['ws-idle', {}],
    measure: idle,
    unit: 'connection',
    must: { kibPerConnection: 1, is: { rssMiB: 60 } },
    others: true,
    rounds: 2,
  },
  {
    name: 'startup',
    about: 'from before require to the first byte of a response',
    server: 'startup.js',
    measure: startup,
    unit: 'process',
    must: { firstByteMs: 1.5 },
    onlyModules: true,
  },
];
