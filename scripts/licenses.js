'use strict';

// The crates that are linked into the binary: their licences are among those that we accept, they come from
// crates.io, and THIRD-PARTY-LICENSES.txt has the texts that their licences ask for. Run alone it prints the
// offences; with --write it renews the file.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { optionsOf } = require('./options.js');
const { ROOT } = require('./run.js');

const FILE = path.join(ROOT, 'THIRD-PARTY-LICENSES.txt');
const REGISTRY = 'registry+https://github.com/rust-lang/crates.io-index';
/** The platforms that packages are made for; crates for others are not linked. */
const PLATFORMS = ['linux-gnu', 'linux-musl', 'darwin'].flatMap((system) =>
  ['x86_64', 'aarch64'].map((machine) =>
    system === 'darwin' ? `${machine}-apple-darwin` : `${machine}-unknown-${system}`,
  ),
);

/** The licences that deny.toml accepts, which is the one list of them. */
function accepted() {
  const text = fs.readFileSync(path.join(ROOT, 'deny.toml'), 'utf8');
  const list = /\nallow = \[([^\]]*)\]/.exec(text)[1];
  return new Set([...list.matchAll(/"([^"]+)"/g)].map(([, name]) => name));
}

function cargo(...args) {
  return execFileSync('cargo', [...args, '--locked'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/**
 * The names and versions of the crates that are linked on a platform: no build scripts, tests or procedural
 * macros. `cargo metadata` would also list crates of features that are off.
 */
function linkedOn(platform) {
  const tree = ['tree', '--edges', 'normal,no-proc-macro', '--prefix', 'none', '--format', '{p}'];
  const lines = cargo(...tree, '--target', platform).split('\n');
  return lines.filter(Boolean).map((line) => line.split(' ').slice(0, 2).join(' '));
}

function linked() {
  const names = new Set(PLATFORMS.flatMap(linkedOn));
  const { packages } = JSON.parse(cargo('metadata', '--format-version', '1'));
  return packages
    .filter(({ name, version, source }) => source !== null && names.has(`${name} v${version}`))
    .sort((a, b) => compare(a.name, b.name) || compare(a.version, b.version));
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// ---- licences

/** Crates of MIT whose packages lack its text, with the copyrights that their repository states. */
const WITHOUT_TEXT = {
  napi: ['Copyright (c) 2020 LongYinan', 'Copyright (c) 2018 GitHub'],
  'napi-sys': ['Copyright (c) 2020 LongYinan', 'Copyright (c) 2018 GitHub'],
};

/** The text of MIT, as our own licence has it, with other copyrights. */
function mitOf(copyrights) {
  const ours = fs.readFileSync(path.join(ROOT, 'LICENSE'), 'utf8');
  return ours.replace(/^Copyright .*$/m, copyrights.join('\n')).trim();
}

/** Whether a licence expression of SPDX can be met with the accepted licences: AND binds closer than OR. */
function isAccepted(expression, licences) {
  const tokens = expression.replaceAll('/', ' OR ').match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const either = () => {
    let result = both();
    while (tokens[at] === 'OR') {
      at++;
      result = both() || result;
    }
    return result;
  };
  const both = () => {
    let result = one();
    while (tokens[at] === 'AND') {
      at++;
      result = one() && result;
    }
    return result;
  };
  const one = () => {
    if (tokens[at] !== '(') {
      const name = tokens[at++];
      const exception = tokens[at] === 'WITH' ? ` WITH ${tokens[(at += 2) - 1]}` : '';
      return licences.has(name + exception);
    }
    at++;
    const result = either();
    at++;
    return result;
  };
  return either() && at === tokens.length;
}

const TEXTS = /^(licen[cs]e|copying|copyright|notice|unlicense)/i;
const hasChoiceOfMit = (crate) => /(^|\bOR |\/)MIT\b|\bMIT( OR|\/)/.test(crate.license ?? '');

/** The names of the files in a crate's package that have a licence. */
function filesOf(crate) {
  const folder = path.dirname(crate.manifest_path);
  return fs.readdirSync(folder).filter((name) => {
    return TEXTS.test(name) && fs.statSync(path.join(folder, name)).isFile();
  });
}

/** Some repositories have the text of their licence in one of their packages alone. */
function sisterOf({ license, repository }) {
  const sisters = linked().filter((each) => each.license === license && each.repository === repository);
  return repository === null ? undefined : sisters.find((each) => filesOf(each).length > 0);
}

/** The texts of a crate's licence. Where MIT is one to choose from, it is chosen. */
function textsOf(crate) {
  const folder = path.dirname(crate.manifest_path);
  const names = filesOf(crate);
  const mit = names.filter((name) => /mit/i.test(name) || /^notice/i.test(name));
  const chosen = hasChoiceOfMit(crate) && mit.some((name) => /mit/i.test(name)) ? mit : names;
  if (crate.license_file && !names.includes(crate.license_file)) chosen.push(crate.license_file);
  if (chosen.length === 0 && crate.license === 'MIT' && WITHOUT_TEXT[crate.name] !== undefined)
    return [mitOf(WITHOUT_TEXT[crate.name])];
  if (chosen.length === 0) {
    const sister = sisterOf(crate);
    return sister === undefined ? [] : textsOf(sister);
  }
  return chosen.sort().map((name) => {
    const text = fs.readFileSync(path.join(folder, name), 'utf8');
    return text
      .replaceAll('\r\n', '\n')
      .replaceAll(/[ \t]+$/gm, '')
      .trim();
  });
}

// ---- the file

const RULE = '-'.repeat(100);

function noticesOf(crates) {
  const std = mitOf(['Copyright (c) The Rust Project Contributors']);
  const byText = new Map([[std, ['the standard library of Rust']]]);
  for (const crate of crates) {
    for (const text of textsOf(crate)) {
      if (!byText.has(text)) byText.set(text, []);
      byText.get(text).push(`${crate.name} ${crate.version}`);
    }
  }
  const list = crates.map(({ name, version, license, repository }) =>
    [`${name} ${version}`, license, repository].filter(Boolean).join('  '),
  );
  const texts = [...byText].map(([text, names]) => `${RULE}\n${wrapped(names)}\n\n${text}\n`);
  return [
    'The binary of uws-rs contains the standard library of Rust (MIT OR Apache-2.0) and the crates below.\n' +
      'Those for Linux contain parts of libunwind of LLVM (Apache-2.0 WITH LLVM-exception) as well; those for\n' +
      'glibc five functions of its libc_nonshared.a (LGPL-2.1-or-later, with the exception for linking it).\n' +
      '`node scripts/licenses.js --write` makes this file.\n',
    `${list.join('\n')}\n`,
    ...texts,
  ].join('\n');
}

function wrapped(names) {
  const lines = [''];
  for (const name of names) {
    if (lines.at(-1).length + name.length > 96) lines.push('');
    lines[lines.length - 1] += (lines.at(-1) === '' ? '' : ', ') + name;
  }
  return lines.join(',\n');
}

function offences() {
  const [crates, licences] = [linked(), accepted()];
  const found = [];
  for (const crate of crates) {
    const name = `${crate.name} ${crate.version}`;
    if (!isAccepted(crate.license ?? '', licences))
      found.push(`${name}: its licence, ${crate.license}, is not accepted by deny.toml`);
    if (crate.source !== REGISTRY) found.push(`${name}: it comes from ${crate.source}, not from crates.io`);
    if (textsOf(crate).length === 0) found.push(`${name}: its package has no text of its licence`);
  }
  const now = fs.existsSync(FILE) ? fs.readFileSync(FILE, 'utf8') : '';
  if (now !== noticesOf(crates))
    found.push('THIRD-PARTY-LICENSES.txt is stale: node scripts/licenses.js --write');
  return found;
}

if (require.main === module) {
  if (optionsOf({ write: 'flag' }).write) fs.writeFileSync(FILE, noticesOf(linked()));
  const found = offences();
  for (const offence of found) console.error(offence);
  process.exitCode = found.length > 0 ? 1 : 0;
}

module.exports = { offences, isAccepted };
