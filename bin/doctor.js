'use strict';
// `uws-rs doctor`: examines the package and the system. It needs no binary: that there is none is its first
// finding.

const net = require('net');
const { BINARIES, target } = require('../lib/binaries');
const { glibcVersion, libc } = require('../lib/libc');
const { requirers } = require('../lib/origins');
const { runtime } = require('../lib/runtime');
const { VERSION } = require('../lib/version');
const system = require('./system');

/** Below so many descriptors a server runs out of them before it is busy. */
const FEW_DESCRIPTORS = 4096;
/** The queue of a listening socket that uws-rs asks the kernel for. */
const BACKLOG = 512;
const MIB = 1024 * 1024;
const SELF_TEST_MS = 5000;

/** Finds the binary. Returns what it is, or the error. */
function binary() {
  try {
    const { find } = require('../lib/binaries');
    const { load } = require('../lib/binding');
    const native = load();
    const { name } = find();
    const path = placeOf(name);
    const how = name.endsWith('.node') ? 'built in this folder' : `the package ${name}`;
    return { native, found: { path, how, version: native.version() } };
  } catch (error) {
    return { error: error.message };
  }
}

/** Returns the path of what the loader has found, which need not be where the package itself looks. */
function placeOf(name) {
  const ways = name.endsWith('.node') ? [`../${name}`, `./${name}`] : [name];
  for (const requires of requirers()) {
    for (const way of ways) {
      try {
        return requires.resolve(way);
      } catch {
        // The next one may know it.
      }
    }
  }
  return name;
}

/** A server answers one request, and a second one listens on the same port. */
function selfTest() {
  const uWS = require('..');
  const apps = [uWS.App(), uWS.App()];
  const result = { serves: false, sharesPort: false };
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      for (const app of apps) app.close();
      resolve(result);
    };
    const timer = setTimeout(end, SELF_TEST_MS);
    for (const app of apps) app.get('/', (res) => res.end('well'));
    apps[0].listen('127.0.0.1', 0, (token) => {
      if (!token) return end();
      const port = uWS.us_socket_local_port(token);
      apps[1].listen('127.0.0.1', port, (other) => {
        result.sharesPort = Boolean(other);
      });
      let answer = '';
      const socket = net.connect(port, '127.0.0.1', () => {
        socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
      });
      socket.on('data', (data) => (answer += data));
      socket.on('error', end);
      socket.on('close', () => {
        result.serves = /^HTTP\/1\.1 200 [^]*well$/.test(answer);
        end();
      });
    });
  });
}

/** The C library with its version; null where a platform has one only. */
function libraryOf(name) {
  if (name === 'gnu') return `glibc ${glibcVersion() ?? ''}`.trim();
  return name === '' ? null : name;
}

/** Gathers all facts. Those that need the binary are null without one. */
async function examine() {
  const { native = null, found = null, error = null } = binary();
  const { serves = null, sharesPort = null } = native ? await selfTest() : {};
  const limits = system.limitsOfGroups();
  return {
    version: VERSION,
    runtime: runtime(),
    napi: Number(process.versions.napi),
    target: target(),
    packaged: target() in BINARIES,
    libc: libraryOf(libc()),
    kernel: system.kernel(),
    binary: found,
    error,
    serves,
    sharesPort,
    ioUring: native ? native.hasIoUring() : null,
    ioUringDisabled: system.ioUringDisabled(),
    ioUringForbidden: system.ioUringForbidden(),
    descriptors: system.descriptors(),
    backlog: system.backlog(),
    congestion: system.congestion(),
    processors: system.processors(),
    groupProcessors: limits.cpus,
    memory: system.memory(),
    groupMemory: limits.memory,
    memoryBudget: native ? native.memoryBudget(undefined)[0] : null,
  };
}

/** The findings: { level, text }. A 'fault' has to be mended; a 'hint' is worth knowing. */
function findings(facts) {
  const found = [];
  const fault = (text) => found.push({ level: 'fault', text });
  const hint = (text) => found.push({ level: 'hint', text });
  if (facts.error !== null) fault(facts.error);
  if (facts.serves === false) fault('A server on 127.0.0.1 did not answer: sockets may be forbidden here.');
  if (facts.sharesPort === false) {
    hint(
      'A second server cannot share a port (SO_REUSEPORT): let one process listen and pass connections on.',
    );
  }
  const { soft, hard } = facts.descriptors;
  if (soft !== null && soft < FEW_DESCRIPTORS) {
    fault(
      `Only ${soft} file descriptors (hard limit ${hard}): each connection takes one. Raise the limit: ` +
        '`LimitNOFILE=` of systemd, `--ulimit nofile=` of docker, `ulimit -n`.',
    );
  }
  if (facts.ioUring === false)
    hint(`No io_uring, which busy servers save processor time with: ${whyNoRing(facts)}`);
  if (facts.backlog !== null && facts.backlog < BACKLOG) {
    hint(
      `net.core.somaxconn is ${facts.backlog}: a burst of new connections is refused. ${BACKLOG} are asked for.`,
    );
  }
  const processors = system.least([facts.processors, facts.groupProcessors]);
  if (processors !== null && processors < 2) {
    hint(`${round(processors)} processor for two busy threads: TLS, compression and JavaScript take turns.`);
  }
  if (facts.memoryBudget === Infinity) hint('There is no memory budget: slow clients may fill the memory.');
  return found;
}

function whyNoRing({ ioUringForbidden, ioUringDisabled, kernel }) {
  if (ioUringForbidden) return 'UV_USE_IO_URING=0 switches it off.';
  if (kernel?.startsWith('Linux') === false) return 'this is not Linux.';
  if (ioUringDisabled > 0) return `sysctl kernel.io_uring_disabled is ${ioUringDisabled}.`;
  return 'the kernel is too old, or a seccomp profile forbids it, as that of docker (docs/deploy.md).';
}

const round = (number) => `${Math.round(number * 100) / 100}`;

const inMib = (bytes) => (bytes === Infinity ? 'no limit' : `${Math.round(bytes / MIB)} MiB`);

/** Text for an amount of the machine, and for that of the control group; null where neither is known. */
function withGroup(amount, ofGroup, textOf) {
  const parts = [
    amount === null ? '' : textOf(amount),
    ofGroup === null ? '' : `${textOf(ofGroup)} by cgroup`,
  ];
  return parts.filter(Boolean).join(', ') || null;
}

/** The lines of the report, [name, value]; a value that is not known is left out. */
function lines(facts) {
  const { soft, hard } = facts.descriptors;
  const { used, available } = facts.congestion;
  const yes = (value) => (value === null ? null : value ? 'yes' : 'no');
  return [
    ['uws-rs', facts.version],
    ['runtime', `${facts.runtime}, Node-API ${facts.napi}`],
    [
      'system',
      `${facts.target}${facts.packaged ? '' : ' (no package)'}${facts.kernel ? `, ${facts.kernel}` : ''}`,
    ],
    ['C library', facts.libc],
    ['binary', facts.binary && `${facts.binary.path} (${facts.binary.how}, ${facts.binary.version})`],
    ['serves', yes(facts.serves)],
    ['shares a port', yes(facts.sharesPort)],
    ['io_uring', yes(facts.ioUring)],
    ['file descriptors', soft === null ? null : `${soft} (hard limit ${hard})`],
    ['listen backlog', facts.backlog === null ? null : `${Math.min(BACKLOG, facts.backlog)}`],
    ['congestion control', used && `${used}${available ? ` (available: ${available.join(', ')})` : ''}`],
    ['processors', withGroup(facts.processors, facts.groupProcessors, round)],
    ['memory', withGroup(facts.memory, facts.groupMemory, inMib)],
    ['memory budget', facts.memoryBudget === null ? null : inMib(facts.memoryBudget)],
  ].filter(([, value]) => value !== null);
}

/** JSON knows no Infinity, which is no limit here. */
const inJson = (key, value) => (value === Infinity ? null : value);

/** Prints the report and returns the exit code. */
async function doctor(json) {
  const facts = await examine();
  const found = findings(facts);
  const healthy = !found.some(({ level }) => level === 'fault');
  const text = json
    ? JSON.stringify({ healthy, findings: found, ...facts }, inJson, 2)
    : [...lines(facts).map(([name, value]) => `${name.padEnd(20)}${value}`), ...paragraphs(found)].join('\n');
  process.stdout.write(`${text}\n`);
  return healthy ? 0 : 1;
}

function paragraphs(found) {
  if (found.length === 0) return ['\nNothing to mend.'];
  return found.map(({ level, text }) => `\n${level === 'fault' ? 'To mend' : 'Hint'}: ${text}`);
}

module.exports = { doctor, findings };
