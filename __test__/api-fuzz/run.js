'use strict';
// Fuzzes the API: npm run test:api-fuzz -- [options]
//
//   --seconds N     how long to go on (default 30)
//   --seed S        the first round's seed; the next rounds count up (default: of the clock)
//   --rounds N      ends after so many rounds
//   --steps N       the calls of a round (default 10000)
//   --asan          builds the addon with AddressSanitizer and runs it so
//
// Every round is a process of its own (target.js), with clients at the other end. It must not crash, hang or
// panic, throw nothing but documented errors, end each object once, and serve a clean request at the end.

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const tls = require('node:tls');
const { spawn } = require('node:child_process');
const { optionsOf } = require('../../scripts/options');
const { random } = require('../robustness/program');
const certificates = require('../tls/certificates');
const { frame, get, post, upgradeRequest } = require('../clients');
const asan = require('./asan');

const CLIENTS = 16;
const DEFLATE = ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'];
/** Milliseconds in which a process must answer: a busy machine is no fault. */
const PATIENCE_MS = 120000;
const SILENT = /AddressSanitizer|panicked at|runtime error|FATAL ERROR|assertion .*failed/i;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A client that sends something, reads what comes, and leaves in one way or another. */
class Client {
  constructor({ port, tls: secure }, { below, pick, chance }) {
    this.random = { below, pick, chance };
    const raw = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.raw = raw;
    this.socket = secure ? tls.connect({ socket: raw, rejectUnauthorized: false }) : raw;
    for (const each of [raw, this.socket]) each.on('error', () => {});
    if (chance(0.9)) this.socket.on('data', () => {});
    this.over = new Promise((resolve) => raw.on('close', resolve));
  }

  async run() {
    const { below, chance } = this.random;
    for (let i = below(12); i > 0 && !this.raw.destroyed; i--) {
      const bytes = Buffer.from(this.bytes(), 'latin1');
      const cut = chance(0.2) ? below(bytes.length) : bytes.length;
      this.socket.write(bytes.subarray(0, cut));
      if (cut < bytes.length) {
        await sleep(below(5));
        this.socket.write(bytes.subarray(cut));
      }
      await sleep(below(20));
    }
    this.leave();
  }

  bytes() {
    const { pick, below } = this.random;
    const target = () => pick(['/a', '/a/b', '/x/y/z', '/ws', '/ws/b', '/declared?a=b', '/']);
    if (this.open) return this.frames();
    return pick([
      () => get(target()),
      () => get(target(), ['a: b', `x: ${'y'.repeat(below(500))}`]).repeat(1 + below(5)),
      () => post(target(), 'b'.repeat(below(50000))),
      () => post('/a', 'c', ['Transfer-Encoding: chunked']),
      () => (
        (this.open = true),
        upgradeRequest('/ws', { headers: below(2) ? DEFLATE : [] }) + (below(3) ? '' : this.frames())
      ),
      () => ((this.open = true), upgradeRequest('/ws/b')),
    ])();
  }

  frames() {
    const { pick, below } = this.random;
    const one = pick([
      () => frame({ payload: 't'.repeat(below(2000)) }),
      () => frame({ opcode: 2, payload: Buffer.alloc(below(60000), 7) }),
      () => frame({ opcode: 9, payload: 'ping' }),
      () => frame({ opcode: 1, payload: 'first', fin: false }),
      () => frame({ opcode: 0, payload: 'last' }),
      () => frame({ opcode: 8, payload: Buffer.from([3, 232]) }),
    ])();
    return one.toString('latin1').repeat(1 + below(4));
  }

  leave() {
    const { pick } = this.random;
    pick([
      () => this.raw.resetAndDestroy(),
      () => setImmediate(() => this.socket.destroy()),
      () => this.socket.end(),
    ])();
    setTimeout(() => this.raw.destroy(), 200);
  }
}

/** Where the threads of a process wait. */
function threadsOf(pid) {
  const folder = `/proc/${pid}/task`;
  const of = (thread, name) => fs.readFileSync(`${folder}/${thread}/${name}`, 'latin1').trim();
  try {
    const all = fs.readdirSync(folder).map((thread) => `${of(thread, 'comm')}: ${of(thread, 'wchan')}`);
    return [...new Set(all)].join(', ');
  } catch (error) {
    return error.message;
  }
}

class Round {
  constructor(options, setting) {
    this.options = options;
    this.setting = setting;
    this.faults = [];
    this.ports = [];
    this.output = '';
    const { next, below, pick } = random(options.seed + 1);
    this.random = { below, pick, chance: (part) => next() < part };
  }

  async run() {
    const { setting, options } = this;
    this.report = path.join(os.tmpdir(), `api-fuzz-${process.pid}.json`);
    const flags = ['--max-old-space-size=1024', '--report-on-signal', '--report-signal=SIGUSR2'];
    flags.push(`--report-directory=${os.tmpdir()}`, `--report-filename=${path.basename(this.report)}`);
    const child = spawn(
      process.execPath,
      [...flags, path.join(__dirname, 'target.js'), JSON.stringify(options)],
      { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: { ...process.env, ...setting.env } },
    );
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        this.output = (this.output + data).slice(-100000);
      });
    }
    const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
    const done = new Promise((resolve) => {
      child.on('message', (message) => this.heard(message, resolve));
    });
    let over = false;
    ended.then(() => (over = true));
    const clients = this.clients(() => over || this.calls !== undefined);
    await this.within(Promise.race([done, ended]), 'the calls did not end');
    await clients;
    if (!over && this.faults.length === 0) await this.serves();
    if (!over) child.send({ how: this.random.pick(['exit', 'close']) }, () => {});
    const end = await this.within(ended, 'the process did not exit');
    this.judge(end);
    return this.faults;
  }

  heard(message, done) {
    if (message.found) this.faults.push(message.found);
    if (message.port > 0) this.ports.push(message);
    if (message.clean) this.clean = message.clean;
    if (message.done !== undefined) {
      this.calls = message.done;
      done();
    }
  }

  async within(promise, fault) {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, PATIENCE_MS * this.setting.patience, 'late');
    });
    const first = await Promise.race([promise, late]);
    clearTimeout(timer);
    if (first !== 'late') return first;
    this.faults.push(`${fault}; ${threadsOf(this.child.pid)}; ${await this.stack()}`);
    this.child.kill('SIGKILL');
    return { late: true };
  }

  /** Where JavaScript is in a process that hangs. */
  async stack() {
    this.child.kill('SIGUSR2');
    await sleep(3000);
    try {
      const { javascriptStack } = JSON.parse(fs.readFileSync(this.report, 'utf8'));
      fs.unlinkSync(this.report);
      return [javascriptStack.message, ...(javascriptStack.stack ?? [])].join('\n    ');
    } catch (error) {
      return error.message;
    }
  }

  async clients(over) {
    await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        while (!over()) {
          const at = this.ports.at(-1 - this.random.below(Math.min(4, this.ports.length)));
          if (at) await new Client(at, this.random).run();
          await sleep(5);
        }
      }),
    );
  }

  /** A new connection is served as if nothing had happened. */
  async serves() {
    const answer = new Promise((resolve) => {
      const socket = net.connect(this.clean, '127.0.0.1');
      let text = '';
      socket.on('error', (error) => resolve(String(error)));
      socket.on('close', () => resolve(text));
      socket.on('data', (data) => {
        text += data.toString('latin1');
        if (text.endsWith('clean')) socket.destroy();
      });
      socket.write(get('/clean'));
    });
    const text = await this.within(answer, 'a clean request was not answered');
    if (!text.late && !/^HTTP\/1.1 200 OK[^]*clean$/.test(text))
      this.faults.push(`a clean request was answered with ${text}`);
  }

  judge({ code, signal, late }) {
    if (!late && (signal !== null || code !== 0)) this.faults.push(`ended with ${signal ?? code}`);
    if (SILENT.test(this.output)) this.faults.push('said something that it must not');
  }
}

const OPTIONS = { seconds: 'number', seed: 'whole', rounds: 'whole', steps: 'whole', asan: 'flag' };

async function failed(options, setting, faults, output) {
  console.log(`seed ${options.seed}: FAILED`);
  for (const text of faults.slice(0, 5)) console.log(`  ${text}`);
  const tail = output.match(/==\d+==ERROR[^]*/)?.[0].slice(0, 6000) ?? output.slice(-3000);
  if (tail) console.log(tail.replace(/^/gm, '  | '));
  const again = `npm run test:api-fuzz -- --seed ${options.seed} --rounds 1${setting.name === 'asan' ? ' --asan' : ''}`;
  console.log(`  again: ${again} --steps ${options.steps}`);
  // Fewer calls find it, too?
  for (let steps = options.steps >> 1; steps >= 50; steps >>= 1) {
    const round = new Round({ ...options, steps }, setting);
    if ((await round.run()).length === 0) break;
    console.log(`  or: ${again} --steps ${steps}`);
  }
}

async function main() {
  const given = optionsOf(OPTIONS);
  const setting = given.asan ? asan.setting() : { name: 'plain', env: {}, patience: 1 };
  const rounds = given.rounds ?? Infinity;
  const seconds = given.seconds ?? (given.rounds ? 36000 : 30);
  const end = Date.now() + seconds * 1000;
  let seed = given.seed ?? Math.floor(Date.now() / 1000) % 1e6;
  const total = { rounds: 0, failed: 0, calls: 0 };
  for (; Date.now() < end && total.rounds < rounds; seed++) {
    const options = { seed, steps: given.steps ?? 10000, certificate: certificates.shared() };
    const round = new Round(options, setting);
    const faults = await round.run();
    total.rounds++;
    total.calls += round.calls ?? 0;
    if (faults.length === 0) continue;
    total.failed++;
    await failed(options, setting, faults, round.output);
  }
  console.log(`${setting.name}: ${total.rounds} rounds, ${total.calls} calls, ${total.failed} failed`);
  return total.failed;
}

main().then((failures) => {
  process.exitCode = failures > 0 ? 1 : 0;
});
