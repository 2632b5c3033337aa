'use strict';
// Runs one plan: a server in a process of its own, all clients of the plan, and the oracle at the end.

const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { Worker } = require('node:worker_threads');
const { random } = require('../robustness/program');
const certificates = require('../tls/certificates');
const { HttpClient } = require('./http-client');
const { WsClient } = require('./ws-client');
const { sleep } = require('./line');

const EXIT_MS = 10000;
/** Milliseconds after which a run hangs. */
const DEADLINE_MS = 40000;
const CLIENTS = { http: HttpClient, ws: WsClient };

class Server {
  constructor(plan, setting, wrong) {
    const options = {
      certificate: certificates.shared(),
      careless: plan.careless,
      idle: plan.idle,
    };
    const command = [process.execPath, path.join(__dirname, 'server.js'), JSON.stringify(options)];
    if (setting.oneCore) command.unshift('taskset', '-c', '0');
    this.process = spawn(command[0], command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: {
        ...process.env,
        UWS_MODULE: plan.module,
        ...(setting.uring === false ? { UV_USE_IO_URING: '0' } : {}),
      },
    });
    this.waiting = [];
    this.output = '';
    this.expectsEnd = false;
    for (const stream of [this.process.stdout, this.process.stderr])
      stream.on('data', (data) => (this.output += data));
    this.process.on('message', (message) => {
      if (message.wrong) wrong(`server: ${message.wrong}`);
      else this.waiting.shift()?.(message);
    });
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        if (!this.expectsEnd || code !== 0) {
          wrong(`server: ended with ${signal ?? code}: ${this.output.slice(-2000)}`);
        }
        this.isOver = true;
        for (const each of this.waiting.splice(0)) each({});
        resolve();
      });
    });
  }

  answer() {
    if (this.isOver) return Promise.resolve({});
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  ask(command) {
    const answer = this.answer();
    if (!this.isOver) this.process.send({ command }, () => {});
    return answer;
  }

  get pid() {
    return this.process.pid;
  }

  /** The most resident memory it has had, in MiB. */
  mostMemory() {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]) / 1024;
  }

  /** Ends the process, and sees that it ends by itself. */
  async finish(wrong) {
    this.expectsEnd = true;
    const timer = setTimeout(() => {
      wrong(`server: does not exit; ${this.output.slice(-500)}`);
      this.process.kill('SIGKILL');
    }, EXIT_MS);
    await this.ask('finish');
    await this.ended;
    clearTimeout(timer);
  }

  kill() {
    this.expectsEnd = true;
    this.process.kill('SIGKILL');
  }
}

class Round {
  constructor(plan, setting = {}) {
    this.plan = plan;
    this.setting = setting;
    this.faults = [];
    this.clients = [];
    this.ports = null;
    this.wrong = (text) => void (this.faults.length < 50 && this.faults.push(text));
  }

  async run() {
    const { plan, setting, wrong } = this;
    this.server = new Server(plan, setting, wrong);
    await this.server.answer();
    this.atFirst = this.server.isOver ? 0 : this.server.mostMemory();
    this.ports = Promise.resolve((await this.server.ask('begin')).ports);
    const clients = Promise.all(plan.connections.map((each) => this.runClient(each)));
    const done = [clients, this.reopen(), this.stop(), this.probe(clients)];
    if (!(await this.within(Promise.all(done)))) return this.hang('the clients');
    if (!(await this.within(this.compare()))) return this.hang('the comparison');
    this.checkMemory();
    await this.server.finish(wrong);
    for (const client of this.clients) client.leave();
    return this.faults;
  }

  async within(promise) {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, DEADLINE_MS, false);
    });
    const first = await Promise.race([promise.then(() => true), late, this.server.ended.then(() => true)]);
    clearTimeout(timer);
    return first;
  }

  hang(what) {
    const stuck = this.clients.filter((client) => client.running);
    const names = stuck
      .slice(0, 5)
      .map(({ plan, state, at }) => `${plan.type} ${plan.id} (${state}, ${at?.()})`);
    this.wrong(`${what} did not end: ${stuck.length} connections, ${names.join(', ')}`);
    this.server.kill();
    for (const client of this.clients) client.leave();
    return this.faults;
  }

  /** Connections of the second phase wait until the server listens again. */
  async runClient(plan) {
    await sleep(plan.at);
    const reopened = this.plan.reopenAt !== null && plan.phase === 1 ? this.reopening : undefined;
    if (reopened) await reopened;
    const ports = await this.ports;
    if (this.server.isOver) return;
    const client = new CLIENTS[plan.type](plan, {
      wrong: this.wrong,
      random: random(this.plan.seed + plan.id * 7919),
    });
    this.clients.push(client);
    client.running = true;
    if (await client.connect(ports[plan.tls ? 1 : 0])) await client.run();
    else if (plan.phase === 0 && this.closing) client.abrupt = true;
    else if (!client.abrupt) client.wrong('could not connect');
    client.running = false;
  }

  /** `app.close()` under traffic, and `listen` again. */
  async reopen() {
    if (this.plan.reopenAt == null) return;
    this.reopening = new Promise((resolve) => {
      this.reopened = resolve;
    });
    await sleep(this.plan.reopenAt);
    for (const client of this.clients)
      if (client.state === 'open' || client.state === 'connecting') client.abrupt = true;
    this.closing = true;
    const ports = this.server.ask('reopen').then((answer) => answer.ports);
    this.ports = ports;
    await ports;
    this.reopened();
  }

  async stop() {
    const { stop } = this.plan;
    if (!stop) return;
    await sleep(stop.at);
    process.kill(this.server.pid, 'SIGSTOP');
    await sleep(stop.for);
    if (!this.server.isOver) process.kill(this.server.pid, 'SIGCONT');
  }

  /** The loop serves everybody in time, while the clients go on. */
  async probe(clients) {
    const { latency } = this.plan;
    if (!latency) return;
    const [port] = await this.ports;
    const worker = new Worker(path.join(__dirname, 'probe.js'), { workerData: { port } });
    this.slowest = 0;
    worker.on('message', (took) => {
      this.slowest = Math.max(this.slowest, took);
    });
    await Promise.race([clients, this.server.ended]);
    await worker.terminate();
    if (this.slowest > latency) this.wrong(`a new connection was answered after ${this.slowest} ms`);
  }

  checkMemory() {
    const { memory } = this.plan;
    if (!memory || this.server.isOver || this.plan.module !== 'ours') return;
    this.took = this.server.mostMemory() - this.atFirst;
    if (this.took > memory) this.wrong(`server: took ${this.took.toFixed(0)} MiB`);
  }

  /** Compares what each client has got with what the server has told it. */
  async compare() {
    if (this.server.isOver) return;
    const live = this.clients.filter(({ open, state }) => open === true && state === 'open');
    await this.server.ask('quiet');
    await Promise.all(live.map((client) => client.sync({})));
    let told;
    // Bytes and resets may still be on their way.
    const isBehind = ({ plan, got, state }) => {
      const each = told.get(plan.id);
      if (!each?.opened) return false;
      return state === 'open' ? got.length < each.expected.length : each.closed === null;
    };
    const sockets = this.clients.filter(({ plan }) => plan.type === 'ws');
    for (let tries = 0; tries < 100; tries++) {
      const { report } = await this.server.ask('report');
      if (!report) return;
      told = new Map(report.map((each) => [each.connection, each]));
      if (!sockets.some(isBehind)) break;
      await sleep(50);
    }
    for (const client of this.clients) client.check(told.get(client.plan.id));
  }
}

module.exports = { Round };
