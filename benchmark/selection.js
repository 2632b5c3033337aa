'use strict';

// Selects the trials that the words of the command line name, and the drivers of each.

const fs = require('fs');
const path = require('path');

const drivers = require('./drivers.js');

/** The peers unless the command line names others. */
const PEERS = ['uws-20.30', 'raw'];
/** Further peers in trials that compare kinds of servers. */
const OTHERS = ['ws', 'node', 'bun', 'socket.io'];

const allTrials = () => {
  const files = fs.readdirSync(path.join(__dirname, 'trials')).filter((file) => file.endsWith('.js'));
  return files.sort().flatMap((file) => require(`./trials/${file}`));
};

/** `ws-echo` and `http/hello` are beginnings of names; `echo`, `publish` and `1KiB` are parts of them. */
const isNamed = ({ name }, word) => name.startsWith(word) || name.split(/[/-]/).includes(word);

/** Selects the trials that one of the words names; without words all, except those that must be named. */
const chooseTrials = (words) => {
  const trials = allTrials();
  if (words.length === 0) return trials.filter(({ whole }) => whole !== false);
  for (const word of words) {
    if (!trials.some((trial) => isNamed(trial, word)))
      throw new Error(`no trial is called ${word}; try --list`);
  }
  return trials.filter((trial) => words.some((word) => isNamed(trial, word)));
};

/** The subject and its possible peers. A driver that is named twice is run twice, which shows the noise. */
const chooseDrivers = (subject, peers) => {
  const found = [subject, ...(peers ?? [...PEERS, ...OTHERS])].map(drivers.resolve);
  const absent = found.filter(({ missing }) => missing);
  const seen = new Map();
  const present = found
    .filter(({ missing }) => !missing)
    .map((driver) => {
      const times = (seen.get(driver.name) ?? 0) + 1;
      seen.set(driver.name, times);
      return times === 1 ? driver : { ...driver, name: `${driver.name} (${times})` };
    });
  return { present, absent };
};

/** Returns the drivers that take part in a trial, and those asked for that cannot. */
const competitorsOf = (trial, present, explicit) => {
  const wanted = present.filter(({ name }) => explicit || trial.others || !OTHERS.includes(name));
  return {
    able: wanted.filter((driver) => drivers.isAble(driver, trial)),
    unable: wanted.filter((driver) => !drivers.isAble(driver, trial)).map(({ name }) => name),
  };
};

module.exports = { chooseDrivers, chooseTrials, competitorsOf };
