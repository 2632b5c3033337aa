'use strict';

// Shows of a long run what a person wants to see: for each step the runner's own closing lines, for a step
// that failed all that it says about failures. The whole is in a file.
//
// The script runs in a process of its own, whose output and that of all its children is the file. With `say`
// it tells when a step begins and how it ended.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { fork } = require('node:child_process');

/** Lines that are shown of the end of a step, of one that failed, and of all behind the last. */
const CLOSING = 10;
const CLOSING_FAILED = 120;
const CLOSING_LAST = 200;
/** Lines shown of each failed test, and of all of one step. */
const OF_FAILURE = 60;
const OF_FAILURES = 600;
/** Characters shown of a line, and bytes read of a step. Both are in the file as a whole. */
const OF_LINE = 4000;
const OF_STEP = 64 << 20;

const LONG = new RegExp(`^(.{${OF_LINE}}).+`, 'gm');

/** Returns the last lines of an output, without the report of the test before a summary in TAP. */
function closing(text, most = CLOSING) {
  const lines = text.trimEnd().split('\n');
  const last = lines.slice(-most);
  const plan = last.findLastIndex((line) => /^1\.\.\d+$/.test(line));
  return (plan === -1 ? last : last.slice(plan + 1)).join('\n');
}

/** Returns the reports in TAP of the tests that failed themselves, not by one inside. */
function failures(text) {
  const lines = text.split('\n');
  const shown = [];
  for (let at = 0; at < lines.length && shown.length < OF_FAILURES; at++) {
    if (!/^\s*not ok \d/.test(lines[at]) || /# (SKIP|TODO)\b/.test(lines[at])) continue;
    const end = lines.findIndex((line, i) => i > at && /^\s*\.\.\.$/.test(line));
    const report = lines.slice(at, end === -1 ? at + OF_FAILURE : end + 1);
    if (report.some((line) => /failureType: 'subtestsFailed'/.test(line))) continue;
    shown.push(...report.slice(0, OF_FAILURE));
  }
  return shown.join('\n');
}

/** Shows a step that is over, of which `output` is the part of the file. */
function summarise({ name, verdict, seconds }, output) {
  const failed = verdict === 'FAILED';
  const parts = failed ? [failures(output), closing(output, CLOSING_FAILED)] : [closing(output)];
  const text = parts.filter((part) => part.trim() !== '').join('\n\n');
  return `${text === '' ? '' : `${text}\n`}${name}: ${verdict}, ${seconds} s`;
}

/** Reads a file in parts. */
class Parts {
  constructor(file) {
    this.descriptor = fs.openSync(file, 'r');
    this.position = 0;
  }

  size() {
    return fs.fstatSync(this.descriptor).size;
  }

  /** Returns what has come up to this place, or the last of it. */
  upTo(end) {
    // Another run may have begun the file anew.
    const begin = Math.max(end < this.position ? 0 : this.position, end - OF_STEP);
    const part = Buffer.alloc(end - begin);
    const length = fs.readSync(this.descriptor, part, 0, part.length, begin);
    this.position = begin + length;
    return part.toString('utf8', 0, length).replace(LONG, '$1…');
  }
}

/**
 * In the script: tells that a step begins (`{ name }`) or how it ended (`{ name, verdict, seconds }`), and
 * where the output is by now, since the next step may have begun when this is heard.
 */
function say(message) {
  process.send?.({ ...message, at: fs.fstatSync(1).size });
}

/**
 * Runs a script as `{ script, args, log }` says, shows its steps and all that it prints after the last, and
 * resolves to its exit code.
 */
function quietly({ script, args = [], log, show = console.log }) {
  fs.mkdirSync(path.dirname(log), { recursive: true });
  fs.writeFileSync(log, '');
  const file = fs.openSync(log, 'a');
  const parts = new Parts(log);
  show(`The whole output: ${path.relative(process.cwd(), log) || log}`);
  const child = fork(script, args, { stdio: ['inherit', file, file, 'ipc'] });
  fs.closeSync(file);
  const forward = (signal) => child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  child.on('message', (step) => {
    const output = parts.upTo(step.at);
    show(step.verdict === undefined ? `\n=== ${step.name}` : summarise(step, output));
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      for (const each of signals) process.off(each, forward);
      show(closing(parts.upTo(parts.size()), CLOSING_LAST));
      resolve(code ?? 128 + os.constants.signals[signal]);
    });
  });
}

module.exports = { Parts, quietly, say };
