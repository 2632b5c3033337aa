'use strict';
// Runs the suite for one module and reports: node run.js [ours|20.30|20.57] [spec …] Each spec runs in a
// process of its own, bounded in time; a crash of the module is a failure of that spec only.

const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');

const LIMIT_S = 120;
const PARALLEL = 2;
const [module_ = process.env.UWS_MODULE || 'ours', ...wanted] = process.argv.slice(2);
const specs = fs
  .readdirSync(__dirname)
  .filter((name) => name.endsWith('.spec.js'))
  .map((name) => name.slice(0, -'.spec.js'.length))
  .filter((name) => wanted.length === 0 || wanted.includes(name));

function run(name) {
  return new Promise((resolve) => {
    const started = Date.now();
    const child = spawn(process.execPath, ['--test-reporter=tap', path.join(__dirname, `${name}.spec.js`)], {
      env: { ...process.env, UWS_MODULE: module_ },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_S * 1000);
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.stderr.on('data', (data) => {
      output += data;
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const count = (what) => Number((output.match(new RegExp(`^# ${what} (\\d+)$`, 'm')) || [])[1] || 0);
      const failed = count('fail') + count('cancelled');
      resolve({
        name,
        code,
        signal,
        pass: count('pass'),
        skipped: count('skipped'),
        failed: failed || (code === 0 ? 0 : 1),
        seconds: (Date.now() - started) / 1000,
        output,
      });
    });
  });
}

/** The failing tests and the ends of their output, or the tail of a spec that crashed. */
function explain({ output, code, signal }) {
  const lines = output.split('\n');
  const failures = lines.flatMap((line, i) =>
    /^\s*not ok /.test(line)
      ? lines.slice(i, i + 30).filter((text) => /not ok |error:|expected:|actual:|spec\.js|code:/.test(text))
      : [],
  );
  return (failures.length > 0 ? failures : [`exit ${signal || code}`, ...lines.slice(-15)]).join('\n');
}

async function main() {
  if (specs.length === 0) throw new Error(`no such spec: ${wanted}`);
  const queue = [...specs];
  const results = [];
  await Promise.all(
    Array.from({ length: PARALLEL }, async () => {
      for (let name = queue.shift(); name; name = queue.shift()) {
        const result = await run(name);
        results.push(result);
        process.stdout.write(
          `${result.failed ? 'FAIL' : 'ok  '} ${name.padEnd(20)} pass ${String(result.pass).padStart(3)}  skipped ${String(result.skipped).padStart(2)}  failed ${result.failed}  ${result.seconds.toFixed(1)} s\n`,
        );
        if (result.failed) process.stdout.write(`${explain(result)}\n`);
      }
    }),
  );
  const sum = (what) => results.reduce((total, result) => total + result[what], 0);
  process.stdout.write(
    `${module_}: pass ${sum('pass')}, skipped ${sum('skipped')}, failed ${sum('failed')} in ${results.length} specs\n`,
  );
  process.exitCode = sum('failed') > 0 ? 1 : 0;
}

main();
