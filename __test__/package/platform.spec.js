'use strict';

// Loading the addon: from a clone, from the package of the platform, and where neither works. Each case is a
// copy of the package in a folder of its own, so that what is installed beside it can be chosen.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { after, before, test } = require('node:test');
const { BUILT, PACKAGE, ROOT, TARGET, addon, layBinary, layPackage } = require('./laying');
const { BINARIES } = require('../../lib/binaries');
const { unloadable } = require('../../lib/unloadable');
const { VERSION } = require('../../lib/version');

const ON_GLIBC = { skip: TARGET.endsWith('-gnu') ? false : 'about glibc' };

let folder;
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-platform-'));
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

/**
 * Lays out an application with the package installed. `beside` is the content of the file beside index.js,
 * `packages` those of the packages of platforms, by name.
 */
function lay({ beside, packages = {} } = {}) {
  const app = fs.mkdtempSync(path.join(folder, 'app-'));
  const root = layPackage(app);
  if (beside !== undefined) fs.writeFileSync(path.join(root, BUILT), beside);
  for (const [name, content] of Object.entries(packages)) layBinary(app, { name, content });
  return root;
}

/** Runs a program that prints how making an App ends, after `first` has been run. */
function attempt(root, first = '', flags = []) {
  const program = `
    const root = ${JSON.stringify(root)};
    ${first}
    let found = { message: 'no error' };
    try {
      require(root).App();
    } catch (error) {
      found = { message: error.message, code: error.code, cause: error.cause?.message };
    }
    console.log(JSON.stringify(found));
    process.exit();`;
  const args = [...flags, '-e', program];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 20000, cwd: root }));
}

const pretend = (values) =>
  Object.entries(values)
    .map(([name, value]) => `Object.defineProperty(process, '${name}', { value: ${JSON.stringify(value)} });`)
    .join('\n');

/** Each error begins so. */
const beginning = (target) =>
  new RegExp(`^uws-rs has no binary that loads on ${target}( \\(glibc [\\d.]+\\))?, `);

test('the binary of a clone is loaded, and before that of the package', () => {
  assert.equal(attempt(lay({ beside: addon() })).message, 'no error');
  const root = lay({ beside: addon(), packages: { [PACKAGE]: 'not a binary' } });
  assert.equal(attempt(root).message, 'no error');
});

test('the package of the platform is loaded', () => {
  assert.equal(attempt(lay({ packages: { [PACKAGE]: addon() } })).message, 'no error');
});

test('a damaged binary in a clone does not keep that of the package away', () => {
  const root = lay({ beside: 'not a binary', packages: { [PACKAGE]: addon() } });
  assert.equal(attempt(root).message, 'no error');
});

test('nothing is installed: the error names the option of npm that does it, and the way to build', () => {
  const { message, code, cause } = attempt(lay());
  assert.match(message, beginning(TARGET));
  assert.match(message, /Node\.js \d+\.\d+\.\d+\.\n/);
  assert.match(message, new RegExp(`\n  ${BUILT}: not there\n  ${PACKAGE}: not installed\n`));
  assert.match(
    message,
    /`--omit=optional`, `--no-optional` .* `npm install --include=optional` brings it\.\n/,
  );
  assert.match(
    message,
    /`npm run build` in .* builds it from source; this takes Rust .* and a C compiler\.$/,
  );
  assert.equal(code, 'UWS_RS_NO_BINARY');
  assert.match(cause, new RegExp(`^Cannot find module '${PACKAGE}'`));
});

test('the error says where to build, if the sources are there', () => {
  const root = lay();
  fs.writeFileSync(path.join(root, 'Cargo.toml'), '');
  assert.ok(attempt(root).message.includes(`\`npm run build\` in ${root} builds`));
});

test('with glibc the error names its version', ON_GLIBC, () => {
  const version = process.report.getReport().header.glibcVersionRuntime;
  assert.ok(attempt(lay()).message.includes(`${TARGET} (glibc ${version}), Node.js`));
});

test('a binary that the system refuses: the error repeats what the system says', () => {
  const { message, cause } = attempt(lay({ packages: { [PACKAGE]: 'not a binary' } }));
  assert.match(message, beginning(TARGET));
  assert.match(message, new RegExp(`\n  ${PACKAGE}: .*\\.node: `));
  assert.match(
    message,
    /\nThe (file is damaged, or of another system|binary is there, but .* refuses it)\.\n/,
  );
  assert.doesNotMatch(message, /optional/);
  assert.match(cause, /\.node: /);
});

test('a binary for another architecture', { skip: process.platform !== 'linux' }, () => {
  const other = addon();
  // The field e_machine; no processor has this number.
  other.writeUInt16LE(0xfffe, 18);
  const { message } = attempt(lay({ packages: { [PACKAGE]: other } }));
  assert.match(message, /\nThe file is damaged, or of another system\.\n/);
});

test(
  'a binary that is cut off anywhere: an error, where the loader of the system would end the process',
  { skip: process.platform !== 'linux' },
  () => {
    const whole = addon();
    for (const length of [0, 63, 64, 4096, whole.length >> 1, whole.length - 1]) {
      const cut = whole.subarray(0, length);
      for (const laid of [{ beside: cut }, { packages: { [PACKAGE]: cut } }]) {
        const { message, cause } = attempt(lay(laid));
        assert.match(message, /\nThe file is damaged, or of another system\.\n/, `${length}`);
        if (length >= 64) assert.match(cause, /\.node: the file is cut off$/);
      }
    }
    assert.equal(
      attempt(lay({ beside: whole.subarray(0, 4096), packages: { [PACKAGE]: whole } })).code,
      undefined,
    );
  },
);

test('the error names the version of glibc that the binary needs', ON_GLIBC, () => {
  const { message } = attempt(lay({ packages: { [PACKAGE]: newer() } }));
  assert.match(message, /version `GLIBC_9\.99' not found/);
  assert.match(message, /\nThe binary needs glibc 9\.99, which is newer than the system's\.\n/);
});

/** The addon, where one of the versions of glibc's symbols that it needs is replaced by one of the future. */
function newer() {
  const bytes = addon();
  const [, version] = /\0(GLIBC_2\.\d\d)\0/.exec(bytes.toString('latin1'));
  bytes.write('GLIBC_9.99', bytes.indexOf(`\0${version}\0`, 'latin1') + 1, 'latin1');
  const [old, hash] = [hashed(version), hashed('GLIBC_9.99')];
  for (let at = bytes.indexOf(old); at !== -1; at = bytes.indexOf(old, at + 1)) hash.copy(bytes, at);
  return bytes;
}

/** The hash of a symbol's version as it is in the file (System V ABI). */
function hashed(name) {
  let hash = 0;
  for (const each of Buffer.from(name)) {
    hash = (hash << 4) + each;
    hash = (hash ^ ((hash >>> 24) & 0xf0)) & 0x0fffffff;
  }
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(hash);
  return bytes;
}

test('node_modules of another system', () => {
  const other = Object.keys(BINARIES).find((each) => each !== TARGET);
  const { message } = attempt(lay({ packages: { [`uws-rs-${other}`]: addon() } }));
  assert.match(message, new RegExp(`\nInstalled is uws-rs-${other}: node_modules comes from another system`));
  assert.doesNotMatch(message, /--omit/);
});

test('musl and glibc are told apart by the executable', { skip: process.platform !== 'linux' }, () => {
  const root = lay({ packages: { [PACKAGE]: addon() } });
  const musl = path.join(root, 'node-of-musl');
  fs.writeFileSync(musl, elf('/lib/ld-musl-x86_64.so.1'));
  const { message } = attempt(root, pretend({ execPath: musl }));
  assert.match(message, beginning(`linux-${process.arch}-musl`));
  fs.writeFileSync(musl, elf('/lib64/ld-linux-x86-64.so.2'));
  const expected = TARGET.endsWith('-gnu') ? /^no error$/ : beginning(`linux-${process.arch}-gnu`);
  assert.match(attempt(root, pretend({ execPath: musl })).message, expected);
});

test('an executable that names no loader: the report tells', ON_GLIBC, () => {
  const root = lay({ packages: { [PACKAGE]: addon() } });
  for (const execPath of ['/nowhere', path.join(root, 'package.json')]) {
    assert.equal(attempt(root, pretend({ execPath })).message, 'no error');
  }
});

for (const [what, report] of [
  ['is not there', 'undefined'],
  ['is empty', '{ getReport: () => ({}) }'],
  ['is refused, as by Deno', "{ getReport() { throw new Error('Requires sys access'); } }"],
]) {
  test(
    `an executable that names no loader, and a report that ${what}: glibc is taken for granted`,
    ON_GLIBC,
    () => {
      const root = lay({ packages: { [PACKAGE]: addon() } });
      const first = `${pretend({ execPath: '/nowhere' })}
      Object.defineProperty(process, 'report', { value: ${report} });`;
      assert.equal(attempt(root, first).message, 'no error');
      fs.rmSync(path.join(path.dirname(root), PACKAGE), { recursive: true });
      assert.match(attempt(root, first).message, beginning(TARGET));
    },
  );
}

test('a folder of the loader that is named after musl does not matter', ON_GLIBC, () => {
  const root = lay({ packages: { [PACKAGE]: addon() } });
  const execPath = path.join(root, 'node-of-glibc');
  fs.writeFileSync(execPath, elf('/home/musl/lib/ld-linux-x86-64.so.2'));
  assert.equal(attempt(root, pretend({ execPath })).message, 'no error');
});

/** An ELF file that consists of its header and the name of its loader. */
function elf(interpreter) {
  const bytes = Buffer.alloc(200);
  bytes.write('\x7fELF\x02\x01', 'latin1');
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(3, 64);
  bytes.writeBigUInt64LE(120n, 64 + 8);
  bytes.writeBigUInt64LE(BigInt(interpreter.length + 1), 64 + 32);
  bytes.write(interpreter, 120, 'latin1');
  return bytes;
}

test('Windows is named as not supported', () => {
  assert.equal(
    attempt(lay(), pretend({ platform: 'win32' })).message,
    'uws-rs does not support Windows: it needs Linux or macOS; WSL works.',
  );
});

test('a platform without a package: the error names it, and the way to build', () => {
  const { message } = attempt(lay(), pretend({ platform: 'freebsd' }));
  const target = `freebsd-${process.arch}`;
  assert.match(message, beginning(target));
  assert.match(
    message,
    new RegExp(`\n  uws-rs\\.${target}\\.node: not there\n  uws-rs-${target}: not installed\n`),
  );
  assert.match(message, new RegExp(`\nThere is no package for ${target}\\.\n`));
  assert.doesNotMatch(message, /optional/);
});

test('a platform without a package, where the binary was built in a clone', () => {
  const root = lay();
  const name = `uws-rs.freebsd-${process.arch}.node`;
  fs.copyFileSync(path.join(ROOT, BUILT), path.join(root, name));
  assert.equal(attempt(root, pretend({ platform: 'freebsd' })).message, 'no error');
});

/** Why loaders refuse a file, and the hint. */
const REFUSALS = [
  [
    '/a.node: cannot open shared object file: Permission denied',
    'The user of this process may not read the file.',
  ],
  ['/a.node: failed to map segment from shared object', 'The file system allows no execution (`noexec`)'],
  ['/a.node: invalid ELF header', 'The file is damaged, or of another system.'],
  ['something else', 'The binary is there, but the system refuses it.'],
];

for (const [said, hint] of REFUSALS) {
  test(`a refusal: ${said}`, () => {
    const error = Object.assign(new Error(said), { code: 'ERR_DLOPEN_FAILED' });
    const { message } = unloadable(TARGET, new Map([[PACKAGE, error]]), [TARGET]);
    assert.ok(message.includes(`\n  ${PACKAGE}: ${said}\n${hint}`), message);
    assert.match(message, /`npm run build`/);
  });
}

test('a runtime that may not load addons: the error names the flags, and no other binary', () => {
  const root = lay({ packages: { [PACKAGE]: addon() } });
  const { message } = attempt(root, '', ['--no-addons']);
  assert.match(message, new RegExp(`\n  ${PACKAGE}: .*addon.* disabled`, 'i'));
  assert.match(message, /`--no-addons`.*`--allow-addons`/);
  assert.doesNotMatch(message, /npm run build/);
});

/** The errors of Deno, which have no code. */
const OF_DENO = [
  [
    'NotCapable',
    'Requires ffi access to "/a.node", run again with the --allow-ffi flag',
    /Deno's `--allow-ffi`/,
  ],
  ['TypeError', '/a.node: file too short\\n  path: /a.node', /The file is damaged/],
];

for (const [name, said, hint] of OF_DENO) {
  test(`a binary that is there is not called absent where Deno refuses it by a ${name}`, () => {
    const root = lay({ packages: { [PACKAGE]: addon() } });
    const first = `${pretend({ versions: { ...process.versions, deno: '2.9.6' } })}
      require('module')._extensions['.node'] = () => {
        throw Object.assign(new Error('${said}'), { name: '${name}' });
      };`;
    const { message } = attempt(root, first);
    assert.ok(message.includes(`\n  ${PACKAGE}: ${said.split('\\n')[0]}\n`), message);
    assert.match(message, hint);
    assert.doesNotMatch(message, /optional/);
  });
}

// ---- binaries of another version

test('the addon, lib/ and the manifests are of one version', () => {
  assert.equal(require('../../package.json').version, VERSION);
  assert.equal(require(path.join(ROOT, BUILT)).version(), VERSION);
});

const WITH_VERSION = `require('module')._extensions['.node'] = (module) => {
  module.exports = { layout: () => require(root + '/lib/layout').LAYOUT, version: () => '0.0.9' };
};`;
const WITH_LAYOUT = `require(root + '/lib/layout').LAYOUT += 1;`;
const OLDEST = `require('module')._extensions['.node'] = (module) => { module.exports = { layout: () => 1 }; };`;
const REPLACED = `require('module')._extensions['.node'] = (module) => { module.exports = './a.node'; };`;

test('a package of another version', () => {
  const { message, code } = attempt(lay({ packages: { [PACKAGE]: addon() } }), WITH_VERSION);
  assert.equal(
    message,
    `The binary of uws-rs (${PACKAGE}) is of 0.0.9, the package is ${VERSION}. ` +
      `Both have to be installed in the same version: \`npm install uws-rs@${VERSION}\`.`,
  );
  assert.equal(code, 'UWS_RS_NO_BINARY');
});

test('a clone whose binary is of another build, or older than versions', () => {
  const root = lay({ beside: addon() });
  const mend = '`npm run build` builds it anew.';
  assert.equal(
    attempt(root, WITH_LAYOUT).message,
    `The binary of uws-rs (${BUILT}) is of another build of ${VERSION}, the package is ${VERSION}. ${mend}`,
  );
  assert.equal(
    attempt(root, OLDEST).message,
    `The binary of uws-rs (${BUILT}) is of an older version, the package is ${VERSION}. ${mend}`,
  );
});

test('something else in the place of the binary', () => {
  const { message } = attempt(lay({ packages: { [PACKAGE]: addon() } }), REPLACED);
  assert.match(
    message,
    new RegExp(`^${PACKAGE} is not the binary of uws-rs\\. A bundler .* docs/install\\.md`),
  );
});
