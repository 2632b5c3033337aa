'use strict';

// Backpressure, and the limits that svelte-realtime's table for production promises.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { since } = require('./support/build.js');
const { Client, Denied, Refused } = require('./support/client.js');
const { openFixture } = require('./support/fixture.js');
const { suite } = require('./support/suite.js');

const KIB = 1024;
/** Limits of the fixture's adapter. */
const MAX_PAYLOAD = 64 * KIB;
const MAX_BACKPRESSURE = 256 * KIB;
const UPGRADES = 100;
/** Limits of svelte-realtime and of the adapter's client. */
const QUEUED = 1000;
const IDENTITIES = 5000;
const TIMERS = 5000;
const TOPIC_LENGTH = 256;
/** svelte-realtime counts so many until 0.5, which counts up to a million. */
const PRESENCES = 10000;

describe('backpressure and limits', { timeout: 300000 }, () => {
  const t = suite();
  let server;
  let browser;

  before(async () => {
    server = await start(t, 'fixture');
    if (!needsBrowser.skip) browser = await openBrowser(t);
  });

  const client = (user, options) => Client.open(server, { cookie: `user=${user}`, ...options });

  it('maxBackpressure: a client that does not read loses messages, not the connection, nor the order', async () => {
    const [slow, quick] = [await client('slow'), await client('quick')];
    for (const each of [slow, quick]) await each.subscribe('flood');
    slow.pause();
    const count = 1600;
    const size = 50 * KIB;
    const memory = memoryOf(server.pid);
    for (let n = 0; n < count; n += 4) {
      await quick.call('probe/flood', 'flood', n, 4, size);
      await quick.topic('flood').count(n + 4);
    }
    const grown = memoryOf(server.pid) - memory;
    assert.equal(quick.topic('flood').length, count);

    slow.resume();
    const log = slow.topic('flood');
    await slow.settled();
    const numbers = log.map(({ data }) => data.n);
    assert.ok(numbers.length > 0 && numbers.length < count, `${numbers.length} of ${count} came`);
    assert.deepEqual(
      numbers,
      numbers.map((_, n) => n),
    );
    // The memory kept for the slow one is bounded: the rest of the growth is the server's own garbage.
    assert.ok(grown < (count * size) / 2, `the server grew by ${Math.round(grown / KIB)} KiB`);

    await quick.call('probe/flood', 'flood', count, 3, 10);
    await log.when((list) => list.some(({ data }) => data.n === count + 2));
    assert.deepEqual(
      log.slice(-3).map(({ data }) => data.n),
      [count, count + 1, count + 2],
    );
  });

  it('maxBackpressure: the drain hook tells that there is room again', async () => {
    const [slow, quick] = [await client('drained'), await client('drainer')];
    await slow.subscribe('drains');
    slow.pause();
    for (let n = 0; n < 400; n++) await quick.call('probe/flood', 'drains', n, 1, 50 * KIB);
    const drained = async () =>
      (await quick.call('probe/log', 'drained')).filter(({ hook }) => hook === 'drain');
    const before = (await drained()).length;
    slow.resume();
    await until(async () => (await drained()).length > before, 'the drain hook ran');
    const { detail } = (await drained()).at(-1);
    assert.ok(detail < MAX_BACKPRESSURE, `${detail} bytes are left`);
    assert.equal(await slow.call('probe/ping', 'here'), 'here');
  });

  it('maxPayloadLength: a larger message ends the connection, the server goes on', async () => {
    const ann = await client('ann');
    const frame = (length) => {
      const text = JSON.stringify({ rpc: 'probe/ping', id: 'big', args: [''] });
      return text.replace('""', `"${'p'.repeat(length - text.length)}"`);
    };
    const whole = frame(MAX_PAYLOAD);
    assert.equal(whole.length, MAX_PAYLOAD);
    ann.send(whole);
    await ann.frames.when((list) => list.find(({ event }) => event === 'big'));
    ann.send(frame(MAX_PAYLOAD + 1));
    const { code } = await ann.ended;
    assert.ok([1006, 1009].includes(code), `closed with ${code}`);
    assert.equal(await (await client('ann')).call('probe/ping', 1), 1);
  });

  it('an answer may be larger than what may be asked', async () => {
    const ann = await client('ann');
    assert.equal((await ann.call('probe/blob', 200 * KIB)).length, 200 * KIB);
  });

  it(`the queue of a page that is not connected keeps the last ${QUEUED}`, needsBrowser, async () => {
    const page = await openFixture(browser, server, 'queuing', { query: '?interval=200' });
    await page.page.evaluate(() => window.stack.probe.enrol());
    const ann = await client('ann');
    await server.restart({
      between: async () => {
        await page.last('status', (status) => status !== 'open');
        await page.page.evaluate((count) => {
          for (let n = 0; n < count; n++) window.stack.connection.sendQueued({ type: 'note', data: n });
        }, QUEUED + 200);
      },
    });
    await ann.ended;
    const notes = await until(async () => {
      const log = await (await fetch(`${server.url}/log?user=queuing`)).json();
      const list = log.filter(({ hook }) => hook === 'note').map(({ detail }) => detail);
      return list.at(-1) === QUEUED + 199 && list;
    }, 'the queue has come');
    assert.deepEqual(
      notes,
      Array.from({ length: QUEUED }, (_, n) => n + 200),
    );
    assert.ok(page.complaints.some((text) => text.includes('queue full')));
  });

  it('a page may batch 50 calls, not 51', needsBrowser, async () => {
    const page = await openFixture(browser, server, 'batching');
    const [fifty, more] = await page.page.evaluate(async () => {
      const { realtime, probe } = window.stack;
      const calls = (count) => () => Array.from({ length: count }, (_, n) => probe.ping(n));
      const results = await realtime.batch(calls(50));
      const refused = await realtime.batch(calls(51)).then(
        () => 'was sent',
        (error) => error.message,
      );
      return [results, refused];
    });
    assert.deepEqual(
      fifty,
      Array.from({ length: 50 }, (_, n) => n),
    );
    assert.match(more, /50/);
    const batches = page.frames.filter(({ topic, event }) => topic === '__rpc' && event === '__batch');
    assert.equal(batches.length, 1);
  });

  it(`topics are at most ${TOPIC_LENGTH} characters, none of them a control character`, async () => {
    const ann = await client('ann');
    const long = 't'.repeat(TOPIC_LENGTH);
    await ann.subscribe(long);
    assert.equal(await ann.call('probe/subscribers', long), 1);
    for (const topic of [`${long}t`, 'line\nbreak', '\u0001', '']) {
      const refused = ann.subscribe(topic);
      if (since('svelte-adapter-uws', '0.4.0')) await assert.rejects(refused, Denied);
      else await refused;
      assert.equal(await ann.call('probe/subscribers', topic), 0, JSON.stringify(topic));
    }
  });

  it(`rate limits count ${IDENTITIES} users, and refuse those beyond`, async () => {
    const ann = await client('ann');
    const as = async (from, count) => {
      const calls = [];
      for (let n = from; n < from + count; n++) calls.push(['probe/become', `user-${n}`], ['limits/counted']);
      return (await ann.batch(calls, { sequential: true })).filter((_, n) => n % 2 === 1);
    };
    for (let n = 0; n < IDENTITIES; n += 25) {
      const results = await as(n, 25);
      assert.ok(
        results.every(({ ok }) => ok),
        JSON.stringify(results.find(({ ok }) => !ok)),
      );
    }
    const [beyond] = await as(IDENTITIES, 1);
    assert.deepEqual([beyond.ok, beyond.code], [false, 'RATE_LIMITED']);
    const [known] = await as(17, 1);
    assert.deepEqual([known.ok, known.data], [true, 'user-17']);
  });

  it(`beyond ${TIMERS} timers for topics events are published at once`, async () => {
    const ann = await client('ann');
    await ann.subscribe('settle:0');
    await ann.subscribe(`settle:${TIMERS}`);
    await ann.call('limits/settle', 0, TIMERS);
    await ann.settled();
    assert.equal(ann.topic('settle:0').length, 0);
    await ann.call('limits/settle', TIMERS, 1);
    const [{ data }] = await ann.topic(`settle:${TIMERS}`).count(1);
    assert.equal(data, TIMERS);
    assert.equal(ann.topic('settle:0').length, 0);
  });

  const old = since('svelte-realtime', '0.5.0') ? { skip: 'svelte-realtime 0.5 counts up to a million' } : {};
  it(`beyond ${PRESENCES} visitors in rooms the next is not announced, but served`, old, async () => {
    const ann = await client('ann');
    const watcher = await client('watcher');
    const enter = (number) => ann.stream('limits/room/__data', [number]);
    for (let number = 0; number < PRESENCES; number += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, n) => enter(number + n)));
    }
    const told = (number) => watcher.topic(`room:${number}:presence`);
    for (const number of [PRESENCES, 0]) await watcher.subscribe(`room:${number}:presence`);
    assert.deepEqual((await enter(PRESENCES)).response.data, []);
    await watcher.settled();
    assert.equal(told(PRESENCES).length, 0);
    // A visitor who leaves makes room: after the grace period, or at once for a visitor who needs it.
    await ann.drop();
    const ben = await client('ben');
    await ben.stream('limits/room/__data', [PRESENCES]);
    const [{ event, data }] = await told(PRESENCES).count(1);
    assert.deepEqual([event, data.key], ['join', 'ben']);
    await told(0).when((list) => list.some((each) => each.event === 'leave' && each.data.key === 'ann'));
  });

  it(`an address may connect ${UPGRADES} times in the window, others go on`, async () => {
    const from = (localAddress) => client('crowd', { localAddress });
    const crowd = [];
    for (let n = 0; n < UPGRADES; n++) crowd.push(await from('127.0.0.9'));
    await assert.rejects(from('127.0.0.9'), (error) => error instanceof Refused && error.status === 429);
    assert.equal(await (await from('127.0.0.10')).call('probe/ping', 'in'), 'in');
    await Promise.all(crowd.map((each) => each.drop()));
  });
});

/** The resident memory in bytes. */
function memoryOf(pid) {
  const [, pages] = fs.readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ');
  return Number(pages) * 4 * KIB;
}
