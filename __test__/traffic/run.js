'use strict';
// Traffic over real sockets, with an oracle: npm run test:traffic -- [options]
//
//   --seconds N       how long to go on (default 30)
//   --seed S          the first run's seed; the next runs count up (default: of the clock)
//   --rounds N        ends after so many runs
//   --kind K          mixed, memory, storm, slow, stopped; several with commas (default: mixed, mostly)
//   --module M        ours, 20.30 or 20.57 (with UWS_2057)
//   --setting S       two (default), one, two-plain, one-plain: processors of the server, without io_uring
//   --plan FILE       runs a plan that an earlier run has left
//   --matrix          all settings of ours, each for a quarter of the time
//
// One number makes the whole plan; a plan that fails is reduced and kept in a file, but for TRAFFIC_REDUCE=0.
// TRAFFIC_VERBOSE=1 has a line for each run.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { optionsOf } = require('../../scripts/options');
const { KINDS, planOf } = require('./plan');
const { Round } = require('./round');

const SETTINGS = {
  two: {},
  one: { oneCore: true },
  'two-plain': { uring: false },
  'one-plain': { oneCore: true, uring: false },
};
/** Seconds that a run of each kind takes. */
const TAKES = { mixed: 3, memory: 8, storm: 6, slow: 14, stopped: 21 };
const REDUCE_MS = 60000;

const OPTIONS = {
  seconds: 'number',
  seed: 'whole',
  rounds: 'whole',
  kind: KINDS,
  module: ['ours', '20.30', '20.57'],
  setting: Object.keys(SETTINGS),
  plan: 'text',
  matrix: 'flag',
};

/** The kind of the run with this seed: of ours one in four is another than mixed, if there is time for it. */
function kindOf(seed, { kinds, module: module_ }, left) {
  if (kinds) return kinds[seed % kinds.length];
  if (module_ !== 'ours' || seed % 4 !== 3) return 'mixed';
  const kind = KINDS[1 + (Math.floor(seed / 4) % 4)];
  return TAKES[kind] <= left ? kind : 'mixed';
}

async function runPlan(plan, setting) {
  const round = new Round(plan, SETTINGS[setting]);
  await round.run();
  return round;
}

/** Looks for a smaller plan that fails, too, for a limited time. */
async function reduced(plan, setting) {
  const end = Date.now() + REDUCE_MS;
  let best = plan;
  const fails = async (candidate) => {
    if (Date.now() > end) return false;
    const { faults } = await runPlan(candidate, setting);
    if (faults.length > 0) best = candidate;
    return faults.length > 0;
  };
  for (let parts = 2; best.connections.length > 1 && Date.now() < end;) {
    const size = Math.ceil(best.connections.length / parts);
    let smaller = false;
    for (let at = 0; at < best.connections.length && !smaller; at += size) {
      const { connections } = best;
      smaller =
        (parts === 2 && (await fails({ ...best, connections: connections.slice(at, at + size) }))) ||
        (parts > 2 &&
          (await fails({
            ...best,
            connections: [...connections.slice(0, at), ...connections.slice(at + size)],
          })));
    }
    if (smaller) parts = Math.max(2, parts - 1);
    else if (size === 1) break;
    else parts = Math.min(best.connections.length, parts * 2);
  }
  return best;
}

async function failed(plan, setting, faults) {
  const name = `seed ${plan.seed}, ${plan.kind}, ${plan.module}, ${setting}`;
  console.log(`${name}: FAILED`);
  for (const text of faults.slice(0, 10)) console.log(`  ${text}`);
  if (faults.length > 10) console.log(`  … ${faults.length} in all`);
  console.log(
    `  again: npm run test:traffic -- --seed ${plan.seed} --rounds 1 --kind ${plan.kind} --module ${plan.module} --setting ${setting}`,
  );
  if (process.env.TRAFFIC_REDUCE === '0') return;
  const smaller = await reduced(plan, setting);
  const file = path.join(os.tmpdir(), `traffic-${plan.module}-${plan.seed}.json`);
  fs.writeFileSync(file, JSON.stringify(smaller, null, 1));
  console.log(
    `  reduced to ${smaller.connections.length} of ${plan.connections.length} connections: npm run test:traffic -- --plan ${file} --setting ${setting}`,
  );
}

/** Runs until the time is over; returns how many runs failed. */
async function runFor(seconds, how) {
  const { seed, module: module_, setting, rounds } = how;
  const end = Date.now() + seconds * 1000;
  const total = { rounds: 0, failed: 0, connections: 0 };
  for (let at = seed; Date.now() < end && total.rounds < rounds; at++) {
    const plan = planOf({ seed: at, module: module_, kind: kindOf(at, how, (end - Date.now()) / 1000) });
    const began = Date.now();
    const { faults, took, slowest } = await runPlan(plan, setting);
    total.rounds++;
    total.connections += plan.connections.length;
    if (process.env.TRAFFIC_VERBOSE) {
      console.log(
        `seed ${at} ${plan.kind}${plan.careless ? ' careless' : ''}: ${plan.connections.length} connections, ${Date.now() - began} ms${took ? `, ${took.toFixed(0)} MiB` : ''}${slowest ? `, at most ${slowest} ms` : ''}, ${faults.length} faults`,
      );
    }
    if (faults.length === 0) continue;
    total.failed++;
    await failed(plan, setting, faults);
  }
  console.log(
    `${module_}, ${setting}: ${total.rounds} runs from seed ${seed} on, ${total.connections} connections, ${total.failed} failed`,
  );
  return total.failed;
}

async function main() {
  const given = optionsOf(OPTIONS);
  if (given.plan) {
    const plan = JSON.parse(fs.readFileSync(given.plan, 'utf8'));
    const { faults } = await runPlan(plan, given.setting ?? 'two');
    for (const text of faults) console.log(text);
    return faults.length;
  }
  const seconds = given.seconds ?? (given.rounds ? 3600 : 30);
  const how = {
    seed: given.seed ?? Math.floor(Date.now() / 1000) % 1e6,
    module: given.module ?? process.env.UWS_MODULE ?? 'ours',
    kinds: given.kind?.split(','),
    rounds: given.rounds ?? Infinity,
  };
  process.env.UWS_MODULE = how.module;
  if (!given.matrix) return runFor(seconds, { ...how, setting: given.setting ?? 'two' });
  let failures = 0;
  for (const setting of Object.keys(SETTINGS)) {
    failures += await runFor(seconds / 4, { ...how, setting });
    how.seed += 1000;
  }
  return failures;
}

main().then((failures) => {
  process.exitCode = failures > 0 ? 1 : 0;
});
