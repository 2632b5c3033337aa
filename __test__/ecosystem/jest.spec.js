'use strict';

// Programs under test in Jest 26, whose resolver is old, and in the newest. Jest gives each test file a realm
// and a registry of modules of its own, so the module under test is loaded once for each.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { assert, it, modulePath, ours, packages, versionOf } = require('./stack');

/** The program and its tests, as a user has them: nothing here knows which module it is. */
const PROJECT = {
  'package.json': JSON.stringify({ private: true, jest: { testEnvironment: 'node' } }),
  'server.js': `
    const uWS = require('uWebSockets.js');
    module.exports = () => {
      const app = uWS.App();
      app.get('/users/:id', (res, req) => res.end('user ' + req.getParameter(0)));
      app.post('/echo', (res) => {
        const chunks = [];
        res.onAborted(() => {});
        res.onData((chunk, isLast) => {
          chunks.push(Buffer.from(Buffer.from(chunk)));
          if (isLast) res.cork(() => res.end(Buffer.concat(chunks)));
        });
      });
      app.get('/later', (res) => {
        res.onAborted(() => {});
        setTimeout(() => res.cork(() => res.end('later')), 5);
      });
      app.ws('/ws', {
        open: (ws) => ws.subscribe('all'),
        message: (ws, message, binary) => app.publish('all', message, binary),
      });
      let port;
      app.listen('127.0.0.1', 0, (token) => { port = uWS.us_socket_local_port(token); });
      return { app, port };
    };`,
  'http.test.js': `
    const http = require('http');
    const serve = require('./server');
    let server;
    beforeAll(() => { server = serve(); });
    afterAll(() => server.app.close());
    const ask = (path, body) => new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: server.port, path, method: body ? 'POST' : 'GET', agent: false };
      const sent = http.request(options, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () => resolve({ status: answer.statusCode, body: Buffer.concat(chunks) }));
      });
      sent.on('error', reject);
      sent.end(body);
    });
    test('routes', async () => {
      const { status, body } = await ask('/users/7');
      expect([status, String(body)]).toEqual([200, 'user 7']);
    });
    test('bodies', async () => {
      const bytes = Buffer.alloc(1 << 20, 'grüß');
      expect((await ask('/echo', bytes)).body.equals(bytes)).toBe(true);
    });
    test('timers', async () => {
      expect(String((await ask('/later')).body)).toBe('later');
    });
    test('fake timers', async () => {
      jest.useFakeTimers();
      const answers = await Promise.all([1, 2, 3].map((n) => ask('/users/' + n)));
      jest.useRealTimers();
      expect(answers.map(({ body }) => String(body))).toEqual(['user 1', 'user 2', 'user 3']);
    });`,
  'websocket.test.js': `
    const WebSocket = require('ws');
    const serve = require('./server');
    test('publishes text and bytes', async () => {
      const { app, port } = serve();
      const sockets = [1, 2].map(() => new WebSocket('ws://127.0.0.1:' + port + '/ws'));
      await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on('open', resolve))));
      const heard = sockets.map((socket) => new Promise((resolve) => {
        const messages = [];
        socket.on('message', (data) => messages.push(String(data)) === 2 && resolve(messages));
      }));
      sockets[0].send('grüß');
      sockets[0].send(Buffer.from([65, 66]));
      expect(await Promise.all(heard)).toEqual([['grüß', 'AB'], ['grüß', 'AB']]);
      const closed = sockets.map((socket) => new Promise((resolve) => socket.on('close', resolve)));
      app.close();
      expect(await Promise.all(closed)).toEqual([1006, 1006]);
    });`,
};

/** Writes the project to a folder that is removed after the test. */
function project(t) {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'uws-jest-')));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(PROJECT)) fs.writeFileSync(path.join(folder, name), content);
  const modules = path.join(folder, 'node_modules');
  fs.mkdirSync(modules);
  const packageOf = ours ? modulePath() : path.dirname(modulePath());
  fs.symlinkSync(packageOf, path.join(modules, 'uWebSockets.js'), 'dir');
  fs.symlinkSync(path.join(packages.folder, 'node_modules/ws'), path.join(modules, 'ws'), 'dir');
  return folder;
}

/** Runs Jest on the project. Resolves with its report. */
function run(t, name) {
  const folder = project(t);
  const program = path.join(packages.folder, 'node_modules', name, 'bin/jest.js');
  const args = [program, '--ci', '--json', '--maxWorkers=2', '--no-cache', '--rootDir', folder];
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (errors += data));
  t.after(() => child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    child.on('close', () => {
      try {
        resolve({ ...JSON.parse(output), errors });
      } catch {
        reject(new Error(`${output}${errors}`));
      }
    });
  });
}

for (const name of ['jest-26', 'jest']) {
  it(`Jest ${versionOf(name)} runs a server and its tests`, { timeout: 60000 }, async (t) => {
    const { numPassedTests, numFailedTests, success, errors } = await run(t, name);
    assert.deepEqual([numPassedTests, numFailedTests, success], [5, 0, true], errors);
  });
}
