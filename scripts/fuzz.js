'use strict';

// Fuzzes the targets of fuzz/ under AddressSanitizer. They are built with cargo alone and the flags that
// cargo-fuzz would give it, so that it need not be installed; `cargo fuzz` works as well.
//
//   node scripts/fuzz.js                            all targets: replays the seeds, fuzzes each for 20 s
//   node scripts/fuzz.js http_head --seconds 600    one target, with what earlier runs have found
//   node scripts/fuzz.js http_head --input <file or base64>    replays one input
//   node scripts/fuzz.js http_head --minimise       some inputs that reach the most become seeds

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { parseArgs } = require('node:util');
const { ROOT, attempt } = require('./run.js');

const FUZZ = path.join(ROOT, 'fuzz');
const TARGET_DIR = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target', 'fuzz');
/** The machine is shared with what tests it; each process is one core. */
const AT_ONCE = 2;
const SECONDS = 20;
/** Of each input, in seconds: a tenth of that would be too long without the sanitizer. */
const TIMEOUT = 10;
/** Seeds of one target that are minimised from what was found, and their size: a clone gets them all. */
const MINIMISED = 40;
const SMALL = 512;
/** The flags of cargo-fuzz: counters of edges, comparisons seen by the fuzzer, AddressSanitizer. */
const FLAGS = [
  '-Cpasses=sancov-module',
  '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
  '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares',
  '--cfg fuzzing',
  '-Cllvm-args=-simplifycfg-branch-fold-threshold=0',
  '-Zsanitizer=address',
  '-Ccodegen-units=4',
].join(' ');

function targets() {
  const names = fs.readdirSync(path.join(FUZZ, 'fuzz_targets'));
  return names.map((name) => path.basename(name, '.rs')).sort();
}

function host() {
  return /^host: (.*)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))[1];
}

/** Returns the reason why there is no AddressSanitizer here; undefined where there is. */
function unsupported() {
  const triple = host();
  const known = /^(x86_64|aarch64)-(unknown-linux-gnu|apple-darwin)$/.test(triple);
  return known ? undefined : `there is no AddressSanitizer for ${triple}`;
}

/** Builds all targets, or one; returns the exit code. The sanitizer asks for a compiler that allows it. */
function build(only) {
  const env = { RUSTC_BOOTSTRAP: '1', RUSTFLAGS: FLAGS, CARGO_TARGET_DIR: TARGET_DIR };
  const which = only === undefined ? ['--bins'] : ['--bin', only];
  return attempt('cargo', ['build', '--release', '--target', host(), ...which], { cwd: FUZZ, env });
}

function program(target) {
  return path.join(TARGET_DIR, host(), 'release', target);
}

function folder(...names) {
  const made = path.join(FUZZ, ...names);
  fs.mkdirSync(made, { recursive: true });
  return made;
}

function inputs(target) {
  const seeds = folder('seeds', target);
  return fs.readdirSync(seeds).map((name) => path.join(seeds, name));
}

/** Runs a target; resolves to its exit code and what it printed. */
function launch(target, args, { show = false } = {}) {
  const artifacts = path.join(folder('artifacts', target), path.sep);
  const common = [`-artifact_prefix=${artifacts}`, `-timeout=${TIMEOUT}`, '-rss_limit_mb=2048'];
  const child = spawn(program(target), [...args, ...common], { cwd: FUZZ });
  let text = '';
  const collect = (data) => {
    text = (text + data).slice(-(1 << 20));
    if (show) process.stderr.write(data);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: 1, text: String(error) }));
    child.on('close', (code) => resolve({ code: code ?? 1, text }));
  });
}

function lastNumber(text, pattern) {
  const all = [...text.matchAll(pattern)];
  return Number(all.at(-1)?.[1] ?? 0);
}

/** Replays the seeds and fuzzes on for so many seconds; returns whether nothing was found. */
async function fuzz(target, seconds, corpus, show) {
  const args = [corpus, folder('seeds', target), `-max_total_time=${seconds}`, '-print_final_stats=1'];
  const before = inputs(target).length;
  const { code, text } = await launch(target, args, { show });
  const reached = Number(/INITED cov: (\d+)/.exec(text)?.[1] ?? 0);
  const coverage = lastNumber(text, /\bcov: (\d+)/g);
  const runs = lastNumber(text, /number_of_executed_units: (\d+)/g) || lastNumber(text, /^#(\d+)/gm);
  const verdict = code === 0 ? 'nothing found' : 'FOUND SOMETHING';
  console.log(
    `${target}: ${before} seeds, ${runs} runs in ${seconds} s, coverage ${reached} + ${coverage - reached}: ${verdict}`,
  );
  if (code !== 0) tell(target, text);
  return code === 0;
}

/** Prints the end of the output, the input, and how to replay it. */
function tell(target, text) {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => /panicked at|ERROR: |SUMMARY: /.test(line));
  console.log(lines.slice(Math.max(start, 0), Math.max(start, 0) + 40).join('\n'));
  const [, artifact] = /Test unit written to (\S+)/.exec(text) ?? [];
  if (artifact === undefined) return;
  const base64 = fs.readFileSync(path.resolve(FUZZ, artifact)).toString('base64');
  const input = base64.length < 4000 ? base64 : path.resolve(FUZZ, artifact);
  console.log(`To see it again:\n  npm run fuzz -- ${target} --input '${input}'\n`);
}

/** Fuzzes all targets, some at once, each with an empty corpus of its own beside the seeds. */
async function all(seconds) {
  if (build() !== 0) return 1;
  const left = targets();
  const found = [];
  const work = async () => {
    for (let target = left.shift(); target !== undefined; target = left.shift()) {
      const corpus = fs.mkdtempSync(path.join(os.tmpdir(), `uws-fuzz-${target}-`));
      try {
        if (!(await fuzz(target, seconds, corpus, false))) found.push(target);
      } finally {
        fs.rmSync(corpus, { recursive: true, force: true });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (found.length > 0) console.log(`Found something: ${found.join(', ')}`);
  return found.length > 0 ? 1 : 0;
}

async function replay(target, input) {
  let file = input;
  if (!fs.existsSync(file)) {
    file = path.join(os.tmpdir(), `uws-fuzz-input-${process.pid}`);
    fs.writeFileSync(file, Buffer.from(input, 'base64'));
  }
  const { code } = await launch(target, [file], { show: true });
  return code;
}

/** Makes seeds of some of the inputs by which all is reached that seeds and corpus reach. */
async function minimise(target) {
  const merged = fs.mkdtempSync(path.join(os.tmpdir(), `uws-fuzz-${target}-`));
  const { code } = await launch(target, [
    '-set_cover_merge=1',
    merged,
    folder('seeds', target),
    folder('corpus', target),
  ]);
  if (code !== 0) return code;
  const files = fs.readdirSync(merged).map((name) => path.join(merged, name));
  const small = files.filter((file) => fs.statSync(file).size <= SMALL);
  const seeds = folder('seeds', target);
  const isMinimised = (name) => /^[0-9a-f]{40}$/.test(name);
  for (const name of fs.readdirSync(seeds).filter(isMinimised)) fs.rmSync(path.join(seeds, name));
  // Their names are hashes: any of them are as good as any others.
  for (const file of small.sort().slice(0, MINIMISED)) {
    fs.copyFileSync(file, path.join(seeds, path.basename(file)));
  }
  fs.rmSync(merged, { recursive: true, force: true });
  console.log(`${target}: ${files.length} inputs reach all, ${inputs(target).length} seeds`);
  return 0;
}

async function main() {
  const options = {
    seconds: { type: 'string' },
    input: { type: 'string' },
    minimise: { type: 'boolean', default: false },
  };
  const { positionals, values } = parseArgs({ options, allowPositionals: true });
  const [target] = positionals;
  if (values.seconds !== undefined && !/^\d+$/.test(values.seconds)) {
    console.error(`--seconds takes a whole number; got ${values.seconds || 'none'}`);
    return 2;
  }
  const seconds = Number(values.seconds ?? SECONDS);
  if (target === undefined) return all(seconds);
  if (!targets().includes(target)) {
    console.error(`There is no target ${target}; there are ${targets().join(', ')}`);
    return 1;
  }
  if (build(target) !== 0) return 1;
  if (values.input !== undefined) return replay(target, values.input);
  if (values.minimise) return minimise(target);
  return (await fuzz(target, Number(values.seconds ?? 60), folder('corpus', target), true)) ? 0 : 1;
}

module.exports = { unsupported };

if (require.main === module) {
  main().then((code) => {
    process.exitCode = code;
  });
}
