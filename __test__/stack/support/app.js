'use strict';

// Processes that serve a built app, each on a free port, gone after the test:
//
//   const server = await start(t, 'realtime', { env: { REDIS_URL } });      // or 'fixture'
//   await server.stop('SIGKILL');
//   await server.restart();                                                 // the same port and environment
//
// UWS_MODULE and UWS_2057 choose the module under test as in ../../support.js.

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { spawn } = require('node:child_process');
const { pathToFileURL } = require('node:url');
const { apps } = require('./build.js');

const MODULE = process.env.UWS_MODULE || 'ours';
const START_MS = 60000;
/**
 * The line printed for each worker: those of adapter 0.3 are handed their connections, those of 0.5 listen
 * themselves.
 */
const WORKER_READY = 'Worker thread \\d+ (registered|listening on)';

/** Starts the app and waits until it listens. Its data is deleted with it, unless `env` has a DATA_DIR. */
async function start(t, app, { env = {}, port, workers = 0 } = {}) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-stack-'));
  t.after(() => fs.rmSync(data, { recursive: true, force: true }));
  const server = new Server(apps[app] ?? app, port ?? (await freePort()), {
    env: { DATA_DIR: data, ...env },
    workers,
  });
  t.after(() => server.stop('SIGKILL'));
  await server.start();
  return server;
}

class Server {
  output = '';
  /** The exit code or signal, once it has ended. */
  ended = 'not started';

  constructor(cwd, port, { env = {}, workers = 0 } = {}) {
    this.cwd = cwd;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.workers = workers;
    const inherited = { ...process.env };
    for (const name of ['CLUSTER_WORKERS', 'CLUSTER_MODE', 'REDIS_URL', 'DATABASE_URL', 'NODE_TEST_CONTEXT'])
      delete inherited[name];
    this.env = {
      ...inherited,
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: String(port),
      ORIGIN: this.url,
      ...(workers ? { CLUSTER_WORKERS: String(workers) } : {}),
      ...env,
    };
  }

  async start() {
    this.#spawn();
    await this.printed(this.workers ? new RegExp(`(${WORKER_READY}[^]*){${this.workers}}`) : /Listening on/);
  }

  #spawn() {
    this.output = '';
    this.ended = undefined;
    this.stopping = false;
    this.process = spawn(process.execPath, [...moduleFlags(), entry(this.cwd)], {
      cwd: this.cwd,
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.output += text));
    }
    this.exited = once(this.process, 'exit').then(([code, signal]) => this.#end(code ?? signal));
  }

  /** An unexpected end is printed, since it is the reason for all failures after it. */
  #end(how) {
    this.ended = how;
    if (!this.stopping) console.error(`The server ended by itself (${how}):\n${this.output}`);
    return how;
  }

  get pid() {
    return this.process.pid;
  }

  async printed(pattern, within = START_MS) {
    const deadline = Date.now() + within;
    while (!pattern.test(this.output)) {
      if (this.ended !== undefined) throw new Error(`server ended (${this.ended}):\n${this.output}`);
      if (Date.now() > deadline) throw new Error(`server did not print ${pattern}:\n${this.output}`);
      await delay(20);
    }
  }

  /** Sends the signal and returns how the process ended. */
  async stop(signal = 'SIGTERM') {
    this.stopping = true;
    if (this.ended === undefined) this.process.kill(signal);
    return this.exited;
  }

  /** Ends the process and serves from the same port again, after `between` has run. */
  async restart({ signal = 'SIGTERM', env = {}, between } = {}) {
    await this.stop(signal);
    await between?.();
    Object.assign(this.env, env);
    await this.start();
  }
}

/** An app may have a start script of its own, which sets up the adapter. */
function entry(folder) {
  return fs.existsSync(path.join(folder, 'serve.js')) ? 'serve.js' : path.join('build', 'index.js');
}

/**
 * The port is below those that the system gives to outgoing connections, one of which might have it when a
 * server restarts on it.
 */
async function freePort() {
  for (;;) {
    const port = 10000 + Math.floor(Math.random() * 20000);
    const server = net.createServer().listen(port, '127.0.0.1');
    const free = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ]).catch(() => false);
    server.close();
    if (free) return port;
  }
}

/**
 * For a peer: makes `import 'uWebSockets.js'` in the server mean it. This module is the package of that name.
 */
function moduleFlags() {
  if (MODULE === 'ours') return [];
  if (MODULE !== '20.57' || !process.env.UWS_2057)
    throw new Error(`UWS_MODULE is ours or 20.57 (with UWS_2057), not ${MODULE}`);
  const url = JSON.stringify(pathToFileURL(process.env.UWS_2057));
  const hook = `export const resolve = (name, context, next) =>
    name === 'uWebSockets.js' ? { url: ${url}, shortCircuit: true } : next(name, context);`;
  const register = `import { register } from 'node:module';
    register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});`;
  return ['--import', `data:text/javascript,${encodeURIComponent(register)}`];
}

/** Waits until `check` returns something truthy, and resolves with it. */
async function until(check, what = 'the condition', within = START_MS) {
  const deadline = Date.now() + within;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${within / 1000} s`);
    await delay(20);
  }
}

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

module.exports = { MODULE, Server, apps, delay, freePort, start, until };
