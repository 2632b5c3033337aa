'use strict';

// The two processes of a run: a server with one driver, and the load generator. Both end with the run.

const { spawn, spawnSync } = require('child_process');
const os = require('os');
const path = require('path');
const readline = require('readline');

const LOADGEN = path.join(__dirname, 'loadgen');
const START_TIMEOUT_MS = 20000;
/** Time in addition to warm-up and measuring: for connecting, draining, and some patience. */
const LOAD_TIMEOUT_MS = 90000;

const canPin = os.cpus().length > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0;

/** Pins a command line to one core, where that is possible and wanted. */
const pinned = (core, command) =>
  canPin && core !== null ? ['taskset', '-c', String(core), ...command] : command;

/**
 * Builds the generator and returns its path. It is built in its own folder, so that no other checkout
 * replaces it meanwhile.
 */
const buildLoadgen = () => {
  const target = path.join(LOADGEN, 'target');
  const command = ['build', '--release', '--quiet', '--locked', '--target-dir', target];
  const build = spawnSync('cargo', command, { cwd: LOADGEN, stdio: 'inherit' });
  if (build.error ?? build.status !== 0) throw new Error('the load generator does not build');
  return path.join(target, 'release', 'loadgen');
};

const start = (command, stdio) => {
  const child = spawn(command[0], command.slice(1), { stdio });
  child.ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  return child;
};

const within = (milliseconds, what, promise) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took over ${milliseconds / 1000} s`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** Returns the command that runs a server program with a module, or the program of another kind of server. */
const program = (file, driver, { options, flags = [] }) => [
  driver.runtime ?? process.execPath,
  ...flags,
  driver.program ?? path.join(__dirname, 'servers', file),
  JSON.stringify({ module: driver.module, program: file, options }),
];

/** A server process, which exchanges JSON lines (see servers/support.js). */
class Server {
  constructor(command, core) {
    this.child = start(pinned(core, command), ['pipe', 'pipe', 'inherit']);
    this.child.stdin.on('error', () => {});
    this.lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.death = null;
    this.died = this.child.ended.then(({ code, signal }) => {
      this.death = `the server died (${signal ?? `exit code ${code}`})`;
      throw new Error(this.death);
    });
    this.died.catch(() => {});
  }

  async line(what) {
    const next = this.lines.next().then(({ value, done }) => (done ? this.died : JSON.parse(value)));
    return within(START_TIMEOUT_MS, what, Promise.race([next, this.died]));
  }

  /** The message that the server prints once it listens. */
  ready() {
    return this.line('starting the server');
  }

  stats() {
    this.child.stdin.write('stats\n');
    return this.line('reading the counters of the server');
  }

  collectGarbage() {
    this.child.stdin.write('gc\n');
  }

  /** Waits for the server's death, which may be under way. */
  diedWithin(milliseconds) {
    return Promise.race([this.child.ended, new Promise((resolve) => setTimeout(resolve, milliseconds))]);
  }

  async stop() {
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 3000);
    await this.child.ended;
    clearTimeout(timer);
  }
}

/** Converts options to arguments of the generator: `{size: 20}` becomes `--size 20`. */
const loadArguments = (options) =>
  Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);

/**
 * Runs the generator. `onPhase('measure-start' | 'measure-end')` is called at these times, `hold(report)`
 * while it holds its connections. Resolves with its report, and throws when a reply was wrong.
 */
const generate = async (loadgen, [mode, options], core, { onPhase = () => {}, hold } = {}) => {
  const child = start(pinned(core, [loadgen, mode, ...loadArguments(options)]), ['pipe', 'pipe', 'pipe']);
  child.stdin.on('error', () => {});
  const complaints = [];
  readline.createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('measure-')) onPhase(line);
    else complaints.push(line);
  });
  const report = new Promise((resolve) => {
    readline.createInterface({ input: child.stdout }).once('line', resolve);
  });
  const seconds = Number(options.warmup ?? 0) + Number(options.seconds ?? 0);
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000 + LOAD_TIMEOUT_MS);
  try {
    const text = await Promise.race([report, child.ended.then(() => null)]);
    const held = text && hold && !text.startsWith('{"error"') ? await hold(JSON.parse(text)) : undefined;
    child.stdin.end();
    const { code, signal } = await child.ended;
    if (code !== 0) throw new Error(complaints.join('\n') || `the generator died (${signal ?? code})`);
    return { ...JSON.parse(text ?? (await report)), held };
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
};

module.exports = { Server, buildLoadgen, canPin, generate, pinned, program };
