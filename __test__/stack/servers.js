'use strict';

// Real Redis and PostgreSQL servers for the specs, each on a free port with its data in a temporary folder:
//
//   const redis = await startRedis(t);             // .url is the app's REDIS_URL
//   const postgres = await startPostgres(t);       // .url is the app's DATABASE_URL
//   await postgres.psql('SELECT 1');               // the output of psql
//   await redis.stop('SIGKILL'); await redis.start();     // the same port and data
//   redis.hang(); redis.go();                      // connections stay, and nothing is answered
//
// Debian's packages redis-server and postgresql have the programs. PostgreSQL refuses to run as root: started
// by root, it runs as the user postgres of its package.

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { execFile, execFileSync, spawn } = require('node:child_process');
const { promisify } = require('node:util');
const { freePort } = require('../browser/stack.js');

const START_MS = 60000;
const REDIS = program('redis-server', []);
const POSTGRES = program('initdb', debianVersions());
const PSQL = program('psql', POSTGRES ? [path.dirname(POSTGRES)] : []);

/** The option `skip` of tests that need the server. In CI the programs are there, or the tests fail. */
const needsRedis = { skip: !process.env.CI && !REDIS && 'no redis-server here' };
const needsPostgres = { skip: !process.env.CI && !(POSTGRES && PSQL) && 'no PostgreSQL server here' };

const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A server process that can be stopped, killed, halted and started again. */
class Service {
  output = '';
  ended = 'not started';

  constructor(command, args, { port, folder, user, stopSignal }) {
    Object.assign(this, { command, args, port, folder, user, stopSignal });
  }

  async start() {
    this.ended = undefined;
    const child = spawn(this.command, this.args, { ...this.user, stdio: ['ignore', 'pipe', 'pipe'] });
    this.process = child;
    running.add(child);
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (this.output = (this.output + text).slice(-20000)));
    child.on('error', (error) => (this.output += error.message));
    this.exited = once(child, 'close').then(([code, signal]) => {
      running.delete(child);
      return (this.ended = code ?? signal);
    });
    const deadline = Date.now() + START_MS;
    while (!(await this.answers())) {
      if (this.ended !== undefined) throw new Error(`${this.command} ended (${this.ended}):\n${this.output}`);
      if (Date.now() > deadline) throw new Error(`${this.command} does not answer:\n${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  get pid() {
    return this.process.pid;
  }

  /** Sends the signal and returns how the server ended. */
  async stop(signal = this.stopSignal) {
    if (this.ended === undefined) this.process.kill(signal);
    return this.exited;
  }

  async restart(signal) {
    await this.stop(signal);
    await this.start();
  }

  async remove() {
    await this.stop('SIGKILL');
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

class Redis extends Service {
  async stop(signal) {
    if (this.ended === undefined) this.go();
    return super.stop(signal);
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Halts the server: connections stay, and nothing is answered. */
  hang() {
    this.process.kill('SIGSTOP');
  }

  go() {
    this.process.kill('SIGCONT');
  }

  async answers() {
    return (await this.tell('PING').catch(() => '')) === '+PONG';
  }

  /**
   * Sends one command in Redis' inline syntax. Returns the first packet of its answer, which is enough for
   * short ones.
   */
  tell(line) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.port, '127.0.0.1', () => socket.write(`${line}\r\n`));
      socket.setTimeout(5000, () => socket.destroy(new Error('no answer')));
      socket.once('data', (answer) => {
        socket.destroy();
        resolve(String(answer).trim());
      });
      socket.once('error', reject);
    });
  }
}

class Postgres extends Service {
  get url() {
    return `postgresql://postgres@127.0.0.1:${this.port}/postgres`;
  }

  async answers() {
    return (await this.psql('SELECT 1').catch(() => '')) === '1';
  }

  /** Returns the output of psql for the statement, without decoration. */
  async psql(statement) {
    const args = ['-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-d', this.url, '-c', statement];
    const { stdout } = await promisify(execFile)(PSQL, args, { timeout: START_MS });
    return stdout.trim();
  }
}

/**
 * Every write is in its file before it is answered, so that a killed server loses nothing; with
 * `persist: false` it loses everything.
 */
function startRedis(t, { persist = true } = {}) {
  const folder = temporaryFolder('uws-redis-');
  const settings = ['--bind', '127.0.0.1', '--dir', folder, '--save', '', '--daemonize', 'no'];
  settings.push('--appendonly', persist ? 'yes' : 'no');
  return started(t, (port) => {
    const args = ['--port', String(port), ...settings];
    return new Redis(REDIS ?? 'redis-server', args, { port, folder, stopSignal: 'SIGTERM' });
  });
}

function startPostgres(t) {
  const user = postgresUser();
  const folder = temporaryFolder('uws-postgres-');
  if (user.uid !== undefined) fs.chownSync(folder, user.uid, user.gid);
  const data = path.join(folder, 'data');
  const init = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  execFileSync(POSTGRES ?? 'initdb', init, { ...user, stdio: ['ignore', 'ignore', 'pipe'] });
  const settings = { listen_addresses: '127.0.0.1', unix_socket_directories: '', fsync: 'off' };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = path.join(path.dirname(POSTGRES ?? ''), 'postgres');
  return started(t, (port) => {
    const args = ['-D', data, '-p', String(port), ...options];
    return new Postgres(command, args, { port, folder, user, stopSignal: 'SIGINT' });
  });
}

/**
 * Starts a server, which is gone after the test. Another process may have taken the port that was free a
 * moment ago.
 */
async function started(t, create, tries = 3) {
  const server = create(await freePort());
  try {
    await server.start();
  } catch (error) {
    await server.stop('SIGKILL');
    if (tries > 1 && /in use/i.test(server.output)) return started(t, create, tries - 1);
    throw error;
  }
  t.after(() => server.remove());
  return server;
}

function temporaryFolder(prefix) {
  return fs.mkdtempSync(path.join(os.tmpdir(), prefix));
}

/** Options of spawn: the user and the working directory of the server, since that user may not read ours. */
function postgresUser() {
  if (process.getuid?.() !== 0) return { cwd: os.tmpdir() };
  const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g'), cwd: os.tmpdir() };
}

/** Debian installs each major version's programs outside of the PATH; the newest comes first. */
function debianVersions() {
  const at = '/usr/lib/postgresql';
  const versions = fs.existsSync(at) ? fs.readdirSync(at) : [];
  return versions.sort((left, right) => right - left).map((version) => path.join(at, version, 'bin'));
}

/** Returns the program's path as it is called, since its behaviour may depend on its name. */
function program(name, folders) {
  const searched = [...folders, ...(process.env.PATH ?? '').split(path.delimiter)];
  return searched.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
}

module.exports = { needsPostgres, needsRedis, startPostgres, startRedis };
