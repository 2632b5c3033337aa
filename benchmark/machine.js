'use strict';

// Measures the other load of the machine: processor time that neither server nor generator used makes a round
// unreliable.

const fs = require('fs');
const os = require('os');

const TICKS_PER_SECOND = 100;
const QUIET_SAMPLE_MS = 200;

/** Reads the busy seconds of all cores so far, and those that the hypervisor gave to others. */
const read = () => {
  try {
    const [user, nice, system, , , , , steal] = fs
      .readFileSync('/proc/stat', 'utf8')
      .match(/\d+/g)
      .map(Number);
    return {
      at: performance.now(),
      busy: (user + nice + system) / TICKS_PER_SECOND,
      steal: steal / TICKS_PER_SECOND,
    };
  } catch {
    return null;
  }
};

/** Returns the cores that others used between two readings; `null` where that is unknown. */
const foreign = (before, after, { serverCores, generatorCpu }) => {
  if (!before || !after) return null;
  const seconds = (after.at - before.at) / 1000;
  const busy = (after.busy - before.busy + after.steal - before.steal) / seconds;
  return Math.max(0, busy - serverCores - generatorCpu);
};

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until the machine is nearly idle, at most so many seconds. */
const quiet = async (patience, limit) => {
  const end = performance.now() + patience * 1000;
  while (performance.now() < end) {
    const before = read();
    await pause(QUIET_SAMPLE_MS);
    const busy = foreign(before, read(), { serverCores: 0, generatorCpu: 0 });
    if (busy === null || busy <= limit) return;
  }
};

const describe = () => ({
  cpu: os.cpus()[0].model,
  cores: os.cpus().length,
  kernel: `${os.type()} ${os.release()}`,
  node: process.versions.node,
});

/** Names processor and number of cores, for a file name. */
const name = () => {
  const model = os.cpus()[0].model.toLowerCase();
  const words = model.replace(/\((r|tm)\)|@.*|\bcpu\b|\bprocessor\b/g, ' ').match(/[a-z0-9]+/g) ?? [
    'machine',
  ];
  return [...words, `${os.cpus().length}c`].join('-');
};

module.exports = { describe, foreign, name, quiet, read };
