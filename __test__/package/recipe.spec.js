'use strict';

// The recipes of README.md: a project that does not know uws-rs finds it by the name uWebSockets.js, and so
// do its dependencies, even one that asks for the original from GitHub. npm works offline here: nothing may
// be fetched.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { before, after, describe, it } = require('node:test');
const { VERSION } = require('../../lib/version');
const { manifestOf } = require('../../scripts/package/stage');
const { host, packageOf } = require('../../scripts/package/targets');

const ROOT = path.join(__dirname, '..', '..');

const SERVER = `
const body = await new Promise((resolve) => {
  const app = uWS.App().get('/:name', (res, req) => res.end('hello ' + req.getParameter(0)));
  app.listen('127.0.0.1', 0, async (token) => {
    const response = await fetch('http://127.0.0.1:' + uWS.us_socket_local_port(token) + '/recipe');
    resolve(await response.text());
    app.close();
  });
});
console.log(JSON.stringify({ body, path: fs.realpathSync(path), names }));
`;

/** A program that imports the module in its own way, serves one request and reports the response. */
const PROGRAMS = {
  'default.mjs': `
    import fs from 'node:fs';
    import uWS from 'uWebSockets.js';
    import { fileURLToPath } from 'node:url';
    const path = fileURLToPath(import.meta.resolve('uWebSockets.js'));
    const names = Object.keys(await import('uWebSockets.js'));
    ${SERVER}`,
  'named.mjs': `
    import fs from 'node:fs';
    import * as uWS from 'uWebSockets.js';
    import { fileURLToPath } from 'node:url';
    const path = fileURLToPath(import.meta.resolve('uWebSockets.js'));
    const names = Object.keys(uWS);
    ${SERVER}`,
  'required.cjs': `
    const fs = require('node:fs');
    const uWS = require('uWebSockets.js');
    const path = require.resolve('uWebSockets.js');
    const names = Object.keys(uWS);
    (async () => { ${SERVER} })();`,
};

/** A package that, like the SvelteKit adapter, depends on the original from GitHub and imports it itself. */
const FRAMEWORK = {
  'package.json': JSON.stringify({
    name: 'framework',
    version: '1.0.0',
    type: 'module',
    main: 'index.js',
    optionalDependencies: { 'uWebSockets.js': 'github:uNetworking/uWebSockets.js#v20.60.0' },
  }),
  'index.js': `export { default } from 'uWebSockets.js';`,
};

describe('recipes', { timeout: 120000 }, () => {
  let folder;
  let archive;
  let binary;

  before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-recipe-'));
    execFileSync(process.execPath, ['scripts/package.js', '--host', '--out', folder], { cwd: ROOT });
    const { version } = manifestOf(ROOT);
    archive = path.join(folder, `uws-rs-${version}.tgz`);
    binary = { [packageOf(host())]: `file:${path.join(folder, `${packageOf(host())}-${version}.tgz`)}` };
    write(path.join(folder, 'framework'), FRAMEWORK);
    npm(path.join(folder, 'framework'), 'pack', '--pack-destination', folder);
  });
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  for (const [kind, dependencies] of [
    ['the packed archives', () => ({ 'uWebSockets.js': `file:${archive}`, ...binary })],
    ['a folder', () => ({ 'uWebSockets.js': `file:${ROOT}` })],
  ]) {
    it(`an alias to ${kind} serves every way of importing`, () => {
      const project = path.join(folder, kind.replaceAll(' ', '-'));
      const manifest = { private: true, dependencies: dependencies() };
      write(project, { 'package.json': JSON.stringify(manifest), ...PROGRAMS });
      npm(project, 'install', '--offline');
      assert.equal(npm(project, 'exec', '--offline', '--', 'uws-rs', '--version'), `${VERSION}\n`);
      for (const program of Object.keys(PROGRAMS)) {
        const { body, path: found, names } = JSON.parse(node(project, program));
        assert.equal(body, 'hello recipe');
        assert.match(found, /index\.m?js$/);
        assert.equal(manifestBeside(found).name, 'uws-rs');
        for (const name of ['App', 'SSLApp', 'us_listen_socket_close', 'SHARED_COMPRESSOR']) {
          assert.ok(names.includes(name), `${program}: ${name}`);
        }
      }
    });
  }

  it('with an override a dependency that wants the original gets it too', () => {
    const project = path.join(folder, 'overridden');
    const manifest = {
      private: true,
      type: 'module',
      dependencies: {
        framework: 'file:../framework-1.0.0.tgz',
        'uWebSockets.js': `file:${archive}`,
        ...binary,
      },
      overrides: { 'uWebSockets.js': '$uWebSockets.js' },
    };
    const program = `
      import mine from 'uWebSockets.js';
      import theirs from 'framework';
      console.log(mine === theirs, typeof theirs.App);`;
    write(project, { 'package.json': JSON.stringify(manifest), 'main.js': program });
    npm(project, 'install', '--offline');
    assert.equal(node(project, 'main.js').trim(), 'true function');
    assert.equal(fs.existsSync(path.join(project, 'node_modules/framework/node_modules')), false);
  });

  it('archives that are built anew are taken where they are named again, whatever the cache has', () => {
    const project = path.join(folder, 'renewed');
    const names = ['uws-rs', packageOf(host())].map((name) => `${name}-${manifestOf(ROOT).version}.tgz`);
    const [main, platform] = names.map((name) => `./${name}`);
    // As examples/docker/README.md says.
    const install = ['install', '--offline', `uWebSockets.js@file:${main}`, platform];
    write(project, { 'package.json': '{ "private": true }' });
    for (const name of names) fs.copyFileSync(path.join(folder, name), path.join(project, name));
    npm(project, ...install);
    const installed = () =>
      fs.readFileSync(path.join(project, 'node_modules/uWebSockets.js/index.js'), 'utf8');
    assert.doesNotMatch(installed(), /built anew/);

    const unpacked = path.join(folder, 'unpacked');
    fs.mkdirSync(unpacked);
    execFileSync('tar', ['-xzf', path.join(project, main), '-C', unpacked]);
    fs.appendFileSync(path.join(unpacked, 'package/index.js'), '// built anew\n');
    execFileSync('tar', ['-czf', path.join(project, main), '-C', unpacked, 'package']);
    npm(project, ...install);
    assert.match(installed(), /built anew/);

    // The lock and the archives belong together: they install anywhere.
    fs.rmSync(path.join(project, 'node_modules'), { recursive: true });
    npm(project, 'ci', '--offline', '--cache', path.join(folder, 'empty-cache'));
    assert.match(installed(), /built anew/);
  });

  it('named exports of the ES module are those of the CommonJS module', async () => {
    const { default: whole, ...named } = await import(path.join(ROOT, 'index.mjs'));
    assert.equal(whole, require(ROOT));
    assert.deepEqual(named, { ...whole });
  });
});

function npm(cwd, ...args) {
  const env = { ...process.env, npm_config_audit: 'false', npm_config_fund: 'false' };
  return execFileSync('npm', args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function node(cwd, program) {
  return execFileSync(process.execPath, [program], { cwd, encoding: 'utf8', timeout: 20000 });
}

function write(into, files) {
  fs.mkdirSync(into, { recursive: true });
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(into, name), content);
}

function manifestBeside(file) {
  return JSON.parse(fs.readFileSync(path.join(path.dirname(file), 'package.json'), 'utf8'));
}
