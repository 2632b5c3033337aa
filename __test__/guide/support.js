'use strict';
// The part that the specs of the guide share. A program of examples/recipes is copied into an empty folder,
// where `uWebSockets.js` is a link to the module under test, and runs there as a process of its own, as at a
// user's who has pasted it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const support = require('../support');

const FROM = path.join(__dirname, '../../examples/recipes');
const PACKAGE = support.ours ? support.modulePath() : path.dirname(support.modulePath());

const { assert, deferred, until } = support;

/** An empty folder in which `uWebSockets.js` is found; it is removed after the test. */
function emptyFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-guide-'));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(PACKAGE, path.join(folder, 'node_modules/uWebSockets.js'), 'dir');
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Node.js runs TypeScript by itself from 22.18 on; for older releases the types are taken out here. */
const RUNS_TYPESCRIPT = Boolean(process.features.typescript);

/** The text of a program. */
const textOf = (name) => fs.readFileSync(path.join(FROM, name), 'utf8');

/** Copies a program into the folder and returns the name of the file to run. */
function paste(folder, name, edit = (text) => text) {
  const text = edit(textOf(name));
  if (RUNS_TYPESCRIPT || !name.endsWith('.mts')) {
    fs.writeFileSync(path.join(folder, name), text);
    return name;
  }
  const ts = require('typescript'); // here, as it takes most of a second to load
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  const plain = name.replace(/\.mts$/, '.mjs');
  fs.writeFileSync(path.join(folder, plain), ts.transpileModule(text, { compilerOptions }).outputText);
  return plain;
}

/** A program that runs. */
class Program {
  constructor(child, folder) {
    this.child = child;
    this.folder = folder;
    this.pid = child.pid;
    this.output = '';
    this.ended = deferred();
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (this.output += data));
    child.once('close', (code, signal) => this.ended.resolve({ code, signal }));
  }

  /** Resolves with the match as soon as the program has printed it. */
  async prints(pattern, milliseconds = 10000) {
    let over = false;
    this.ended.promise.then(() => (over = true));
    for (const end = Date.now() + milliseconds; ;) {
      const match = pattern.exec(this.output);
      if (match) return match;
      if (over || Date.now() > end)
        throw new Error(`no ${pattern} ${over ? 'at its end' : ''}: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends the program and resolves when it is over. */
  async stop(signal = 'SIGKILL') {
    this.child.kill(signal);
    return this.ended.promise;
  }

  url(target = '/') {
    return `http://127.0.0.1:${this.port}${target}`;
  }
  connect(options) {
    return support.Peer.connect(this.port, { tls: false, ...options });
  }
  ws(target, options) {
    return support.WsPeer.open(this.port, target, { tls: false, ...options });
  }
  file(name) {
    return path.join(this.folder, name);
  }

  /** The memory that the process has in bytes; Linux only, as is the next one. */
  resident() {
    return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]) * 1024;
  }
  /** The paths of the regular files that the process has open in its folder. */
  openFiles() {
    const at = `/proc/${this.pid}/fd`;
    const links = fs.readdirSync(at).map((fd) => {
      try {
        return fs.readlinkSync(path.join(at, fd));
      } catch {
        return ''; // closed meanwhile
      }
    });
    return links.filter((link) => link.startsWith(fs.realpathSync(this.folder)));
  }
}

/**
 * Starts a program, given by its name or its text, and resolves when it listens. Options: `env`; `files`, by
 * name the contents of files beside it; `preload`, the text of a CommonJS module that runs before it; `edit`,
 * a change of its text.
 */
async function start(t, name, options = {}) {
  const { env = {}, files = {}, preload, edit, listens = /Listening on port (\d+)/ } = options;
  const folder = options.folder ?? emptyFolder(t);
  for (const [file, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), content);
  }
  const flags = [];
  if (preload) {
    fs.writeFileSync(path.join(folder, 'preload.cjs'), preload);
    flags.push('--require', './preload.cjs');
  }
  const what = name.includes('\n') ? ['-e', name] : [paste(folder, name, edit)];
  const child = spawn(process.execPath, [...flags, ...what], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: '', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const program = new Program(child, folder);
  t.after(() => program.stop());
  if (listens) program.port = Number((await program.prints(listens))[1]);
  return program;
}

/** A deterministic file of that many bytes, which no compression and no shift leaves equal. */
function bytes(size, seed = 1) {
  const data = Buffer.allocUnsafe(size);
  let state = seed;
  for (let at = 0; at + 4 <= size; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data.writeUInt32LE(state, at);
  }
  for (let at = size - (size % 4); at < size; at++) data[at] = at & 255;
  return data;
}

const hash = (data) => require('node:crypto').createHash('sha256').update(data).digest('hex');

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const LINUX = { skip: process.platform === 'linux' ? false : 'reads /proc, which only Linux has' };

module.exports = {
  ...support,
  assert,
  until,
  FROM,
  LINUX,
  bytes,
  emptyFolder,
  hash,
  sleep,
  start,
  textOf,
};
