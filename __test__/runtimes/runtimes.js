'use strict';
// The runtimes that the conformance tests run on, and the tests that cannot pass there, with the cause.

const PLATFORM = `${process.platform}-${process.arch}`;
const ON_NODE = { node: [`node-${PLATFORM}`, 'bin/node'] };
const BUN = `@oven/bun-${PLATFORM.replace('arm64', 'aarch64')}`;
const DENO = `@deno/${PLATFORM}${process.platform === 'linux' ? '-glibc' : ''}`;

/**
 * By name: the kind, the version, the package of npm that has the executable, and its path there. One version
 * of each line of Node that the package supports (`engines`).
 */
const RUNTIMES = {
  'node-18': { kind: 'Node.js', version: '18.20.8', package: ON_NODE.node },
  'node-20': { kind: 'Node.js', version: '20.20.2', package: ON_NODE.node },
  'node-22': { kind: 'Node.js', version: '22.23.3', package: ON_NODE.node },
  'node-24': { kind: 'Node.js', version: '24.21.0', package: ON_NODE.node },
  'node-25': { kind: 'Node.js', version: '25.9.0', package: ON_NODE.node },
  'node-26': { kind: 'Node.js', version: '26.10.0', package: ON_NODE.node },
  bun: { kind: 'Bun', version: '1.4.5', package: [BUN, 'bin/bun'] },
  deno: { kind: 'Deno', version: '2.9.6', package: [DENO, 'deno'] },
};

/** Tests that fail, by kind of runtime, spec and name, with the cause. */
const FAILING = {
  'Node.js': {},
  Bun: {
    lifecycle: {
      'a handler that throws, with no listener: the process ends as by any uncaught exception':
        'Bun prints `error: mine` for an uncaught `Error("mine")`, the test asks for `Error: mine`',
    },
    microtasks: {
      'ticks run before promises':
        'Bun runs microtasks before nextTicks after a handler; all have run before the next handler',
    },
    'websocket-send': {
      'sends from open, message, timers and promises keep the order of the calls':
        'the order of a microtask and a nextTick, as in the test of ticks and promises',
    },
  },
  Deno: {
    exports: {
      'the ESM wrapper has the module as default export and re-exports every name':
        'programs given by `--eval` cannot `import()`, in which the test runs; files can',
    },
    threads: {
      'the module loads in several workers at once, each with its own app':
        "Deno's `parentPort` has no `close`, by which the workers of the test end, so their exit code is 1",
      'a worker may come and go many times': 'as before',
    },
  },
};

/** The newest Node, on which `npm test` runs. */
const NEWEST = 'node-26';

module.exports = { FAILING, NEWEST, RUNTIMES };
