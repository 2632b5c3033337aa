'use strict';
// The packed packages are installed by npm into an empty folder, without a registry, without scripts, and
// where there is neither cargo nor a compiler; then they serve.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { after, before, describe, it } = require('node:test');
const { manifestOf } = require('../../scripts/package/stage');
const { addonOf, host, packageOf } = require('../../scripts/package/targets');

const ROOT = path.join(__dirname, '../..');
const { version } = manifestOf(ROOT);

const SERVER = `
  const uWS = require('uws-rs');
  const app = uWS.App().get('/:name', (res, req) => res.end('hello ' + req.getParameter(0)));
  app.listen('127.0.0.1', 0, async (token) => {
    const response = await fetch('http://127.0.0.1:' + uWS.us_socket_local_port(token) + '/archive');
    const addons = process.report.getReport().sharedObjects.filter((name) => name.endsWith('.node'));
    console.log(JSON.stringify({ text: await response.text(), addons }));
    app.close();
  });`;
const FAILURE = `
  try { require('uws-rs').App(); console.log('no error'); } catch (error) { console.log(error.message); }`;

describe('installed from archives', { timeout: 180000 }, () => {
  let folder;
  let archives;
  let env;

  before(() => {
    folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'uws-installed-')));
    const out = path.join(folder, 'dist');
    execFileSync(process.execPath, ['scripts/package.js', '--host', '--out', out], { cwd: ROOT });
    archives = ['uws-rs', packageOf(host())].map((name) => path.join(out, `${name}-${version}.tgz`));
    env = { PATH: bareFolder(path.join(folder, 'bin')), HOME: folder, TMPDIR: os.tmpdir() };
  });
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** Installs into a new folder, and returns it. */
  function install(name, ...args) {
    const project = path.join(folder, name);
    fs.mkdirSync(project);
    fs.writeFileSync(path.join(project, 'package.json'), '{ "private": true }');
    const options = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund'];
    execFileSync('npm', ['install', ...options, ...args], { cwd: project, env, stdio: 'pipe' });
    return project;
  }
  const run = (cwd, program) =>
    execFileSync(process.execPath, ['-e', program], { cwd, env, encoding: 'utf8', timeout: 20000 });

  it('serves with the binary of the platform package', () => {
    const project = install('both', ...archives);
    const { text, addons } = JSON.parse(run(project, SERVER));
    assert.equal(text, 'hello archive');
    assert.deepEqual(addons, [path.join(project, 'node_modules', packageOf(host()), addonOf(host()))]);
  });

  it('without the platform package the error names it', () => {
    const project = install('main', archives[0]);
    assert.deepEqual(
      fs.readdirSync(path.join(project, 'node_modules')).filter((name) => name[0] !== '.'),
      ['uws-rs'],
    );
    assert.ok(run(project, FAILURE).includes(packageOf(host())));
  });
});

/** A folder for PATH with nothing in it but node, npm and the shell that npm is started by. */
function bareFolder(folder) {
  fs.mkdirSync(folder);
  fs.symlinkSync(process.execPath, path.join(folder, 'node'));
  const [npm] = process.env.PATH.split(path.delimiter)
    .map((at) => path.join(at, 'npm'))
    .filter((file) => fs.existsSync(file));
  fs.symlinkSync(fs.realpathSync(npm), path.join(folder, 'npm'));
  fs.symlinkSync('/bin/sh', path.join(folder, 'sh'));
  return `${folder}`;
}
