'use strict';
// The errors where no binary loads. They are put together only when they are needed, since to ask for the
// version of glibc takes a while.

const fs = require('fs');
const path = require('path');
const { glibcVersion } = require('./libc');
const { requirers } = require('./origins');
const { isDeno, runtime } = require('./runtime');
const { VERSION } = require('./version');

/** Programs recognise the error by this. */
const CODE = 'UWS_RS_NO_BINARY';

/** The errors of runtimes that find nothing. Those of bundlers' own `require` have no code. */
const ABSENT = [undefined, 'MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND', 'ERR_UNKNOWN_BUILTIN_MODULE'];

/** The errors by which Deno, which gives them no code, says that it or the system refuses a file. */
const REFUSALS_OF_DENO = ['NotCapable', 'TypeError'];

function isAbsent({ code, name }) {
  if (isDeno && code === undefined && REFUSALS_OF_DENO.includes(name)) return false;
  return ABSENT.includes(code);
}

/** Returns the system in words, such as `linux-x64-gnu (glibc 2.36), Node.js 20.20.2`. */
function system(target) {
  const glibc = target.endsWith('-gnu') ? glibcVersion() : '';
  return `${target}${glibc ? ` (glibc ${glibc})` : ''}, ${runtime()}`;
}

function reason(name, error) {
  if (!isAbsent(error)) return error.message.split('\n')[0];
  return name.endsWith('.node') ? 'not there' : 'not installed';
}

function isInstalled(name) {
  return requirers().some((requires) => {
    try {
      return requires.resolve(name) !== '';
    } catch {
      return false;
    }
  });
}

/** Why the package of the target is not installed, and how it will be. */
function absence(target, targets) {
  if (!targets.includes(target)) return `There is no package for ${target}.`;
  const others = targets.map((each) => `uws-rs-${each}`).filter(isInstalled);
  if (others.length > 0) {
    return (
      `Installed is ${others.join(', ')}: node_modules comes from another system, such as the host of a ` +
      'container, or another image. Install on this one.'
    );
  }
  return (
    'The package is an optional dependency. `--omit=optional`, `--no-optional` and `omit=optional` in .npmrc ' +
    'leave it out, as does a lockfile that was made for another system alone: ' +
    '`npm install --include=optional` brings it.'
  );
}

/** Flags forbid addons, so that no other binary would load either. */
const FORBIDDEN = /addons is disabled|--allow-ffi/;

/** Hints for what the runtime or the system's loader has said. */
function refusal(message) {
  if (FORBIDDEN.test(message)) {
    return (
      'The runtime was told to load no addons: start it without `--no-addons`, and with `--allow-addons` beside ' +
      "Node's `--permission`, or Deno's `--allow-ffi`."
    );
  }
  const [, needed] = /version `GLIBC_([\d.]+)' not found/.exec(message) ?? [];
  if (needed) return `The binary needs glibc ${needed}, which is newer than the system's.`;
  if (/Permission denied|not permitted/.test(message))
    return 'The user of this process may not read the file.';
  if (/failed to map segment/.test(message))
    return 'The file system allows no execution (`noexec`), or there is no memory left.';
  if (/ELF|mach-o|incompatible architecture|too short|cut off|\.node: cannot open/i.test(message))
    return 'The file is damaged, or of another system.';
  return 'The binary is there, but the system refuses it.';
}

/** How to build from source. A bundle does not know where the package is. */
function building() {
  const root = typeof __dirname === 'string' ? path.dirname(__dirname) : '';
  const where = root && fs.existsSync(path.join(root, 'Cargo.toml')) ? root : 'the package uws-rs';
  return `\`npm run build\` in ${where} builds it from source; this takes Rust (https://rustup.rs) and a C compiler.`;
}

/**
 * The error where no binary loads.
 *
 * @param {Map<string, Error>} failures by the file or package that was tried
 * @param {string[]} targets those that have a package
 */
function unloadable(target, failures, targets) {
  const tried = [...failures].map(([name, error]) => `\n  ${name}: ${reason(name, error)}`);
  const refused = [...failures.values()].find((error) => !isAbsent(error));
  const advice = [refused ? refusal(refused.message) : absence(target, targets)];
  if (!FORBIDDEN.test(refused?.message)) advice.push(building());
  return failure(
    `uws-rs has no binary that loads on ${system(target)}.${tried.join('')}\n${advice.join('\n')}`,
    {
      cause: refused ?? [...failures.values()].at(-1),
    },
  );
}

/** The error where a binary is not of this package's version or build. */
function mismatched(native, name) {
  if (typeof native.layout !== 'function') {
    return failure(
      `${name} is not the binary of uws-rs. A bundler may have put something else in its place, such as the ` +
        'name of a file: see docs/install.md of uws-rs.',
    );
  }
  const version = native.version?.() ?? 'an older version';
  const theirs = version === VERSION ? `another build of ${version}` : version;
  const mend = name.endsWith('.node')
    ? '`npm run build` builds it anew.'
    : `Both have to be installed in the same version: \`npm install uws-rs@${VERSION}\`.`;
  return failure(`The binary of uws-rs (${name}) is of ${theirs}, the package is ${VERSION}. ${mend}`);
}

function failure(message, options) {
  return Object.assign(new Error(message, options), { code: CODE });
}

module.exports = { mismatched, unloadable };
