'use strict';

// What a server costs around the messages: starting, accepting, and holding connections.

const KIB = 1024;

/** `require` to first byte, in a process of its own. */
const startup = async (trial, driver, { withServer, loadgen }) =>
  withServer(trial, driver, loadgen, async (_, { requireMs, firstByteMs }) => ({ requireMs, firstByteMs }));

/** Memory before and after the connections are there, garbage collected both times. */
const idle = async (trial, driver, { withServer, generate, loadgen }) =>
  withServer(trial, driver, loadgen, async (server, { port }) => {
    const settled = async () => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      server.collectGarbage();
      return server.stats();
    };
    const before = await settled();
    const [mode, options] = trial.load;
    const { held: after } = await generate(loadgen, [mode, { ...options, port }], null, { hold: settled });
    const kibPerConnection = (after.rss - before.rss) / KIB / options.connections;
    return { rssMiB: after.rss / KIB / KIB, kibPerConnection };
  });

module.exports = [
  {
    name: 'ws-storm',
    about: '10,000 connections and upgrades, 128 in progress; CPU includes closing them',
    server: 'ws-echo.js',
    load: ['ws-storm', { connections: 10000, 'in-progress': 128 }],
    timed: false,
    unit: 'upgrade',
  },
  {
    name: 'ws-idle',
    about: 'memory of 10,000 idle WebSockets with one subscription each',
    server: 'ws-publish.js',
    flags: ['--expose-gc'],
    load: ['ws-idle', { connections: 10000 }],
    measure: idle,
    unit: 'connection',
  },
  {
    name: 'startup',
    about: 'from before require to the first byte of a response',
    server: 'startup.js',
    measure: startup,
    unit: 'process',
  },
];
