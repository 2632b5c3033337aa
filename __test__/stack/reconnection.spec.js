'use strict';

// A client that has lost its connection gets everything, once and in order. Other tests check how it
// reconnects.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { since } = require('./support/build.js');
const { Client } = require('./support/client.js');
const { openFixture } = require('./support/fixture.js');
const { suite } = require('./support/suite.js');

/** Limits of the fixture: how much its replay buffer holds, and how far back it knows a difference. */
const REPLAYED = 50;
const DIFFED = 200;
const RESTARTED = 1012;
const TERMINAL = 4401;
/** Adapter 0.3's client reconnects whatever it was told, and does not check whether its tab is visible. */
const newer = { skip: !since('svelte-adapter-uws', '0.4.0') && 'not in adapter 0.3' };

describe('reconnection', { timeout: 300000 }, () => {
  const t = suite();
  let server;
  let browser;

  before(async () => {
    server = await start(t, 'fixture');
    if (!needsBrowser.skip) browser = await openBrowser(t);
  });

  const client = (user) => Client.open(server, { cookie: `user=${user}` });

  describe('of a client that asks by sequence number or version', () => {
    it('a small gap is replayed from the number on', async () => {
      const ann = await client('ann');
      await ann.call('feed/add', 'rows', 5, 'known ');
      const { response } = await ann.stream('feed/rows');
      const { seq } = response;
      await ann.drop();
      const bob = await client('bob');
      await bob.call('feed/add', 'rows', 4, 'missed ');
      const again = await client('ann');
      const resumed = (await again.stream('feed/rows', [], { seq })).response;
      assert.equal(resumed.replay, true);
      assert.deepEqual(
        resumed.data.map((event) => [event.seq, event.event, event.data.text]),
        [0, 1, 2, 3].map((n) => [seq + n + 1, 'created', `missed ${n}`]),
      );
      assert.equal(resumed.seq, seq + 4);
    });

    it('where nothing was missed nothing is replayed', async () => {
      const ann = await client('ann');
      const { seq } = (await ann.stream('feed/rows')).response;
      const again = await client('ann');
      const resumed = (await again.stream('feed/rows', [], { seq })).response;
      assert.deepEqual([resumed.replay, resumed.data, resumed.seq], [true, [], seq]);
    });

    it('a gap larger than the buffer brings the whole', async () => {
      const ann = await client('ann');
      const { seq } = (await ann.stream('feed/rows')).response;
      await ann.call('feed/add', 'rows', REPLAYED + 1, 'many ');
      const again = await client('ann');
      const resumed = (await again.stream('feed/rows', [], { seq })).response;
      assert.equal(resumed.replay, false);
      assert.deepEqual(resumed.data, await ann.call('feed/all', 'rows'));
      assert.equal(resumed.seq, seq + REPLAYED + 1);
    });

    it('a version brings the difference, or the word that there is none', async () => {
      const ann = await client('ann');
      await ann.call('feed/add', 'entries', 3, 'known ');
      const { version } = (await ann.stream('feed/entries')).response;
      const same = (await (await client('ann')).stream('feed/entries', [], { version })).response;
      assert.deepEqual([same.unchanged, same.data], [true, []]);
      await ann.call('feed/add', 'entries', REPLAYED + 10, 'new ');
      const changed = (await (await client('ann')).stream('feed/entries', [], { version })).response;
      assert.equal(changed.delta, true);
      assert.equal(changed.data.length, REPLAYED + 10);
      assert.equal(changed.version, version + REPLAYED + 10);
    });

    it('a version too far back brings the whole', async () => {
      const ann = await client('ann');
      const { version } = (await ann.stream('feed/entries')).response;
      await ann.call('feed/add', 'entries', DIFFED + 1, 'far ');
      const { response } = await (await client('ann')).stream('feed/entries', [], { version });
      assert.equal(response.delta, undefined);
      assert.deepEqual(response.data, await ann.call('feed/all', 'entries'));
    });
  });

  describe('of a page', needsBrowser, () => {
    /** Watches a stream. The connection can be cut by a server that does something in the meantime. */
    async function reader(user, stream, { interval = 1000, prepare } = {}) {
      const tab = await openFixture(browser, server, user, { query: `?interval=${interval}`, prepare });
      await tab.page.evaluate(async (name) => {
        const { stack } = window;
        stack.watch('list', stack.feed[name]);
        await stack.probe.enrol();
      }, stream);
      await tab.last('list', Boolean);
      const writer = await client('writer');
      return {
        ...tab,
        writer,
        answers: () => tab.frames.filter(({ topic, data }) => topic === '__rpc' && data.topic === stream),
        cut: async (...calls) => {
          const results = await writer.batch([['probe/end', user, RESTARTED], ...calls], {
            sequential: true,
          });
          assert.deepEqual([results.every(({ ok }) => ok), results[0].data], [true, 1]);
        },
        complete: async (size) => {
          const list = await tab.last('list', (rows) => rows?.length >= size);
          assert.deepEqual(list, await writer.call('feed/all', stream));
        },
        size: async () => (await writer.call('feed/all', stream)).length,
      };
    }

    it('a small gap is filled by what was missed', async () => {
      const page = await reader('page-ann', 'rows');
      const known = await page.size();
      await page.cut(['feed/add', 'rows', 7, 'cut ']);
      await page.complete(known + 7);
      const answer = page.answers().at(-1).data;
      assert.equal(answer.replay, true);
      assert.equal(answer.data.length, 7);
      assert.deepEqual(page.complaints, []);
    });

    it('a large gap is filled by the whole', async () => {
      const page = await reader('page-bob', 'rows');
      const known = await page.size();
      await page.cut(['feed/add', 'rows', REPLAYED + 20, 'cut ']);
      await page.complete(known + REPLAYED + 20);
      const answer = page.answers().at(-1).data;
      assert.equal(answer.replay, false);
      assert.equal(answer.data.length, known + REPLAYED + 20);
    });

    it('a stream with versions is told the difference', async () => {
      const page = await reader('page-cid', 'entries');
      const known = await page.size();
      await page.cut(['feed/add', 'entries', 9, 'cut ']);
      await page.complete(known + 9);
      assert.deepEqual([page.answers().at(-1).data.delta, page.answers().at(-1).data.data.length], [true, 9]);
    });

    // svelte-realtime's page receives live events again before its stream has asked for the missed ones, and
    // puts those after them: here the order on the wire counts.
    it('connections that are lost under steady updates lose none of them', async () => {
      const page = await reader('page-dan', 'rows', { interval: 10 });
      const known = await page.size();
      let sent = 0;
      for (let cut = 0; cut < 5; cut++) {
        const opened = await page.page.evaluate(() => window.stack.probe.enrol().then(() => true));
        assert.ok(opened);
        for (let n = 0; n < 20; n++) {
          await page.writer.call('feed/add', 'rows', 1, `steady ${cut} ${n} `);
          sent++;
          if (n === 10) await page.cut();
        }
        const list = await page.last('list', (rows) => rows.length >= known + sent);
        assert.deepEqual(
          list.toSorted((a, b) => a.id - b.id),
          await page.writer.call('feed/all', 'rows'),
        );
      }
      const live = page.frames
        .filter(({ topic, event }) => topic === 'rows' && event)
        .map(({ data }) => data.id);
      assert.deepEqual(
        live,
        live.toSorted((a, b) => a - b),
      );
      assert.equal(new Set(live).size, live.length);
      // The client warns of connections that repeatedly end soon, as they do here.
      assert.deepEqual(
        page.complaints.filter((text) => !/opened then closed/.test(text)),
        [],
      );
    });

    for (const signal of ['SIGTERM', 'SIGKILL']) {
      it(`no event is missed or repeated across a restart by ${signal}`, async () => {
        const page = await reader(`page-${signal.toLowerCase()}`, 'rows', { interval: 100 });
        const known = await page.size();
        await page.writer.call('feed/add', 'rows', 5, 'before ');
        await page.complete(known + 5);
        const told = page.answers().length;
        await server.restart({ signal });
        const writer = await client('writer');
        await writer.call('feed/add', 'rows', 5, 'after ');
        await until(() => page.answers().length > told, 'the page asks again');
        await writer.call('feed/add', 'rows', 5, 'live ');
        const list = await page.last('list', (rows) => rows.length >= known + 15);
        assert.deepEqual(list, await writer.call('feed/all', 'rows'));
        assert.deepEqual(
          list.map(({ id }) => id),
          Array.from({ length: known + 15 }, (_, n) => n + 1),
        );
        // The page may report that it could not connect while there was no server, and nothing else.
        const others = page.complaints.filter(
          (text) => !/ERR_CONNECTION_REFUSED|WebSocket connection/.test(text),
        );
        assert.deepEqual(others, []);
      });
    }

    it('comes back at once, then waits longer each time up to a limit, and anew after a success', async () => {
      const page = await reader('page-eve', 'rows', { interval: 20, prepare: recordAttempts });
      const attempts = () => page.page.evaluate(() => window.attempts);
      await page.page.evaluate(() => (window.attempts.length = 0));
      await page.cut();
      await until(async () => (await attempts()).length === 1, 'it came back');
      await page.complete(await page.size());
      const [first] = await attempts();

      await server.stop();
      const delays = await until(async () => {
        const list = (await attempts()).slice(1);
        return list.length > 5 && list.at(-1) === list.at(-2) && list;
      }, 'the limit is reached');
      assert.equal(delays[0], first);
      const growth = delays[1] / delays[0];
      assert.ok(growth > 1.4, `grows by ${growth}`);
      const limit = delays.at(-1);
      delays.forEach((delay, n) => {
        const expected = Math.min(first * growth ** n, limit);
        assert.ok(Math.abs(delay - expected) < 1, `${delay} ms is about ${expected}`);
      });

      await server.start();
      const writer = await client('writer');
      await page.last('status', (status) => status === 'open');
      await page.page.evaluate(() => window.stack.probe.enrol());
      const before = (await attempts()).length;
      await writer.call('probe/end', 'page-eve', RESTARTED);
      const again = await until(async () => (await attempts())[before], 'it came back');
      assert.equal(again, first);
    });

    it('a stream asks again as soon as the connection is back', async () => {
      const page = await reader('page-fay', 'rows', { interval: 500, prepare: recordAttempts });
      const told = page.answers().length;
      await page.cut();
      await until(() => page.answers().length > told, 'the stream asked again');
      const { timers, attempts } = await page.page.evaluate(() => {
        const { timers, attempts } = window;
        return { timers, attempts };
      });
      const after = timers.slice(timers.lastIndexOf(attempts.at(-1)) + 1);
      assert.ok(after[0] <= 100, `after ${attempts.at(-1)} ms for the connection: ${after} ms`);
    });

    it('a refusal for good is not tried again', newer, async () => {
      const page = await reader('page-gil', 'rows', { interval: 20, prepare: recordAttempts });
      await page.page.evaluate(() => (window.attempts.length = 0));
      await page.writer.call('probe/end', 'page-gil', TERMINAL);
      await page.last('status', (status) => status === 'failed');
      assert.deepEqual(await page.page.evaluate(() => window.attempts), []);
    });

    it('a tab that is looked at again does not wait', newer, async () => {
      const page = await reader('page-hal', 'rows', { interval: 3600000 });
      await page.cut();
      await page.last('status', (status) => status === 'disconnected');
      await page.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      await page.last('status', (status) => status === 'open');
      await page.complete(await page.size());
    });
  });
});

/**
 * In the page, `attempts` has the delay that the client asked for before each of its connections, without
 * randomness.
 */
function recordAttempts() {
  Math.random = () => 0;
  window.attempts = [];
  window.timers = [];
  let current;
  const setTimer = window.setTimeout;
  window.setTimeout = (run, delay, ...rest) => {
    window.timers.push(delay);
    return setTimer(
      (...args) => {
        current = delay;
        run(...args);
        current = undefined;
      },
      delay,
      ...rest,
    );
  };
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      if (current !== undefined) window.attempts.push(current);
    }
  };
}
