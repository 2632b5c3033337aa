'use strict';
// The Autobahn testsuite itself: a virtual environment of Python 2.7, which is made once and kept, and a run
// of `wstest` in it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { keptFolder } = require('../kept');

/** The last virtualenv that creates environments of Python 2.7. */
const VIRTUALENV = 'virtualenv==20.15.1';
const SUITE = 'autobahntestsuite';

/** The programs that may be Python 2.7: $PYTHON2, those in the path, and those of pyenv. */
function candidates() {
  const versions = path.join(process.env.PYENV_ROOT || path.join(os.homedir(), '.pyenv'), 'versions');
  const installed = fs.existsSync(versions) ? fs.readdirSync(versions) : [];
  const pyenv = installed.filter((name) => /^2\.7\.\d+$/.test(name));
  const named = pyenv.map((name) => path.join(versions, name, 'bin', 'python'));
  return [...(process.env.PYTHON2 ? [process.env.PYTHON2] : []), ...named, 'python2.7', 'python2'];
}

/** Finds Python 2.7 with pip; undefined without one. A shim of pyenv may exist and yet not run. */
function python() {
  const probe = 'import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))';
  return candidates().find((program) => spawnSync(program, ['-c', probe]).status === 0);
}

/** Returns the path of `wstest`, and installs it with `python` if it is missing. */
function install(program) {
  const cache = keptFolder('uws-rs-autobahn');
  const environment = path.join(cache, 'python');
  const wstest = path.join(environment, 'bin', 'wstest');
  const complete = path.join(cache, 'complete');
  if (fs.existsSync(complete)) return wstest;
  for (const name of fs.readdirSync(cache)) fs.rmSync(path.join(cache, name), { recursive: true });
  console.log(`Installing ${SUITE} in ${cache}`);
  const tool = path.join(cache, 'virtualenv');
  const env = { ...process.env, PYTHONNOUSERSITE: '1', PYTHONPATH: tool, PYTHONWARNINGS: 'ignore' };
  const stdio = ['ignore', 'ignore', 'inherit'];
  execFileSync(program, ['-m', 'pip', 'install', '--quiet', '--target', tool, VIRTUALENV], { env, stdio });
  execFileSync(program, ['-m', 'virtualenv', '--quiet', environment], { env, stdio });
  delete env.PYTHONPATH;
  execFileSync(path.join(environment, 'bin', 'pip'), ['install', '--quiet', SUITE], { env, stdio });
  fs.writeFileSync(complete, '');
  return wstest;
}

/**
 * Runs `cases` against the server at `url`. Returns the verdicts of the suite by case, with the name of the
 * detailed report.
 */
async function run({ wstest, agent, url, cases, directory, limitS }) {
  fs.mkdirSync(directory, { recursive: true });
  const specification = path.join(directory, 'fuzzingclient.json');
  const servers = [{ agent, url, options: { version: 18 } }];
  const options = { failByDrop: false };
  const exclusions = { 'exclude-cases': [], 'exclude-agent-cases': {} };
  fs.writeFileSync(
    specification,
    JSON.stringify({ options, outdir: directory, servers, cases, ...exclusions }),
  );
  const log = fs.openSync(path.join(directory, 'wstest.log'), 'w');
  const child = spawn(wstest, ['--mode', 'fuzzingclient', '--spec', specification], {
    stdio: ['ignore', log, log],
    env: { ...process.env, PYTHONWARNINGS: 'ignore' },
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), limitS * 1000);
  await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  clearTimeout(timer);
  fs.closeSync(log);
  const index = path.join(directory, 'index.json');
  return fs.existsSync(index) ? JSON.parse(fs.readFileSync(index, 'utf8'))[agent] : {};
}

module.exports = { python, install, run };
