'use strict';

// The functions that every server program shares. A program gets `{module, program, options}` as JSON in its
// first argument, prints `{port}` once it listens, answers each line `stats` on stdin with its counters,
// collects garbage on `gc` (where the flag allows it), and ends when stdin ends. `module` is required as
// uWebSockets.js; other kinds of servers (peers/) get the name of the program that they replace.

const fs = require('fs');
const readline = require('readline');

const { module: modulePath, program, options = {} } = JSON.parse(process.argv[2]);

/** The CPU microseconds of the JavaScript thread: the main thread's id is the process id. */
const threadCpu = () => {
  const task = `/proc/self/task/${process.pid}/`;
  try {
    return Number(fs.readFileSync(`${task}schedstat`, 'utf8').split(' ')[0]) / 1000;
  } catch {
    return threadCpuTicks(`${task}stat`);
  }
};

/** A coarse measure, where the kernel has no schedstat: user and system time in ticks of 10 ms. */
const threadCpuTicks = (file) => {
  try {
    const fields = fs
      .readFileSync(file, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10000;
  } catch {
    return null;
  }
};

const counters = { messages: 0 };

const stats = () => {
  const { user, system } = process.cpuUsage();
  return {
    time: Number(process.hrtime.bigint() / 1000n),
    cpu: user + system,
    threadCpu: threadCpu(),
    rss: process.memoryUsage.rss(),
    messages: counters.messages,
  };
};

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** `{tls: {key, certificate}}` makes it an SSLApp; `App` in the programs means either. */
const secured = (uWS, { tls }) => {
  if (!tls) return uWS;
  const SSLApp = () => uWS.SSLApp({ key_file_name: tls.key, cert_file_name: tls.certificate });
  return Object.assign(Object.create(uWS), { App: SSLApp });
};

/** Starts the app that `build(uWS, options)` returns. */
const serve = (build) => {
  const uWS = require(modulePath);
  const app = build(secured(uWS, options), options);
  app.listen('127.0.0.1', 0, (token) => {
    if (!token) throw new Error('listen failed');
    print({ port: uWS.us_socket_local_port(token) });
  });
};

/** The garbage collector of Node (with its flag) or of Bun. */
const collectGarbage = global.gc ?? global.Bun?.gc;

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'stats') print(stats());
    if (line === 'gc') collectGarbage?.(true);
  })
  .on('close', () => process.exit());

/** Keeps the JavaScript thread busy for about this long. */
const burn = (microseconds) => {
  const end = performance.now() + microseconds / 1000;
  while (performance.now() < end);
};

/** Keeps the thread busy for `busy` milliseconds of every `period`. */
const block = (busy, period) => {
  const turn = () => {
    burn(busy * 1000);
    setTimeout(turn, period - busy);
  };
  setTimeout(turn, period);
};

/** WebSocket options under which no message of a trial may be dropped. */
const roomy = { maxPayloadLength: 16 * 1024 * 1024, maxBackpressure: 64 * 1024 * 1024, idleTimeout: 0 };

/** The `compression` of WebSockets, from the names of constants of uWebSockets.js; none without names. */
const compression = (uWS, names = []) => names.reduce((sum, name) => sum | uWS[name], 0);

module.exports = { block, burn, compression, counters, modulePath, options, print, program, roomy, serve };
