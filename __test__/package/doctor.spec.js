'use strict';
// `uws-rs doctor`, in a healthy place and in others, and what it reads of the system.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { after, before, test } = require('node:test');
const { BUILT, PACKAGE, ROOT, TARGET, layBinary, layPackage } = require('./laying');
const { findings } = require('../../bin/doctor');
const { limitsOfGroups } = require('../../bin/system');
const { VERSION } = require('../../lib/version');

const ON_LINUX = { skip: process.platform === 'linux' ? false : 'as Linux shows it' };

let folder;
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-doctor-'));
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const make = (name) => fs.mkdtempSync(path.join(folder, `${name}-`));

/** Runs the program of the package in `root`. */
function run(root, args, { env, before: first = '' } = {}) {
  const program = path.join(root, 'bin', 'uws-rs.js');
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', `${first} exec "$0" "$@"`, process.execPath, program, ...args],
    { encoding: 'utf8', env: { ...process.env, ...env }, timeout: 30_000 },
  );
  return { status, stdout, stderr };
}

function examined(root, options) {
  const { status, stdout, stderr } = run(root, ['doctor', '--json'], options);
  assert.equal(stderr, '');
  return { status, ...JSON.parse(stdout) };
}

test('--version', () => {
  for (const option of ['--version', '-v']) {
    assert.deepEqual(run(ROOT, [option]), { status: 0, stdout: `${VERSION}\n`, stderr: '' });
  }
});

test('anything else shows how it is used', () => {
  assert.match(run(ROOT, ['--help']).stdout, /^Usage:\n.*--version.*\n.*doctor \[--json\]/);
  for (const args of [[], ['x'], ['doctor', '--xml'], ['--version', 'x']]) {
    const { status, stdout, stderr } = run(ROOT, args);
    assert.deepEqual([status, stdout], [2, ''], args.join(' '));
    assert.match(stderr, /^Usage:\n/);
  }
});

test('in a clone', () => {
  const { status, healthy, binary, error, serves, sharesPort, target, version, ...rest } = examined(ROOT);
  assert.deepEqual([status, healthy, error, serves, sharesPort], [0, true, null, true, true]);
  assert.deepEqual([target, version], [TARGET, VERSION]);
  assert.deepEqual(binary, { path: path.join(ROOT, BUILT), how: 'built in this folder', version: VERSION });
  assert.equal(rest.memoryBudget, require('../..').memoryBudget().budget);
  assert.equal(rest.runtime, `Node.js ${process.versions.node}`);
});

test('with the package of the platform', () => {
  const app = make('app');
  const root = layPackage(app);
  layBinary(app);
  const { status, binary } = examined(root);
  assert.equal(status, 0);
  assert.equal(binary.how, `the package ${PACKAGE}`);
  assert.equal(fs.realpathSync(binary.path), fs.realpathSync(path.join(app, 'node_modules', PACKAGE, BUILT)));
});

test('without a binary: the error of the loader is the first finding, and the rest is told', () => {
  const root = layPackage(make('bare'));
  const { status, healthy, binary, error, findings: found, serves, ioUring, kernel } = examined(root);
  assert.deepEqual([status, healthy, binary, serves, ioUring], [1, false, null, null, null]);
  assert.match(error, /--omit=optional/);
  assert.deepEqual(found[0], { level: 'fault', text: error });
  assert.equal(kernel, `${os.type()} ${os.release()}`);
  const { status: code, stdout } = run(root, ['doctor']);
  assert.equal(code, 1);
  assert.match(
    stdout,
    new RegExp(`^uws-rs +${VERSION}\nruntime +Node\\.js [^]*\nTo mend: uws-rs has no binary`),
  );
  assert.doesNotMatch(stdout, /\nserves|null|undefined|NaN/);
});

test('a package that is linked, and finds the binary where the program is', () => {
  const [app, elsewhere] = [make('app'), make('elsewhere')];
  layBinary(app);
  fs.symlinkSync(layPackage(elsewhere), path.join(app, 'node_modules', 'uws-rs'));
  const { status, error, binary } = examined(path.join(app, 'node_modules', 'uws-rs'));
  assert.deepEqual([status, error], [0, null]);
  assert.equal(fs.realpathSync(binary.path), fs.realpathSync(path.join(app, 'node_modules', PACKAGE, BUILT)));
});

test('a reader that leaves, and a full disk, end it without a stack trace', () => {
  const [program, node] = [path.join(ROOT, 'bin', 'uws-rs.js'), process.execPath].map((each) => `'${each}'`);
  const shell = (command) => spawnSync('sh', ['-c', command], { encoding: 'utf8', timeout: 30_000 });
  assert.equal(shell(`${node} ${program} doctor | true`).stderr, '');
  if (!fs.existsSync('/dev/full')) return;
  for (const args of ['--version', 'doctor', 'doctor --json']) {
    const { status, stderr } = shell(`${node} ${program} ${args} > /dev/full`);
    assert.equal(status, 1, args);
    assert.match(stderr, /^ENOSPC.*\n$/, args);
  }
});

test('a runtime that does not tell of the system, as Deno without permission', () => {
  const first = path.join(make('preload'), 'first.js');
  fs.writeFileSync(
    first,
    `const os = require('os');
    for (const name of ['availableParallelism', 'cpus', 'release', 'totalmem', 'type'])
      os[name] = () => { throw new Error('Requires sys access'); };
    process.report.getReport = os.cpus;`,
  );
  const env = { NODE_OPTIONS: `--require ${JSON.stringify(first)}` };
  const { status, healthy, kernel, memory, processors, libc } = examined(ROOT, { env });
  assert.deepEqual([status, healthy, kernel, memory, processors], [0, true, null, null, null]);
  if (TARGET.endsWith('-gnu')) assert.equal(libc, 'glibc');
  const { stdout } = run(ROOT, ['doctor'], { env });
  assert.match(stdout, new RegExp(`\nsystem +${TARGET}\n`));
  assert.doesNotMatch(stdout, /null|undefined|NaN/);
});

test('as text', () => {
  const { status, stdout } = run(ROOT, ['doctor']);
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`\nsystem +${TARGET}, `));
  assert.match(stdout, /\nserves +yes\n/);
  assert.doesNotMatch(stdout, /null|undefined|NaN/);
});

test('few file descriptors have to be mended', ON_LINUX, () => {
  const { status, descriptors, findings: found } = examined(ROOT, { before: 'ulimit -n 1000;' });
  assert.equal(status, 1);
  assert.deepEqual(descriptors, { soft: 1000, hard: 1000 });
  assert.match(found[0].text, /^Only 1000 file descriptors .*LimitNOFILE=/);
});

test('io_uring that is switched off is a hint', () => {
  const { status, ioUring, findings: found } = examined(ROOT, { env: { UV_USE_IO_URING: '0' } });
  assert.deepEqual([status, ioUring], [0, false]);
  assert.deepEqual(
    found.map(({ level, text }) => [level, /UV_USE_IO_URING=0/.test(text)]),
    [['hint', true]],
  );
});

// ---- findings

const HEALTHY = {
  backlog: 4096,
  descriptors: { soft: 65536, hard: 65536 },
  error: null,
  groupProcessors: null,
  ioUring: true,
  ioUringDisabled: 0,
  ioUringForbidden: false,
  kernel: 'Linux 6.1',
  memoryBudget: 1e9,
  processors: 4,
  serves: true,
  sharesPort: true,
};
const CASES = [
  ['a server that does not answer', { serves: false }, 'fault', /did not answer/],
  ['a port that is not shared', { sharesPort: false }, 'hint', /SO_REUSEPORT/],
  [
    'a kernel that refuses io_uring',
    { ioUring: false, ioUringDisabled: 2 },
    'hint',
    /io_uring_disabled is 2/,
  ],
  ['a container without io_uring', { ioUring: false }, 'hint', /seccomp/],
  ['io_uring elsewhere', { ioUring: false, kernel: 'Darwin 23.1' }, 'hint', /this is not Linux/],
  ['a short backlog', { backlog: 128 }, 'hint', /somaxconn is 128/],
  ['half a processor', { groupProcessors: 0.5 }, 'hint', /^0\.5 processor for two/],
  ['no memory budget', { memoryBudget: Infinity }, 'hint', /no memory budget/],
];

test('a healthy system has no findings', () => {
  assert.deepEqual(findings(HEALTHY), []);
  const unknown = {
    backlog: null,
    descriptors: { soft: null, hard: null },
    ioUring: null,
    memoryBudget: null,
  };
  assert.deepEqual(findings({ ...HEALTHY, ...unknown, serves: null, sharesPort: null }), []);
});

for (const [name, facts, level, text] of CASES) {
  test(`a finding: ${name}`, () => {
    const found = findings({ ...HEALTHY, ...facts });
    assert.equal(found.length, 1);
    assert.equal(found[0].level, level);
    assert.match(found[0].text, text);
  });
}

// ---- control groups

const TREES = {
  'version 2': {
    files: {
      'proc/self/cgroup': '0::/a/b\n',
      'sys/fs/cgroup/a/b/memory.max': 'max\n',
      'sys/fs/cgroup/a/memory.max': '1073741824\n',
      'sys/fs/cgroup/a/b/cpu.max': '150000 100000\n',
      'sys/fs/cgroup/a/cpu.max': 'max 100000\n',
    },
    limits: { memory: 2 ** 30, cpus: 1.5 },
  },
  'version 2, in a container': {
    files: {
      'proc/self/cgroup': '0::/\n',
      'sys/fs/cgroup/memory.max': '536870912\n',
      'sys/fs/cgroup/cpu.max': '50000 100000\n',
    },
    limits: { memory: 2 ** 29, cpus: 0.5 },
  },
  'version 1': {
    files: {
      'proc/self/cgroup': '4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n',
      'sys/fs/cgroup/memory/a/memory.limit_in_bytes': '9223372036854771712\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '268435456\n',
      'sys/fs/cgroup/cpu/a/cpu.cfs_quota_us': '-1\n',
      'sys/fs/cgroup/cpu/a/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '200000\n',
      'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    },
    limits: { memory: 2 ** 28, cpus: 2 },
  },
  'a path with colons, as of containerd': {
    files: {
      'proc/self/cgroup': '1:name=systemd:/\n0::/kubepods.slice:cri-containerd:7a\n',
      'sys/fs/cgroup/kubepods.slice:cri-containerd:7a/memory.max': '67108864\n',
      'sys/fs/cgroup/kubepods.slice:cri-containerd:7a/cpu.max': '25000 100000\n',
    },
    limits: { memory: 2 ** 26, cpus: 0.25 },
  },
  none: { files: {}, limits: { memory: null, cpus: null } },
};

for (const [name, { files, limits }] of Object.entries(TREES)) {
  test(`control groups: ${name}`, () => {
    const root = make('root');
    for (const [file, content] of Object.entries(files)) {
      fs.mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
      fs.writeFileSync(path.join(root, file), content);
    }
    assert.deepEqual(limitsOfGroups(root), limits);
  });
}
