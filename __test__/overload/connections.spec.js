'use strict';
// As many connections as there are descriptors, resets of all at once, and all coming back at once.

const { it, assert, until, ours } = require('../support');
const { Remote, swarm, sized, figure, sleep, since } = require('./support');
const { body } = require('./server');
const certificates = require('../tls/certificates');

const OPTIONS = { skip: ours ? false : 'figures of ours', timeout: sized(60000, 300000) };

it('as many WebSockets as there are descriptors, and one more', OPTIONS, async (t) => {
  const descriptors = sized(1000, 20000);
  const server = await Remote.start(t, body, null, { descriptors });
  const [port] = await server.call('ports');
  const before = { resident: server.resident(), descriptors: server.descriptors() };
  const most = descriptors - before.descriptors;
  const crowds = [await swarm(t, 0), await swarm(t, 1)];
  const began = Date.now();
  // The process may open some more for itself, as the loop's io_uring: the last few are tried one by one.
  const count = Math.floor((most - 6) / 2);
  await Promise.all(crowds.map((crowd) => crowd.call('open', { port, count })));
  // One that waits may be late only, as long as the server has not said that there is none left.
  const isOver = async () => (await server.call('counts')).warnings > 0;
  while ((await crowds[0].call('tryOne', { port, within: 300 })) === 'open' || !(await isOver()));
  const seconds = since(began);
  const open = (await server.call('counts')).opened;
  assert.ok(open >= most - 10, `${open} of ${most}`);
  await sleep(500);
  // The kernel has accepted it; the server has not, and says so once.
  assert.equal(await crowds[0].call('lastOpens', 0), false, 'there is no descriptor for it');
  const times = await crowds[1].call('echoes', { perSecond: 200, seconds: 2 });
  assert.equal((await server.call('counts')).warnings, 1);
  assert.equal((await server.call('counts')).closed, 0, 'nobody had to go');
  const memory = ((server.resident() - before.resident) * 1024) / open;
  await crowds[1].call('reset', 20);
  assert.equal(await crowds[0].call('lastOpens', 10000), true, 'it opens as soon as there is room');
  for (const crowd of crowds) assert.deepEqual((await crowd.call('report')).errors, []);
  await crowds[0].call('reset');
  await crowds[1].call('reset');
  await until(() => server.descriptors() <= before.descriptors + 8);
  const { opened, closed, twice, warnings } = await server.counts((all) => all.closed >= all.opened);
  assert.deepEqual([closed, twice, warnings], [opened, 0, 1]);
  figure(
    t,
    `limit of ${descriptors} descriptors: ${open} WebSockets open, ${seconds} s to open them, ${memory.toFixed(1)} KiB each with all of the process; one more waits in the kernel with one warning, median echo of the others ${times[times.length >> 1].toFixed(1)} ms meanwhile, and opens when others leave`,
  );
});

it('resets of all at once: every close once', OPTIONS, async (t) => {
  const count = sized(1000, 10000);
  const server = await Remote.start(t, body);
  const [port] = await server.call('ports');
  const descriptors = server.descriptors();
  const crowds = [await swarm(t, 0), await swarm(t, 1)];
  await Promise.all(crowds.map((crowd) => crowd.call('open', { port, count: count / 2 })));
  await until(() => server.descriptors() >= descriptors + count);
  const began = Date.now();
  await Promise.all(crowds.map((crowd) => crowd.call('reset')));
  await server.counts(({ closed }) => closed >= count, 30000);
  const seconds = since(began);
  await sleep(200);
  const counts = await server.call('counts');
  assert.deepEqual([counts.opened, counts.closed, counts.twice], [count, count, 0]);
  assert.deepEqual(counts.codes, { 1006: count });
  // The process itself may have opened some.
  await until(() => server.descriptors() <= descriptors + 8);
  const [crowd] = crowds;
  await crowd.call('open', { port, count: 10 });
  assert.ok((await crowd.call('echoes', { perSecond: 100, seconds: 0.5 })).length > 0);
  figure(
    t,
    `${count} WebSockets reset at once: ${count} \`close\` with 1006, none twice, after ${seconds} s`,
  );
});

it('a reconnect storm, half of it TLS', OPTIONS, async (t) => {
  const count = sized(500, 10000);
  const server = await Remote.start(t, body, { secure: certificates.shared() });
  const [plain, encrypted] = await server.call('ports');
  const crowds = [await swarm(t, 0), await swarm(t, 1)];
  const ways = [{ port: plain }, { port: encrypted, secure: true }];
  await Promise.all(crowds.map((crowd, n) => crowd.call('open', { ...ways[n], count: count / 2 })));
  const began = Date.now();
  const [first, second] = await Promise.all(crowds.map((crowd, n) => crowd.call('reconnect', ways[n])));
  const seconds = since(began);
  assert.deepEqual([first.open + second.open, first.failed + second.failed], [count, 0]);
  const echoes = await Promise.all(
    crowds.map((crowd) => crowd.call('echoes', { perSecond: 500, seconds: sized(0.5, 4) })),
  );
  assert.ok(echoes.every((times) => times.length > 0));
  for (const crowd of crowds) assert.deepEqual((await crowd.call('report')).errors, []);
  const counts = await server.counts(({ closed }) => closed >= count);
  assert.deepEqual([counts.opened, counts.closed, counts.twice], [2 * count, count, 0]);
  figure(
    t,
    `${count} clients leave and come back at once, half of them over TLS: all are back after ${seconds} s, the slowest plain one after ${(first.slowest / 1000).toFixed(1)} s, the slowest TLS one after ${(second.slowest / 1000).toFixed(1)} s; every \`open\` and \`close\` once`,
  );
});
