'use strict';
// docs/migration.md: from uWebSockets.js to uws-rs and back, with each package manager that is there. A
// registry of this process has the package as `npm pack` makes it, and one that depends on the original, as
// frameworks do. Nothing else may be fetched.
//
// npm comes with Node.js. The others are looked for on the path, and in the folder that PACKAGE_MANAGERS
// names, where `npm install pnpm9@npm:pnpm@9 pnpm10@npm:pnpm@10 yarn1@npm:yarn@1
// yarn4@npm:@yarnpkg/cli-dist@4 bun@1` has been run.

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { execFile, execFileSync } = require('node:child_process');
const { before, after, describe, it } = require('node:test');
const { assert } = require('./support');

const ROOT = path.join(__dirname, '../..');
const PAGE = fs.readFileSync(path.join(ROOT, 'docs/migration.md'), 'utf8');
const { version } = require('../../package.json');

/** A package that, like a framework, has the original among its own dependencies, from GitHub. */
const FRAMEWORK = {
  'package.json': JSON.stringify({
    name: 'framework',
    version: '1.0.0',
    main: 'index.js',
    dependencies: { 'uWebSockets.js': 'github:uNetworking/uWebSockets.js#v20.57.0' },
  }),
  'index.js': `module.exports = require('uWebSockets.js');`,
};
/** Stands for the original: the way back is the same for any package. */
const ORIGINAL = {
  'package.json': JSON.stringify({ name: 'uWebSockets.js', version: '20.57.0', main: 'index.js' }),
  'index.js': `exports.isOriginal = true;`,
};

const PROGRAM = `
const uWS = require('uWebSockets.js');
const theirs = require('framework');
if (uWS.isOriginal) return console.log('the original');
const app = uWS.App().get('/:name', (res, req) => res.end('hello ' + req.getParameter(0)));
app.listen('127.0.0.1', 0, async (token) => {
  const response = await fetch('http://127.0.0.1:' + uWS.us_socket_local_port(token) + '/user');
  console.log(await response.text(), uWS === theirs);
  app.close();
});`;

/** The blocks of the page of this language that contain the text. */
const blocks = (language, text) =>
  [...PAGE.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, which, block]) => which === language && block.includes(text))
    .map(([, , block]) => block);

const FOLDER = process.env.PACKAGE_MANAGERS;
const inFolder = (name, file) => (FOLDER ? path.join(FOLDER, 'node_modules', name, file) : '');
const ofNode = (file) => (fs.existsSync(file) ? [process.execPath, file] : undefined);
/** A program of the path whose version begins so. */
function onPath(name, major) {
  try {
    const said = execFileSync(name, ['--version'], { encoding: 'utf8', cwd: os.tmpdir(), stdio: 'pipe' });
    return said.startsWith(major) ? [name] : undefined;
  } catch {
    return undefined;
  }
}

/** By name: the command, how it installs, the overrides of the page, and how it runs a program. */
const MANAGERS = {
  npm: {
    command: ['npm'],
    install: ['install', '--no-audit', '--no-fund'],
    overrides: '"$uWebSockets.js"',
  },
  'pnpm 9': {
    command: ofNode(inFolder('pnpm9', 'bin/pnpm.cjs')) ?? onPath('pnpm', '9.'),
    install: ['install', '--no-frozen-lockfile'],
    overrides: '"pnpm"',
  },
  'pnpm 10': {
    command: ofNode(inFolder('pnpm10', 'bin/pnpm.cjs')) ?? onPath('pnpm', '10.'),
    install: ['install', '--no-frozen-lockfile'],
    overrides: '"pnpm"',
  },
  'yarn 1': {
    command: ofNode(inFolder('yarn1', 'bin/yarn.js')) ?? onPath('yarn', '1.'),
    install: ['install'],
    overrides: '"resolutions"',
  },
  'yarn 4': {
    command: ofNode(inFolder('yarn4', 'bin/yarn.js')) ?? onPath('yarn', '4.'),
    install: ['install', '--no-immutable'],
    overrides: '"resolutions"',
    run: ['node'],
  },
  bun: {
    command: (fs.existsSync(inFolder('.bin', 'bun')) && [inFolder('.bin', 'bun')]) || onPath('bun', '1.'),
    install: ['install'],
    // It does not override what comes from GitHub, as the page says.
    isAlone: true,
  },
};

describe('migration', { timeout: 240000 }, () => {
  let folder;
  let registry;

  before(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-migration-'));
    const archives = {};
    for (const [name, files] of Object.entries({ framework: FRAMEWORK, original: ORIGINAL })) {
      write(path.join(folder, name), files);
      archives[name] = pack(path.join(folder, name), folder);
    }
    archives['uws-rs'] = pack(ROOT, folder);
    registry = await serveRegistry({
      'uws-rs': [version, archives['uws-rs']],
      framework: ['1.0.0', archives.framework],
      'uWebSockets.js': ['20.57.0', archives.original],
    });
  });
  after(() => {
    registry.closeAllConnections();
    registry.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, { command, install, overrides, run = [], isAlone = false }] of Object.entries(MANAGERS)) {
    const skip = command ? false : 'it is not on the path, nor in PACKAGE_MANAGERS';
    it(`${name}: there and back`, { skip, timeout: 50000 }, async () => {
      const project = path.join(folder, name.replace(' ', ''));
      const [found] = blocks('json', overrides ?? '{\n  "dependencies": { "uWebSockets.js": "npm:uws-rs@');
      assert.ok(found, 'the page has a block for it');
      const ofPage = JSON.parse(found);
      assert.equal(ofPage.dependencies['uWebSockets.js'], `npm:uws-rs@^${version}`);
      if (!isAlone) ofPage.dependencies.framework = '1.0.0';
      const program = isAlone ? PROGRAM.replace("require('framework')", 'uWS') : PROGRAM;
      const url = `http://127.0.0.1:${registry.address().port}`;
      const work = async (manifest) => {
        write(project, {
          'package.json': JSON.stringify({ name: 'project', version: '1.0.0', private: true, ...manifest }),
          'main.js': program,
          '.npmrc': `registry=${url}/\n`,
          '.yarnrc': `registry "${url}/"\n`,
          '.yarnrc.yml': `npmRegistryServer: "${url}"\nunsafeHttpWhitelist: ["127.0.0.1"]\nenableTelemetry: false\nenableGlobalCache: false\n`,
          ...(name === 'yarn 4' && { 'yarn.lock': '' }),
          'bunfig.toml': `[install]\nregistry = "${url}/"\ncache = false\n`,
        });
        for (const lock of ['package-lock.json', 'pnpm-lock.yaml', 'bun.lock'])
          fs.rmSync(path.join(project, lock), { force: true });
        await execute(project, folder, ...command, ...install);
        return execute(
          project,
          folder,
          ...(run.length ? command : []),
          ...(run.length ? run : [process.execPath]),
          'main.js',
        );
      };
      assert.equal((await work(ofPage)).trim(), 'hello user true');
      if (name === 'npm') {
        const said = await execute(project, folder, 'npm', 'ls', 'uWebSockets.js');
        assert.match(said, new RegExp(`uWebSockets\\.js@npm:uws-rs@${version}`));
        const which = `require('uWebSockets.js/package.json').name`;
        assert.ok(PAGE.includes(`node -p "${which}"`));
        assert.equal(await execute(project, folder, process.execPath, '-p', which), 'uws-rs\n');
      }

      // Back: the name means the original again, for the framework as well.
      const back = JSON.parse(JSON.stringify(ofPage).replaceAll(`npm:uws-rs@^${version}`, '20.57.0'));
      assert.equal((await work(back)).trim(), 'the original');
    });
  }
});

/** Serves packages as npm's registry does: by name their version and archive. */
function serveRegistry(packages) {
  const server = http.createServer((req, res) => {
    const name = decodeURIComponent(req.url.slice(1).split('/')[0].split('?')[0]);
    const [number, file] = packages[name] ?? [];
    if (!file) return res.writeHead(404).end('{"error":"not found"}');
    const data = fs.readFileSync(file);
    if (req.url.endsWith('.tgz')) return res.end(data);
    const tarball = `http://${req.headers.host}/${encodeURIComponent(name)}/-/${path.basename(file)}`;
    const integrity = `sha512-${crypto.createHash('sha512').update(data).digest('base64')}`;
    const shasum = crypto.createHash('sha1').update(data).digest('hex');
    const manifest = JSON.parse(
      execFileSync('tar', ['-xzOf', file, 'package/package.json'], { encoding: 'utf8' }),
    );
    const versions = { [number]: { ...manifest, dist: { tarball, integrity, shasum } } };
    const time = { [number]: '2026-01-01T00:00:00.000Z' };
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({ name, 'dist-tags': { latest: number }, versions, time }));
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** Makes the archive of a package in the folder, and returns its path. */
function pack(from, folder) {
  const options = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const said = execFileSync('npm', options, {
    cwd: from,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return path.join(folder, JSON.parse(said)[0].filename);
}

/** Runs a command with a home and caches of its own, and without the network. */
function execute(cwd, home, command, ...args) {
  const env = {
    PATH: process.env.PATH,
    HOME: path.join(home, 'home'),
    CI: '1',
    COREPACK_ENABLE_STRICT: '0',
    npm_config_cache: path.join(home, 'npm-cache'),
    YARN_CACHE_FOLDER: path.join(home, 'yarn-cache'),
    http_proxy: 'http://127.0.0.1:1',
    https_proxy: 'http://127.0.0.1:1',
    no_proxy: '127.0.0.1',
  };
  return new Promise((resolve, reject) => {
    const done = (error, stdout, stderr) =>
      error
        ? reject(new Error(`${command} ${args.join(' ')}: ${error.message}\n${stdout}\n${stderr}`))
        : resolve(stdout);
    execFile(command, args, { cwd, env, encoding: 'utf8', timeout: 40000 }, done);
  });
}

function write(into, files) {
  fs.mkdirSync(into, { recursive: true });
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(into, name), content);
}
