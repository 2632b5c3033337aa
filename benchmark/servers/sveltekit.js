'use strict';

// Serves the SvelteKit app as it is deployed: a folder with the adapter's output (`build`) and, in its
// node_modules, the module under test by the name uWebSockets.js.

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { pathToFileURL } = require('url');
const { modulePath, options, print } = require('./support.js');

const RETRY_MS = 20;

const deploy = () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-bench-app-'));
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const at = (...names) => path.join(folder, ...names);
  fs.cpSync(options.build, at('build'), { recursive: true });
  fs.writeFileSync(at('package.json'), '{ "private": true, "type": "module" }');
  const module = at('node_modules', 'uWebSockets.js');
  fs.mkdirSync(module, { recursive: true });
  fs.writeFileSync(path.join(module, 'package.json'), '{ "name": "uWebSockets.js", "main": "index.js" }');
  fs.writeFileSync(path.join(module, 'index.js'), `module.exports = require(${JSON.stringify(modulePath)});`);
  return at('build', 'index.js');
};

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Resolves once a server listens. */
const listening = (port) =>
  new Promise((resolve) => {
    const attempt = () => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(socket.destroy()));
      socket.once('error', () => setTimeout(attempt, RETRY_MS));
    };
    attempt();
  });

const main = async () => {
  const port = await freePort();
  Object.assign(process.env, { HOST: '127.0.0.1', PORT: String(port), ORIGIN: 'http://localhost' });
  // Only JSON lines are passed to the runner.
  console.log = () => {};
  await import(pathToFileURL(deploy()));
  await listening(port);
  print({ port });
};

main();
