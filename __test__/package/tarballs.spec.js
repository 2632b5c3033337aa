'use strict';
// The packages that are published: what is inside, that they belong together, and that they are checked for
// what would keep a binary from running elsewhere. The binary is the one that was built for this machine.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const { execFileSync, spawnSync } = require('node:child_process');
const { after, before, describe, it } = require('node:test');
const { offences } = require('../../scripts/package/check');
const { compilerFlags, split } = require('../../scripts/package/compile');
const { readElf } = require('../../scripts/package/elf');
const { gitOutput } = require('../../scripts/package/git');
const { originOf, whereabouts } = require('../../scripts/package/origin');
const { gather, refuseUnlocated } = require('../../scripts/package/publish');
const { mainManifest, manifestOf, platformManifest } = require('../../scripts/package/stage');
const { TARGETS, addonOf, host, packageOf } = require('../../scripts/package/targets');
const tools = require('../../scripts/package/tools');

const ROOT = path.join(__dirname, '../..');
const LINUX = { skip: process.platform === 'linux' ? false : 'about binaries of Linux' };

describe('the packed packages', { timeout: 120000 }, () => {
  const { version } = manifestOf(ROOT);
  let folder;
  const read = (name) => fs.readFileSync(path.join(folder, name), 'utf8');

  before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-tarballs-'));
    for (const out of ['first', 'second']) {
      const args = ['scripts/package.js', '--host', '--out', path.join(folder, out)];
      execFileSync(process.execPath, args, { cwd: ROOT });
    }
    for (const name of ['uws-rs', packageOf(host())]) {
      fs.mkdirSync(path.join(folder, name));
      const archive = path.join(folder, 'first', `${name}-${version}.tgz`);
      execFileSync('tar', ['-xzf', archive, '-C', path.join(folder, name), '--strip-components=1']);
    }
  });
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  it('the main package has the module and the sources, but no binary and no script that installs', () => {
    const files = filesIn(path.join(folder, 'uws-rs'));
    assert.deepEqual(
      files.filter((name) => /\.(node|so|dylib)$/.test(name)),
      [],
    );
    const sources = ['lib', 'src'].flatMap((at) =>
      filesIn(path.join(ROOT, at)).map((name) => `${at}/${name}`),
    );
    const others = ['index.js', 'index.mjs', 'index.d.ts', 'Cargo.toml', 'Cargo.lock', 'build.rs', 'LICENSE'];
    const scripts = ['scripts/build.js', 'scripts/run.js', 'THIRD-PARTY-LICENSES.txt'];
    const withoutTests = sources.filter((name) => !/\/tests\//.test(name));
    for (const name of [...withoutTests, ...others, ...scripts]) assert.ok(files.includes(name), name);
    const manifest = JSON.parse(read('uws-rs/package.json'));
    assert.deepEqual(Object.keys(manifest.scripts), ['build']);
    assert.equal(manifest.devDependencies, undefined);
    assert.equal(manifest.dependencies, undefined);
  });

  it('every file that is required in the main package is inside', () => {
    const main = path.join(folder, 'uws-rs');
    const scripts = filesIn(main).filter((name) => name.endsWith('.js'));
    assert.ok(scripts.length > 20);
    for (const name of scripts) {
      for (const [, wanted] of fs
        .readFileSync(path.join(main, name), 'utf8')
        .matchAll(/require\('(\.[^']*)(?<!\.node)'\)/g))
        assert.doesNotThrow(
          () => require.resolve(path.join(main, path.dirname(name), wanted)),
          `${name}: ${wanted}`,
        );
    }
  });

  it('cargo takes the sources for a workspace of their own', (t) => {
    const main = path.join(folder, 'uws-rs');
    const args = ['metadata', '--format-version', '1', '--no-deps', '--offline', '--manifest-path'];
    const described = spawnSync('cargo', [...args, path.join(main, 'Cargo.toml')], { encoding: 'utf8' });
    if (described.error) return t.skip('there is no cargo');
    assert.equal(described.status, 0, described.stderr);
    assert.equal(fs.realpathSync(JSON.parse(described.stdout).workspace_root), fs.realpathSync(main));
  });

  it('the platform package has the binary, the licences and the conditions on which npm installs it', () => {
    const name = packageOf(host());
    assert.deepEqual(filesIn(path.join(folder, name)), [
      'LICENSE',
      'README.md',
      'THIRD-PARTY-LICENSES.txt',
      'package.json',
      addonOf(host()),
    ]);
    for (const text of ['LICENSE', 'THIRD-PARTY-LICENSES.txt'])
      assert.equal(read(`${name}/${text}`), fs.readFileSync(path.join(ROOT, text), 'utf8'));
    const manifest = JSON.parse(read(`${name}/package.json`));
    assert.equal(manifest.main, addonOf(host()));
    assert.deepEqual([manifest.os, manifest.cpu], [[process.platform], [process.arch]]);
    assert.deepEqual([manifest.version, manifest.license], [version, 'MIT']);
    assert.deepEqual(manifest.engines, manifestOf(ROOT).engines);
    assert.equal(manifest.scripts, undefined);
  });

  it('packing leaves other files of the folder alone, and says which targets there are', () => {
    const out = path.join(folder, 'used');
    fs.mkdirSync(out);
    for (const name of ['notes.txt', 'uws-rs-0.0.1.tgz']) fs.writeFileSync(path.join(out, name), 'old');
    execFileSync(process.execPath, ['scripts/package.js', '--host', '--out', out], { cwd: ROOT });
    const names = fs.readdirSync(out);
    assert.deepEqual([names.includes('notes.txt'), names.includes('uws-rs-0.0.1.tgz')], [true, false]);
    const args = ['scripts/package.js', '--target', 'linux-x65', '--out', out];
    const tried = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
    assert.equal(tried.status, 1);
    assert.match(tried.stderr, /^There is no target linux-x65: linux-x64-gnu, .*\n$/);
  });

  it('the same files give the same bytes', () => {
    const names = fs.readdirSync(path.join(folder, 'first'));
    assert.equal(names.length, 3);
    for (const name of names)
      assert.ok(
        fs
          .readFileSync(path.join(folder, 'first', name))
          .equals(fs.readFileSync(path.join(folder, 'second', name))),
        name,
      );
    const sums = execFileSync('sha256sum', ['--check', 'SHA256SUMS'], { cwd: path.join(folder, 'first') });
    assert.equal(String(sums).match(/: OK/g).length, 2);
  });
});

describe('the manifests', () => {
  it('the main package names every platform package, in its own version', () => {
    const main = manifestOf(ROOT);
    assert.equal(main.optionalDependencies, undefined, 'a clone does without them');
    const { optionalDependencies } = mainManifest(main);
    assert.deepEqual(Object.keys(optionalDependencies).sort(), [
      'uws-rs-darwin-arm64',
      'uws-rs-darwin-x64',
      'uws-rs-linux-arm64-gnu',
      'uws-rs-linux-arm64-musl',
      'uws-rs-linux-x64-gnu',
      'uws-rs-linux-x64-musl',
    ]);
    for (const target of TARGETS) {
      assert.equal(optionalDependencies[packageOf(target)], main.version);
      assert.equal(platformManifest(target, main).version, main.version);
    }
  });

  it('no two platform packages fit the same machine', () => {
    const conditions = TARGETS.map((target) => {
      const { os, cpu, libc } = platformManifest(target, manifestOf(ROOT));
      assert.equal(libc !== undefined, os[0] === 'linux', target.name);
      return JSON.stringify([os, cpu, libc]);
    });
    assert.equal(new Set(conditions).size, TARGETS.length);
  });

  it('say where the sources are, by the origin of the clone, without anything secret', () => {
    const expected = {
      repository: { type: 'git', url: 'git+https://example.org/owner/name.git' },
      homepage: 'https://example.org/owner/name#readme',
      bugs: { url: 'https://example.org/owner/name/issues' },
    };
    for (const url of [
      'https://example.org/owner/name',
      'https://example.org/owner/name.git',
      'https://someone:s3cret@Example.org/owner/name.git/',
      'https://t0ken@example.org:443/owner/name',
      'HTTPS://example.org/owner/name.git',
      'ssh://git@example.org:2222/owner/name.git',
      'git@example.org:owner/name.git',
      'example.org:owner/name.git',
    ])
      assert.deepEqual(whereabouts(url), expected, url);
    // A web server's port is a part of its address, unlike that of another protocol.
    assert.deepEqual(whereabouts('https://t0ken@example.org:8443/owner/name.git'), {
      repository: { type: 'git', url: 'git+https://example.org:8443/owner/name.git' },
      homepage: 'https://example.org:8443/owner/name#readme',
      bugs: { url: 'https://example.org:8443/owner/name/issues' },
    });
    assert.equal(whereabouts('http://example.org:3000/a/b').homepage, 'http://example.org:3000/a/b#readme');
    for (const url of [
      undefined,
      '',
      '/home/someone/name.git',
      '../name',
      'file:///home/someone/name.git',
      'C:/name',
      'https://localhost/owner/name',
      'http://127.0.0.1:3000/owner/name',
      'git@server:owner/name.git',
      'https://example.org/',
      'https://example.org/owner/name?token=s3cret',
      'https://mirror.example.org/https://someone:s3cret@example.org/owner/name',
      'https://some.one:12/s3cret@example.org/owner/name',
      'https://example.org/someone:s3cret/owner/name',
      'https://mirror.example.org/https%3A%2F%2Fsomeone%3As3cret%40example.org%2Fowner%2Fname',
      'https://example.org/../owner/name',
      'https://example.org//owner/name',
      'git@example.org:owner/name of mine',
      'git@example.org:/srv/git/name.git',
    ])
      assert.deepEqual(whereabouts(url), {}, url);
  });

  it('take the origin of a repository of its own, and not that of the one around it', () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-origin-'));
    const git = (...args) => gitOutput(folder, args);
    // As a hook of another repository has it.
    const other = path.join(folder, 'other');
    const { GIT_DIR } = process.env;
    process.env.GIT_DIR = path.join(other, '.git');
    try {
      fs.mkdirSync(other);
      gitOutput(other, ['init', '--quiet']);
      gitOutput(other, ['remote', 'add', 'origin', 'git@example.org:other/name.git']);
      assert.equal(originOf(folder), undefined, 'no repository');
      git('init', '--quiet');
      assert.equal(originOf(folder), undefined, 'no origin');
      git('remote', 'add', 'origin', 'git@example.org:owner/name.git');
      assert.equal(originOf(folder), 'git@example.org:owner/name.git');
      git('config', 'url.https://mirror.example.org/.insteadOf', 'git@example.org:');
      assert.equal(originOf(folder), 'git@example.org:owner/name.git', 'and not that of a mirror');
      git('config', 'url.https://example.org/.insteadOf', 'short:');
      git('remote', 'set-url', 'origin', 'short:owner/name');
      assert.equal(originOf(folder), 'https://example.org/owner/name', 'by a shorthand');
      fs.mkdirSync(path.join(folder, 'within'));
      assert.equal(originOf(path.join(folder, 'within')), undefined);
    } finally {
      if (GIT_DIR === undefined) delete process.env.GIT_DIR;
      else process.env.GIT_DIR = GIT_DIR;
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });

  it('package.json, its lockfile, Cargo.toml and Cargo.lock agree on the version', () => {
    const { version } = manifestOf(ROOT);
    const text = (name) => fs.readFileSync(path.join(ROOT, name), 'utf8');
    assert.equal(/\nversion = "([^"]+)"/.exec(text('Cargo.toml'))[1], version);
    assert.equal(/\nname = "uws-rs"\nversion = "([^"]+)"/.exec(text('Cargo.lock'))[1], version);
    const lock = JSON.parse(text('package-lock.json'));
    assert.deepEqual([lock.version, lock.packages[''].version], [version, version]);
  });

  it('the clone itself is not packed', () => {
    const tried = spawnSync('npm', ['pack', '--dry-run'], { cwd: ROOT, encoding: 'utf8' });
    assert.notEqual(tried.status, 0);
    assert.match(tried.stderr, /`npm run package` makes its packages in dist\//);
  });

  it('the loader requires the platform packages and their binaries', () => {
    const { BINARIES } = require('../../lib/binaries');
    assert.deepEqual(Object.keys(BINARIES).sort(), TARGETS.map(({ name }) => name).sort());
    const loader = fs.readFileSync(path.join(ROOT, 'lib/binaries.js'), 'utf8');
    for (const target of TARGETS) {
      assert.ok(loader.includes(`require('${packageOf(target)}')`), packageOf(target));
      assert.ok(loader.includes(`require('../${addonOf(target)}')`), addonOf(target));
    }
  });
});

describe('what is published', () => {
  let folder;
  before(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-gather-'));
    for (const target of TARGETS) made(target.name, { [packageOf(target)]: target.name, 'uws-rs': 'main' });
  });
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** Makes a folder as that of `npm run package`, with archives of these contents. */
  function made(name, archives) {
    fs.mkdirSync(path.join(folder, name), { recursive: true });
    const lines = Object.entries(archives).map(([each, content]) => {
      const bytes = zlib.gzipSync(content, { level: name.length % 9 });
      fs.writeFileSync(path.join(folder, name, `${each}-1.0.0.tgz`), bytes);
      return `${crypto.createHash('sha256').update(bytes).digest('hex')}  ${each}-1.0.0.tgz\n`;
    });
    fs.writeFileSync(path.join(folder, name, 'SHA256SUMS'), lines.join(''));
  }

  it('is every package, the main one last', () => {
    const names = gather(folder, '1.0.0').map(({ name }) => name);
    assert.deepEqual(names, [...TARGETS.map(packageOf), 'uws-rs']);
  });

  it('is refused if a package is missing, changed, or not the same everywhere', () => {
    assert.throws(() => gather(folder, '2.0.0'), /uws-rs-linux-x64-gnu 2\.0\.0 is not below/);
    made('darwin-x64', { 'uws-rs-darwin-x64': 'darwin-x64', 'uws-rs': 'another' });
    assert.throws(() => gather(folder, '1.0.0'), /are different packages/);
    made('darwin-x64', { 'uws-rs-darwin-x64': 'darwin-x64', 'uws-rs': 'main' });
    fs.appendFileSync(path.join(folder, 'darwin-x64/uws-rs-1.0.0.tgz'), 'x');
    assert.throws(() => gather(folder, '1.0.0'), /is not what was packed/);
  });

  it('is refused if a package does not say where its sources are', () => {
    const packed = (name, manifest) => {
      const at = path.join(folder, name);
      fs.mkdirSync(path.join(at, 'package'), { recursive: true });
      fs.writeFileSync(path.join(at, 'package/package.json'), JSON.stringify(manifest));
      execFileSync('tar', ['-czf', `${at}.tgz`, '-C', at, 'package']);
      return { file: `${at}.tgz` };
    };
    const located = packed('located', whereabouts('git@example.org:owner/name.git'));
    refuseUnlocated([located]);
    assert.throws(
      () => refuseUnlocated([located, packed('lost', {})]),
      /lost\.tgz names no repository: it was packed in a clone/,
    );
  });
});

describe('the check of binaries', LINUX, () => {
  const addon = path.join(ROOT, addonOf(host()));
  const target = { ...host() };
  let folder;
  before(() => (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-check-'))));
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** A copy of the addon in which a text stands instead of another of the same length. */
  function withText(from, to) {
    const bytes = fs.readFileSync(addon);
    assert.equal(from.length, to.length);
    let found = 0;
    for (let at = bytes.indexOf(`\0${from}\0`); at >= 0; at = bytes.indexOf(`\0${from}\0`, at + 1), found++)
      bytes.write(to, at + 1, 'latin1');
    assert.ok(found > 0, `${from} is not in the addon`);
    const file = path.join(folder, 'changed.node');
    fs.writeFileSync(file, bytes);
    return file;
  }

  it('reads what the addon needs', () => {
    const { cpu, needed, versions, defined } = readElf(addon);
    assert.equal(cpu, process.arch);
    assert.ok(needed.some((name) => name.startsWith('libc.')));
    assert.ok(target.libc === 'musl' || versions.includes('GLIBC_2.14') || versions.includes('GLIBC_2.17'));
    assert.ok(defined.includes('napi_register_module_v1'));
  });

  it('refuses a newer glibc, other libraries, another processor and what is no addon', () => {
    const said = (file, changes) => offences(file, { ...target, ...changes }).join('\n');
    if (target.libc === 'glibc') {
      assert.match(said(withText('GLIBC_2.14', 'GLIBC_2.18')), /it needs GLIBC_2.18, newer than GLIBC_2.17/);
      assert.match(said(withText('GLIBC_2.14', 'GLIBC_3.0x')), /it needs GLIBC_3.0x, newer/);
      assert.doesNotMatch(said(withText('GLIBC_2.14', 'GLIBC_2.13')), /GLIBC_2\.13/);
      assert.match(said(addon, { libc: 'musl' }), /it needs libc\.so\.6\n(.*\n)*it needs GLIBC_2/);
      assert.match(said(withText('libc.so.6', 'libz.so.1')), /it needs libz\.so\.1/);
    }
    assert.match(said(addon, { cpu: 's390x' }), /it is for \w+, not for s390x/);
    const renamed = withText('napi_register_module_v1', 'napi_register_module_v9');
    assert.match(said(renamed), /it is no addon of Node-API/);
  });

  it('refuses a binary that names a folder of its machine', () => {
    const file = path.join(folder, 'named.node');
    fs.writeFileSync(file, Buffer.concat([fs.readFileSync(addon), Buffer.from('/build/machine/src')]));
    assert.match(offences(file, target, ['/build/machine']).join(), /it names \/build\/machine, a folder/);
    assert.doesNotMatch(offences(file, target, ['/build/mach']).join(), /it names \/build\/mach,/);
  });

  it('a folder whose name would part the flags of the compiler is named', () => {
    const flags = (folder) => compilerFlags({ triple: 'a-b-c' }, [[folder, '/uws-rs']]);
    assert.deepEqual(flags("/it's/here"), { CFLAGS_a_b_c: "-ffile-prefix-map=/it's/here=/uws-rs" });
    assert.throws(
      () => flags('/my projects/uws-rs'),
      /cannot be left out of the binary: \/my projects\/uws-rs$/,
    );
  });

  it('a word of a shell is any text', () => {
    for (const text of ['/it\'s/$HOME `x` "y"', '', "'"])
      assert.equal(execFileSync('sh', ['-c', `printf %s ${tools.quoted(text)}`], { encoding: 'utf8' }), text);
  });

  it('a binary and its symbols are parted, and know each other', (t) => {
    const objcopy = tools.objcopy(target);
    if (!objcopy) return t.skip('there is no objcopy');
    const ids = ['one', 'two'].map((name) => {
      const file = path.join(folder, `${name}.node`);
      split(objcopy, addon, file, `${file}.debug`);
      assert.deepEqual(readElf(file).defined, readElf(addon).defined);
      const [binary, symbols] = [file, `${file}.debug`].map((each) => buildIdIn(fs.readFileSync(each)));
      assert.equal(binary, symbols);
      return binary;
    });
    assert.match(ids[0], /^[0-9a-f]{40}$/);
    assert.equal(ids[0], ids[1], 'made from the binary, not from the name of its file');
  });

  /** The identifier in the last note of GNU's type 3; the compiler may have made one before ours. */
  function buildIdIn(bytes) {
    const head = Buffer.from('040000001400000003000000474e5500', 'hex');
    const at = bytes.lastIndexOf(head);
    return at < 0 ? undefined : bytes.toString('hex', at + head.length, at + head.length + 20);
  }

  it('says that a file is no library, or is damaged', () => {
    const file = path.join(folder, 'bad.node');
    fs.writeFileSync(file, 'no library');
    assert.throws(() => readElf(file), /^Error: .*bad\.node is no 64-bit little-endian ELF file/);
    fs.writeFileSync(file, fs.readFileSync(addon).subarray(0, 4096));
    assert.throws(() => readElf(file), /^Error: .*bad\.node is cut off or damaged/);
  });
});

function filesIn(folder) {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}
