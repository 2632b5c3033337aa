'use strict';
// A server is bundled by each tool into an empty folder and run there: it answers over HTTP and WebSocket.
// The package is laid out as npm will install it. docs/install.md shows the same settings.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { after, before, describe, test } = require('node:test');
const { WebSocket } = require('ws');
const { BUILT, PACKAGE, layBinary, layPackage } = require('../package/laying');

const MODULES = path.join(__dirname, 'node_modules');
const BUN = [`@oven/bun-${process.platform}-${process.arch}/bin/bun`, 'bun/bin/bun.exe']
  .map((name) => path.join(MODULES, name))
  .find((file) => fs.existsSync(file));
const SEA_FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
const TIMEOUT = 120_000;

const SERVE = `
const app = App();
app
  .get('/:name', (res, req) => void res.end('hello ' + req.getParameter(0)))
  .ws('/*', { message: (ws, message, isBinary) => void ws.send(message, isBinary) })
  .listen('127.0.0.1', 0, (token) => console.log('port ' + uWS.us_socket_local_port(token)));
process.stdin.on('end', () => app.close()).resume();`;
const SERVERS = {
  'server.mjs': `import uWS, { App } from 'uws-rs';${SERVE}`,
  'server.cjs': `const uWS = require('uws-rs');\nconst { App } = uWS;${SERVE}`,
};

let folder;
/** An application with the package and its binary, and one where npm has left out the binary. */
let app, bare;

before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-bundlers-'));
  app = application('app');
  layBinary(app);
  bare = application('bare');
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

function application(name) {
  const at = path.join(folder, name);
  layPackage(at);
  fs.writeFileSync(path.join(at, 'package.json'), '{"private":true}');
  for (const [file, content] of Object.entries(SERVERS)) fs.writeFileSync(path.join(at, file), content);
  return at;
}

/** Makes an empty folder, which shares no parent with the applications but the one of temporary files. */
const empty = (name) => fs.mkdtempSync(path.join(folder, `${name}-`));

const tool = (name) => require(path.join(MODULES, name));
const imported = async (name) => import(path.join(MODULES, name));

// ---- the tools: each bundles an entry of an application into a folder, and returns the command that runs it

const BANNER = `import{createRequire}from'module';const require=createRequire(import.meta.url);`;

const esbuild = (format, options) => async (from, entry, into) => {
  const name = format === 'esm' ? 'server.mjs' : 'server.cjs';
  await tool('esbuild').build({
    absWorkingDir: from,
    bundle: true,
    entryPoints: { server: entry },
    format,
    logLevel: 'error',
    outdir: into,
    outExtension: { '.js': path.extname(name) },
    platform: 'node',
    ...options,
  });
  return [process.execPath, name];
};

const webpack = (options) => async (from, entry, into) => {
  const settings = {
    context: from,
    entry: `./${entry}`,
    mode: 'production',
    output: { filename: 'server.cjs', path: into },
    target: 'node',
    ...options,
  };
  await new Promise((resolve, reject) => {
    tool('webpack')(settings, (error, stats) => {
      if (error ?? stats.hasErrors()) reject(error ?? new Error(stats.toString('errors-only')));
      else resolve();
    });
  });
  return [process.execPath, 'server.cjs'];
};

async function ncc(from, entry, into) {
  const cli = path.join(MODULES, '@vercel/ncc/dist/ncc/cli.js');
  execFileSync(process.execPath, [cli, 'build', entry, '--out', into], { cwd: from, stdio: 'pipe' });
  return [process.execPath, `index${path.extname(entry)}`];
}

const rollup = (format) => async (from, entry, into) => {
  const name = format === 'es' ? 'server.mjs' : 'server.cjs';
  const { nodeResolve } = tool('@rollup/plugin-node-resolve');
  const bundle = await tool('rollup').rollup({
    external: /^uws-rs-/,
    input: path.join(from, entry),
    plugins: [nodeResolve({ preferBuiltins: true }), tool('@rollup/plugin-commonjs')()],
    onwarn: (warning) => assert.fail(warning.message),
  });
  await bundle.write({ file: path.join(into, name), format });
  await bundle.close();
  return [process.execPath, name];
};

async function vite(from, entry, into) {
  const { build } = await imported('vite/dist/node/index.js');
  await build({
    build: { outDir: into, rollupOptions: { external: /^uws-rs-/ }, ssr: entry },
    configFile: false,
    logLevel: 'error',
    root: from,
    ssr: { noExternal: true },
  });
  return [process.execPath, fs.readdirSync(into).find((name) => name.startsWith('server.'))];
}

/** Copies the files that @vercel/nft finds, as deployments do. */
async function nft(from, entry, into) {
  const { fileList } = await tool('@vercel/nft').nodeFileTrace([path.join(from, entry)], {
    base: from,
    processCwd: from,
  });
  for (const name of fileList) fs.cpSync(path.join(from, name), path.join(into, name), { recursive: true });
  return [process.execPath, entry];
}

async function bun(from, entry, into) {
  const args = ['build', '--compile', entry, '--outfile', path.join(into, 'server')];
  execFileSync(BUN, args, { cwd: from, stdio: 'pipe' });
  return [path.join(into, 'server')];
}

/** Node's single executable, with the binary beside it. */
async function sea(from, entry, into) {
  await esbuild('cjs', { external: ['uws-rs-*'] })(from, entry, into);
  const run = (...args) => execFileSync(process.execPath, args, { cwd: into, stdio: 'pipe' });
  const config = { main: 'server.cjs', output: 'blob', disableExperimentalSEAWarning: true };
  fs.writeFileSync(path.join(into, 'sea.json'), JSON.stringify(config));
  run('--experimental-sea-config', 'sea.json');
  const executable = path.join(into, 'server');
  fs.copyFileSync(process.execPath, executable);
  run(
    path.join(MODULES, 'postject/dist/cli.js'),
    executable,
    'NODE_SEA_BLOB',
    'blob',
    '--sentinel-fuse',
    SEA_FUSE,
  );
  for (const name of ['server.cjs', 'sea.json', 'blob']) fs.rmSync(path.join(into, name));
  fs.cpSync(path.join(app, 'node_modules', PACKAGE, BUILT), path.join(into, BUILT));
  return [executable];
}

/**
 * With `installed` the bundle does not hold the binary: its package is installed beside it. With `nested` it
 * is a dependency of uws-rs alone.
 */
const TOOLS = {
  'esbuild, with the binary': { bundle: esbuild('cjs', { loader: { '.node': 'copy' } }) },
  'esbuild, as an ES module': {
    bundle: esbuild('esm', { loader: { '.node': 'copy' }, banner: { js: BANNER } }),
  },
  'esbuild, the binary external': { bundle: esbuild('cjs', { external: ['uws-rs-*'] }), installed: true },
  'webpack, with the binary': {
    bundle: webpack({ module: { rules: [{ test: /\.node$/, loader: path.join(MODULES, 'node-loader') }] } }),
  },
  'webpack, the binary external': {
    bundle: webpack({ externals: [/^uws-rs-/], externalsType: 'commonjs' }),
    installed: true,
  },
  ncc: { bundle: ncc },
  'rollup, as an ES module': { bundle: rollup('es'), installed: true },
  "rollup, in pnpm's layout": { bundle: rollup('es'), nested: true },
  'rollup, as CommonJS': { bundle: rollup('cjs'), installed: true },
  'vite, for the server': { bundle: vite, installed: true },
  nft: { bundle: nft },
  'bun build --compile': { bundle: bun, skip: BUN ? false : 'there is no bun for this platform' },
  "Node's single executable": {
    bundle: sea,
    skip: process.platform === 'linux' ? false : 'the executable would have to be signed',
  },
};

for (const [name, { bundle, installed, nested, skip = false }] of Object.entries(TOOLS)) {
  describe(name, { skip, timeout: TIMEOUT }, () => {
    for (const entry of Object.keys(SERVERS)) {
      test(entry, async (t) => {
        const into = empty('out');
        const command = await bundle(app, entry, into);
        if (installed) layBinary(into);
        if (nested) layBinary(layPackage(into));
        assert.deepEqual(await exchange(t, command, into), ['hello there', 'over and out']);
      });
    }
  });
}

/** Runs a server, and returns what it answers over HTTP and WebSocket. */
async function exchange(t, [command, ...args], cwd) {
  const child = spawn(command, args, { cwd, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
  const port = await new Promise((resolve, reject) => {
    let said = '';
    child.stdout.on('data', (data) => {
      said += data;
      const [, number] = /port (\d+)\n/.exec(said) ?? [];
      if (number) resolve(Number(number));
    });
    ended.then((code) => reject(new Error(`the server ended with ${code}`)));
  });
  const answer = await (await fetch(`http://127.0.0.1:${port}/there`)).text();
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  const echo = await new Promise((resolve, reject) => {
    socket.on('open', () => socket.send('over and out'));
    socket.on('message', (data) => resolve(data.toString()));
    socket.on('error', reject);
  });
  socket.terminate();
  child.stdin.end();
  assert.equal(await ended, 0);
  return [answer, echo];
}

// ---- the binary left out

const LEFT_OUT = {
  esbuild: esbuild('cjs'),
  'esbuild, as an ES module': esbuild('esm', { banner: { js: BANNER } }),
  webpack: webpack(),
  ncc,
  'rollup, as an ES module': rollup('es'),
  'vite, for the server': vite,
  nft,
  'bun build --compile': bun,
};

describe(
  'after --omit=optional the tools bundle, and the error names that option',
  { timeout: TIMEOUT },
  () => {
    for (const [name, bundle] of Object.entries(LEFT_OUT)) {
      test(name, { skip: bundle === bun && !BUN ? 'there is no bun' : false }, async () => {
        const into = empty('bare');
        const [command, ...args] = await bundle(bare, 'server.mjs', into);
        assert.throws(
          () => execFileSync(command, args, { cwd: into, encoding: 'utf8', stdio: 'pipe', timeout: 20000 }),
          ({ status, stderr }) => {
            assert.equal(status, 1, stderr);
            assert.match(stderr, new RegExp(`${BUILT}: not there\n  ${PACKAGE}: not installed\n`), stderr);
            assert.match(stderr, /`--omit=optional`/);
            return true;
          },
        );
      });
    }
  },
);
