'use strict';
// The system and its limits, as Linux shows them in /proc and /sys. Elsewhere, and where the runtime or the
// system does not let us read them, they are null.

const fs = require('fs');
const os = require('os');
const path = require('path');

/** Returns the content of a file without spaces around it; null if it cannot be read. */
function read(file) {
  try {
    return fs.readFileSync(file, 'utf8').trim();
  } catch {
    return null;
  }
}

function numberIn(file) {
  const text = read(file);
  return text === null || text === '' || !Number.isFinite(Number(text)) ? null : Number(text);
}

/** Returns the limits of file descriptors, { soft, hard }; Infinity is no limit. */
function descriptors() {
  const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(read('/proc/self/limits') ?? '') ?? [];
  const amount = (text) => (text === undefined ? null : text === 'unlimited' ? Infinity : Number(text));
  return { soft: amount(soft), hard: amount(hard) };
}

/** The folders of a controller that hold for this process, the nearest first. */
function groups(controller, root) {
  // A path may contain colons, as those of containerd do.
  const lines = [...(read(`${root}/proc/self/cgroup`) ?? '').matchAll(/^\d+:([^:\n]*):(.*)$/gm)];
  const own = lines.find(([, controllers]) => controllers.split(',').includes(controller));
  const unified = lines.find(([, controllers]) => controllers === '');
  const [, , at] = own ?? unified ?? [];
  if (at === undefined) return [];
  const base = `${root}/sys/fs/cgroup${own ? `/${controller}` : ''}`;
  const folders = [];
  // Within a container the group is often the root of what is to be seen, whatever the path says.
  for (let group = at; ; group = path.dirname(group)) {
    folders.push(path.join(base, group));
    if (group === '/' || group === '.') return folders;
  }
}

function least(numbers) {
  const known = numbers.filter((number) => number !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/**
 * Returns the limits of the control groups that the process is in: bytes of memory, and processors, which
 * need not be whole. null: no limit.
 *
 * @param {string} root another root of the file system, for tests
 */
function limitsOfGroups(root = '') {
  const memory = groups('memory', root).flatMap((folder) => [
    numberIn(`${folder}/memory.max`),
    numberIn(`${folder}/memory.limit_in_bytes`),
  ]);
  const cpus = groups('cpu', root).map((folder) => {
    const [quota, period] = (
      read(`${folder}/cpu.max`) ??
      `${read(`${folder}/cpu.cfs_quota_us`)} ${read(`${folder}/cpu.cfs_period_us`)}`
    )
      .split(' ')
      .map(Number);
    return quota > 0 && period > 0 ? quota / period : null;
  });
  // Version 1 has a huge number for no limit.
  return { memory: least(memory.map((bytes) => (bytes < 2 ** 60 ? bytes : null))), cpus: least(cpus) };
}

/** Returns the algorithm of congestion control, and those that may be chosen. */
function congestion() {
  const folder = '/proc/sys/net/ipv4';
  return {
    used: read(`${folder}/tcp_congestion_control`),
    available: read(`${folder}/tcp_available_congestion_control`)?.split(' ') ?? null,
  };
}

/** kernel.io_uring_disabled: 0 nobody is refused, 1 those without a group, 2 all. */
const ioUringDisabled = () => numberIn('/proc/sys/kernel/io_uring_disabled');
const backlog = () => numberIn('/proc/sys/net/core/somaxconn');

/** Returns the answer of the runtime; null where it refuses, as Deno does without permission. */
function told(ask) {
  try {
    return ask();
  } catch {
    return null;
  }
}

const kernel = () => told(() => `${os.type()} ${os.release()}`);
const memory = () => told(() => os.totalmem());
const ioUringForbidden = () => told(() => process.env.UV_USE_IO_URING === '0');
const processors = () => told(() => os.availableParallelism?.() ?? os.cpus().length);

module.exports = {
  backlog,
  congestion,
  descriptors,
  ioUringDisabled,
  ioUringForbidden,
  kernel,
  least,
  limitsOfGroups,
  memory,
  processors,
};
