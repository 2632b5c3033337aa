'use strict';
// The foundation of every spec: the module under test, servers that are closed after the test, child
// processes, recorded events, and `differs`, the only place where a spec says that this module differs from
// the original on purpose.
//
// UWS_MODULE names the module: `ours` (default), or a real uWebSockets.js to compare with, `20.30` (the
// package @trufflesuite/uws-js-unofficial, found by require.resolve) or `20.57` (its path in UWS_2057). Where
// the two disagree, 20.57 is the original.

const path = require('node:path');
const test = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const clients = require('./clients');
const DIFFERENCES = require('./conformance/differences');

const MODULE = process.env.UWS_MODULE || 'ours';
const ours = MODULE === 'ours';
const v30 = MODULE === '20.30';
const v57 = MODULE === '20.57';

function modulePath() {
  if (ours) return path.join(__dirname, '..');
  if (v57) {
    if (!process.env.UWS_2057) throw new Error('UWS_2057 must hold the path of uWebSockets.js 20.57');
    return process.env.UWS_2057;
  }
  if (!v30) throw new Error(`UWS_MODULE is ours, 20.30 or 20.57, not ${MODULE}`);
  const entry = require.resolve('@trufflesuite/uws-js-unofficial');
  return path.join(
    entry,
    '../../binaries',
    `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`,
  );
}

/** With UWS_TLS=1 every app is an SSLApp and every raw client speaks TLS. */
const overTls = process.env.UWS_TLS === '1';
/** How often the usual time tests may take: an emulated processor is slow. No test expects less for it. */
const PATIENCE = Number(process.env.UWS_PATIENCE ?? 1);

function load() {
  const module_ = require(modulePath());
  if (!overTls) return module_;
  const certificate = require('./tls/certificates').shared();
  const App = function App(options) {
    return module_.SSLApp({ ...certificate, ...options });
  };
  return { ...module_, App };
}

const uWS = load();

/** Defines a test that is bounded in time. */
function it(name, options, body) {
  if (typeof options === 'function') [options, body] = [{}, options];
  const { timeout = 15000 } = options;
  return test(name, { ...options, timeout: timeout * PATIENCE }, body);
}

/**
 * Returns the expectation for the module under test where this module differs on purpose. The id must be
 * listed in conformance/differences.js.
 */
function differs(id, expectations) {
  difference(id);
  return ours ? expectations.ours : expectations.original;
}

/** Returns the expectation where the two originals disagree; this module follows the newer. */
const byVersion = ({ old, now }) => (v30 ? old : now);

/**
 * The option `skip` of a test about a member that the module under test lacks. This module has every member.
 */
function needs(member, present) {
  return { skip: present || ours ? false : `${MODULE} has no ${member}` };
}
function difference(id) {
  const entry = DIFFERENCES.find((each) => each.id === id);
  if (!entry) throw new Error(`difference ${id} is not listed`);
  return entry;
}

/** The option `skip` of a test that cannot run on the original; the listed difference says why. */
const onlyOurs = (id) => ({ skip: ours ? (difference(id), false) : `${MODULE}: ${difference(id).original}` });

/** Returns the name of a class, which is another one over TLS. */
const named = (name) => `uWS.${overTls ? 'SSL' : ''}${name}`;

/** The names of the members of the module under test, probed once on live objects. */
let probed;
function members() {
  probed =
    probed ||
    new Promise((resolve, reject) => {
      const app = uWS.App();
      const found = { app: namesOf(app) };
      app.get('/*', (res, req) => {
        found.res = namesOf(res);
        found.req = namesOf(req);
        res.end();
      });
      app.ws('/*', {
        open: (ws) => {
          found.ws = namesOf(ws);
          setImmediate(() => {
            app.close();
            resolve(found);
          });
        },
      });
      app.listen(0, async (token) => {
        try {
          const port = uWS.us_socket_local_port(token);
          const plain = await clients.Peer.connect(port);
          await plain.request(clients.get('/'));
          plain.destroy();
          const socket = await clients.WsPeer.open(port);
          socket.destroy();
        } catch (error) {
          reject(error);
        }
      });
    });
  return probed;
}

function namesOf(object) {
  const names = new Set();
  for (let at = object; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  return names;
}

/** Skips the running test, visibly, when the module under test lacks the member. */
async function has(t, object, member) {
  const found = (await members())[object].has(member);
  if (!found && !ours) t.skip(`${MODULE} has no ${object}.${member}`);
  return found || ours;
}

/** Creates an app on a free port. It is closed with all its clients after the test. */
function serve(t, configure, options = {}) {
  const app = options.app || uWS.App();
  const peers = new Set();
  const track = (peer) => peers.add(peer);
  const server = { app, port: 0, token: null, peers };
  configure(app, server);
  app.listen(0, (token) => {
    server.token = token;
  });
  assert.ok(server.token, 'listen calls back before it returns');
  server.port = uWS.us_socket_local_port(server.token);
  server.connect = (more) => clients.Peer.connect(server.port, { track, ...options.peer, ...more });
  server.ws = (target, more) => clients.WsPeer.open(server.port, target, { track, ...options.peer, ...more });
  /** Sends one request on a connection of its own. */
  server.once = async (text, more) => {
    const peer = await server.connect();
    const answer = await peer.request(text, more);
    peer.destroy();
    return answer;
  };
  t.after(() => {
    for (const peer of peers) peer.destroy();
    app.close();
  });
  return server;
}

/** Creates an app on a free port in a child process, without clean-up. */
function listening(configure) {
  const app = uWS.App();
  configure(app);
  const server = { app, port: 0, token: null };
  app.listen(0, (token) => {
    server.token = token;
    server.port = uWS.us_socket_local_port(token);
  });
  server.connect = () => clients.Peer.connect(server.port);
  server.ws = (target, more) => clients.WsPeer.open(server.port, target, more);
  return server;
}

/**
 * Resolves when the condition holds; rejects after ten seconds, so that a failing test does not wait forever.
 */
async function until(condition, milliseconds = 10000) {
  for (const end = Date.now() + milliseconds * PATIENCE; !condition();) {
    if (Date.now() > end) throw new Error(`waited in vain: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Recorded events that a test can wait for. */
class Events {
  constructor() {
    this.list = [];
    this.waiting = new Set();
  }
  push(event) {
    this.list.push(event);
    for (const check of [...this.waiting]) check();
  }
  when(check) {
    return new Promise((resolve) => {
      const attempt = () => {
        const value = check(this.list);
        if (!value) return;
        this.waiting.delete(attempt);
        resolve(value);
      };
      this.waiting.add(attempt);
      attempt();
    });
  }
  async count(number) {
    await this.when((list) => list.length >= number);
    return this.list;
  }
  async first(check) {
    return this.when((list) => list.find(check));
  }
}

function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}

/**
 * Runs `body(support, argument)` in a process of its own, since it may end, block or abort it. Resolves with
 * { code, signal, stdout, stderr, hung }; `hung` when it had to be killed.
 */
function child(body, argument, { timeout = 8000, flags = [] } = {}) {
  const source = `const support = require(${JSON.stringify(__filename)});(${body})(support, ${JSON.stringify(argument === undefined ? null : argument)})`;
  return new Promise((resolve) => {
    const process_ = spawn(process.execPath, [...flags, '-e', source], { stdio: ['ignore', 'pipe', 'pipe'] });
    const result = { code: null, signal: null, stdout: '', stderr: '', hung: false };
    const timer = setTimeout(() => {
      result.hung = true;
      process_.kill('SIGKILL');
    }, timeout * PATIENCE);
    process_.stdout.on('data', (data) => {
      result.stdout += data;
    });
    process_.stderr.on('data', (data) => {
      result.stderr += data;
    });
    process_.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ ...result, code, signal });
    });
  });
}

/** Whether the process was ended by a signal or std::terminate, and did not exit by itself. */
const aborted = (result) =>
  result.signal === 'SIGABRT' ||
  result.signal === 'SIGSEGV' ||
  result.signal === 'SIGILL' ||
  result.signal === 'SIGTRAP' ||
  result.code === 134;

const text = (data) => Buffer.from(data).toString('latin1');

const ERRORS = {
  request: /^uWS\.HttpRequest must not be accessed after await or route handler return\./,
  response:
    /^uWS\.HttpResponse must not be accessed after uWS\.HttpResponse\.onAborted callback, or after a successful response\./,
  socket: /^Invalid access of closed uWS\.WebSocket\/SSLWebSocket\.$/,
  // Renamed behind 20.57 (section 2 of what changed after it), of which there is no binary to run.
  data: `Text and data can only be passed by String, ArrayBuffer or ${ours ? 'ArrayBufferView' : 'TypedArray'}.`,
  callback: 'Passed callback is not a valid function.',
};

module.exports = {
  ...clients,
  uWS,
  overTls,
  ours,
  v30,
  v57,
  modulePath,
  it,
  assert,
  differs,
  byVersion,
  needs,
  onlyOurs,
  named,
  members,
  has,
  serve,
  listening,
  until,
  Events,
  deferred,
  child,
  aborted,
  text,
  ERRORS,
};
