'use strict';
// A process of its own, which a spec may kill, starve, block, flood or watch from outside.

const fs = require('node:fs');
const { spawn } = require('node:child_process');

const SUPPORT = require.resolve('../support');

/** Runs `body(support, argument)`; the body has no closure. The process is killed when the test is over. */
class Program {
  constructor(body, argument, { flags = [], descriptors, env = {} } = {}) {
    const source = `const support = require(${JSON.stringify(SUPPORT)});(${body})(support, ${JSON.stringify(argument ?? null)})`;
    const node = [process.execPath, ...flags, '-e', source];
    const command =
      descriptors === undefined ? node : ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh', ...node];
    this.process = spawn(command[0], command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.stdout = '';
    this.stderr = '';
    this.end = null;
    this.waiting = new Set();
    const wake = () => [...this.waiting].forEach((check) => check());
    this.process.stdout.on('data', (data) => ((this.stdout += data), wake()));
    this.process.stderr.on('data', (data) => (this.stderr += data));
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        this.end = { code, signal };
        resolve(this.end);
        wake();
      });
    });
  }

  static start(t, body, argument, options) {
    const program = new Program(body, argument, options);
    t.after(() => program.stop());
    return program;
  }

  get pid() {
    return this.process.pid;
  }

  /** Returns the text behind the name on the first line of standard output that begins with it. */
  said(name) {
    return new Promise((resolve, reject) => {
      const check = () => {
        const line = this.stdout
          .split('\n')
          .slice(0, -1)
          .find((each) => each.startsWith(`${name} `));
        if (line === undefined && this.end === null) return;
        this.waiting.delete(check);
        if (line !== undefined) resolve(line.slice(name.length + 1));
        else reject(new Error(`ended (${JSON.stringify(this.end)}) before it said ${name}: ${this.stderr}`));
      };
      this.waiting.add(check);
      check();
    });
  }

  /** Returns how the process ended; null when it had to be killed after so many milliseconds. */
  async endWithin(milliseconds) {
    const timer = setTimeout(() => this.process.kill('SIGKILL'), milliseconds);
    const { code, signal } = await this.ended;
    clearTimeout(timer);
    return signal === 'SIGKILL' ? null : { code, signal, stdout: this.stdout, stderr: this.stderr };
  }

  stop() {
    if (this.end === null) this.process.kill('SIGKILL');
    return this.ended;
  }

  /** The processor time in seconds that it has used. */
  cpu() {
    const fields = fs
      .readFileSync(`/proc/${this.pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** The resident memory in MiB. */
  resident() {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) / 1024;
  }
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Polls until `check` is true; returns false after so many milliseconds. */
async function eventually(check, milliseconds = 3000) {
  for (const end = Date.now() + milliseconds; Date.now() < end; await sleep(10)) {
    if (await check()) return true;
  }
  return false;
}

/** Waits until a number has not changed for so many milliseconds, and returns it. */
async function settled(read, quiet = 300) {
  for (let last = await read(), since = Date.now(); ; await sleep(10)) {
    const now = await read();
    if (now !== last) [last, since] = [now, Date.now()];
    else if (Date.now() - since >= quiet) return now;
  }
}

/**
 * How many descriptors a process has, but for that of io_uring: a loop makes it when four connections or more
 * have something in the same turn for the first time, at whatever time that is.
 */
function descriptorsOf(pid = process.pid) {
  const folder = `/proc/${pid}/fd`;
  return fs.readdirSync(folder).filter((name) => {
    try {
      return !fs.readlinkSync(`${folder}/${name}`).includes('[io_uring]');
    } catch {
      // It was that of the folder, or has been closed.
      return false;
    }
  }).length;
}

/** Creates repeatable random numbers (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const below = (limit) => Math.floor(next() * limit);
  return { next, below, pick: (list) => list[below(list.length)] };
}

module.exports = { Program, sleep, eventually, settled, descriptorsOf, random };
