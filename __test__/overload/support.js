'use strict';
// Servers and crowds of clients in processes of their own, and the figures of the tests of overload.
//
//   OVERLOAD=full       the sizes of docs/reliability.md; without it small ones, which take seconds
//   OVERLOAD_FIGURES    the file to which each figure is appended, as a line of JSON

const fs = require('node:fs');
const { spawn } = require('node:child_process');

const SUPPORT = require.resolve('../support');
const full = process.env.OVERLOAD === 'full';

/** Returns the size of a test. */
const sized = (small, large) => (full ? large : small);

/** Records one figure: a row of the table in docs/reliability.md. */
function figure(t, text) {
  t.diagnostic(`figure: ${text}`);
  const file = process.env.OVERLOAD_FIGURES;
  if (file) fs.appendFileSync(file, `${JSON.stringify({ test: t.name, text })}\n`);
}

/**
 * A process that runs `body(support, argument)`, which has no closure, and whose result has the functions
 * that may be called from here.
 */
class Remote {
  constructor(body, argument, { descriptors, env = {} } = {}) {
    const source = `const support = require(${JSON.stringify(SUPPORT)});
      const { Swarm } = require(${JSON.stringify(require.resolve('./swarm'))});
      (async () => {
        const api = await (${body})({ ...support, Swarm }, ${JSON.stringify(argument ?? {})});
        process.on('message', async ({ id, name, given }) => {
          try {
            process.send({ id, result: await api[name](...given) });
          } catch (error) {
            process.send({ id, error: error.stack });
          }
        });
        process.on('disconnect', () => process.exit(0));
        process.send({ id: 0 });
      })();`;
    const node = [process.execPath, '-e', source];
    const command =
      descriptors === undefined ? node : ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh', ...node];
    this.process = spawn(command[0], command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, ...env },
    });
    this.stdout = '';
    this.stderr = '';
    this.process.stdout.on('data', (data) => (this.stdout += data));
    this.process.stderr.on('data', (data) => (this.stderr += data));
    this.calls = new Map();
    this.next = 1;
    this.ready = new Promise((resolve, reject) => this.calls.set(0, { resolve, reject }));
    this.process.on('message', ({ id, result, error }) => {
      const call = this.calls.get(id);
      this.calls.delete(id);
      if (error === undefined) call.resolve(result);
      else call.reject(new Error(error));
    });
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        for (const call of this.calls.values()) {
          call.reject(new Error(`the process has ended (${code ?? signal}): ${this.stderr}`));
        }
        resolve({ code, signal });
      });
    });
  }

  static async start(t, body, argument, options) {
    const remote = new Remote(body, argument, options);
    t.after(() => remote.stop());
    await remote.ready;
    return remote;
  }

  get pid() {
    return this.process.pid;
  }

  call(name, ...given) {
    return new Promise((resolve, reject) => {
      const id = this.next++;
      this.calls.set(id, { resolve, reject });
      this.process.send({ id, name, given }, (error) => error && reject(error));
    });
  }

  /**
   * The `counts` of the process, as soon as `enough(counts)` holds, or at the end of the time: the loop
   * closes a descriptor before JavaScript hears about it.
   */
  async counts(enough, milliseconds = 10000) {
    for (const end = Date.now() + milliseconds; ; await sleep(10)) {
      const counts = await this.call('counts');
      if (enough(counts) || Date.now() > end) return counts;
    }
  }

  /** Ends the process, and resolves when it has ended. */
  stop(signal = 'SIGKILL') {
    this.process.kill(signal);
    return this.ended;
  }

  /** The resident memory in MiB. */
  resident() {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) / 1024);
  }

  descriptors() {
    return fs.readdirSync(`/proc/${this.pid}/fd`).length;
  }
}

/** Starts a process of clients; see `Swarm` for what it can be called for. */
function swarm(t, number = 0) {
  // Each has an address of its own, since an address has some 28,000 ports.
  return Remote.start(
    t,
    ({ Swarm }, host) => {
      const swarm = new Swarm(host);
      const names = Object.getOwnPropertyNames(Swarm.prototype).filter((name) => name !== 'constructor');
      return Object.fromEntries(names.map((name) => [name, (...given) => swarm[name](...given)]));
    },
    `127.0.0.${2 + number}`,
  );
}

/** The value below which so many per cent of the sorted ones are. */
const percentile = (sorted, percent) =>
  sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))];

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Seconds since `began`, a `Date.now()`, with one decimal. */
const since = (began) => ((Date.now() - began) / 1000).toFixed(1);

module.exports = { Remote, swarm, sized, figure, percentile, sleep, since };
