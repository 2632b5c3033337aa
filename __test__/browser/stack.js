'use strict';

// The built example app as it is deployed: a folder of its own with the build and, in its node_modules, the
// module under test by the name uWebSockets.js. Each server is a process.
//
// UWS_MODULE names the module: `ours` (default), `20.30` or `20.57` (its path in UWS_2057), as in
// ../support.js. EXAMPLE_BUILD names the output of the adapter to serve instead of that of
// examples/sveltekit.

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { spawn } = require('node:child_process');

const ROOT = path.join(__dirname, '..', '..');
const EXAMPLE = path.join(ROOT, 'examples', 'sveltekit');
const MODULE = process.env.UWS_MODULE || 'ours';
const START_MS = 20000;
/**
 * The line printed for each worker: those of adapter 0.3 are handed their connections, those of 0.5 listen
 * themselves.
 */
const WORKER_READY = 'Worker thread \\d+ (registered|listening on)';

/** The option `skip` of a test for an error of the original. */
const onlyOurs = (reason) => ({ skip: MODULE === 'ours' ? false : `${MODULE}: ${reason}` });

/** The option `skip` of a test with worker threads, which need a member that 20.30 lacks. */
const needsDescriptors = { skip: MODULE === '20.30' && '20.30 has no getDescriptor' };

/** A folder that serves the app; it is deleted after the test, with the data written there. */
class Deployment {
  constructor(t) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-app-'));
    this.log = path.join(this.folder, 'data', 'room.jsonl');
    this.servers = [];
    t.after(() => this.#remove());
    fs.cpSync(process.env.EXAMPLE_BUILD || path.join(EXAMPLE, 'build'), this.#at('build'), {
      recursive: true,
    });
    for (const name of ['serve.js', 'cached.js']) fs.copyFileSync(path.join(EXAMPLE, name), this.#at(name));
    fs.writeFileSync(this.#at('package.json'), '{ "private": true, "type": "module" }');
    fs.mkdirSync(this.#at('node_modules'));
    provide(this.#at('node_modules/uWebSockets.js'));
  }

  /** Gives the adapter's `websocket` option another value than the app was built with. */
  configure(option, value) {
    const file = this.#at('build/handler.js');
    const built = fs.readFileSync(file, 'utf8');
    const pattern = new RegExp(`"${option}":(true|false|[0-9]+)`, 'g');
    if (!pattern.test(built)) throw new Error(`the adapter writes no option ${option}`);
    fs.writeFileSync(file, built.replace(pattern, `"${option}":${JSON.stringify(value)}`));
  }

  /** Starts the app, by one of the example's programs, and waits until it listens. */
  async start({ env = {}, port, workers = 0, program } = {}) {
    const server = await this.launch({ env, port, workers, program });
    await server.printed(workers ? new RegExp(`(${WORKER_READY}[^]*){${workers}}`) : /Listening on/);
    return server;
  }

  async launch({ env = {}, port, workers = 0, program = 'serve.js' } = {}) {
    const all = {
      DATA_DIR: this.#at('data'),
      ...(workers ? { CLUSTER_WORKERS: String(workers) } : {}),
      ...env,
    };
    const server = new Server(this.folder, port ?? (await freePort()), all, program);
    this.servers.push(server);
    return server;
  }

  #at(name) {
    return path.join(this.folder, name);
  }

  async #remove() {
    await Promise.all(this.servers.map((server) => server.stop('SIGKILL')));
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

class Server {
  output = '';
  /** The exit code or signal of the process, once it has ended. */
  ended;

  constructor(cwd, port, env, program) {
    this.port = port;
    /** The certificate to trust where the app is served over TLS. */
    this.ca = env.SSL_CERT && fs.readFileSync(env.SSL_CERT);
    this.url = this.ca ? `https://localhost:${port}` : `http://127.0.0.1:${port}`;
    const inherited = { ...process.env };
    delete inherited.CLUSTER_WORKERS;
    this.process = spawn(process.execPath, [program], {
      cwd,
      env: { ...inherited, HOST: '127.0.0.1', PORT: String(port), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.output += text));
    }
    this.exited = once(this.process, 'exit').then(([code, signal]) => (this.ended = code ?? signal));
  }

  async printed(pattern) {
    const deadline = Date.now() + START_MS;
    while (!pattern.test(this.output)) {
      if (this.ended !== undefined) throw new Error(`server ended (${this.ended}):\n${this.output}`);
      if (Date.now() > deadline) throw new Error(`server did not print ${pattern}:\n${this.output}`);
      await Promise.race([once(this.process.stdout, 'data'), this.exited, delay(1000)]);
    }
  }

  /** Waits for a condition as long as the test may take and the server lives. */
  async until(condition) {
    while (!condition()) {
      if (this.ended !== undefined) throw new Error(`server ended (${this.ended}):\n${this.output}`);
      await Promise.race([this.exited, delay(20)]);
    }
  }

  /** How often the server has printed the line. */
  count(pattern) {
    return this.output.match(pattern)?.length ?? 0;
  }

  /** Sends the signal and returns how the process ended. */
  stop(signal = 'SIGTERM') {
    if (this.ended === undefined) this.process.kill(signal);
    return this.exited;
  }
}

/** Puts the module under test where `import 'uWebSockets.js'` finds it, as npm does for an alias. */
function provide(folder) {
  if (MODULE === 'ours') return fs.symlinkSync(ROOT, folder, 'dir');
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "name": "uWebSockets.js", "main": "index.js" }');
  fs.writeFileSync(path.join(folder, 'index.js'), `module.exports = require(${JSON.stringify(peerPath())});`);
}

function peerPath() {
  if (MODULE === '20.57' && process.env.UWS_2057) return process.env.UWS_2057;
  if (MODULE !== '20.30')
    throw new Error(`UWS_MODULE is ours, 20.30 or 20.57 (with UWS_2057), not ${MODULE}`);
  const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  return path.join(require.resolve('@trufflesuite/uws-js-unofficial'), '../../binaries', name);
}

/**
 * Finds a port that nobody uses, below those that outgoing connections are given: the server starts to listen
 * some time later, and other specs run beside this one.
 */
async function freePort() {
  for (;;) {
    const server = net.createServer().listen(16000 + Math.floor(Math.random() * 16000), '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
  }
}

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref());

module.exports = { Deployment, EXAMPLE, freePort, needsDescriptors, onlyOurs };
