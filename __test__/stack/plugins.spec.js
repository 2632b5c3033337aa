'use strict';

// Each plugin of the adapter in a test of its own: from the page through the plugin's client where it has
// one, otherwise by raw messages.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { since } = require('./support/build.js');
const { Client } = require('./support/client.js');
const { openFixture } = require('./support/fixture.js');
const { suite } = require('./support/suite.js');

/** Adapter 0.3's group does not tell the others that a member's connection has ended. */
const toldWhenClosed = since('svelte-adapter-uws', '0.4.0');

describe('plugins', { timeout: 300000 }, () => {
  const t = suite();
  let server;
  let browser;

  before(async () => {
    server = await start(t, 'fixture');
    if (!needsBrowser.skip) browser = await openBrowser(t);
  });

  const client = (user) => Client.open(server, { cookie: `user=${user}` });

  const tab = (user) => openFixture(browser, server, user);

  describe('replay', () => {
    it('brings a client what it missed since a number, in order, once', async () => {
      const ann = await client('replay-ann');
      await ann.call('feed/add', 'missed', 10, 'm');
      ann.send({ type: 'replay', topic: 'missed', since: 7 });
      const list = await ann
        .topic('__replay:missed')
        .when((all) => all.some(({ event }) => event === 'end') && all);
      assert.deepEqual(
        list.map(({ event, data }) => [event, data?.seq, data?.data?.text]),
        [
          ['msg', 8, 'm7'],
          ['msg', 9, 'm8'],
          ['msg', 10, 'm9'],
          ['end', undefined, undefined],
        ],
      );
    });

    it('closes the gap between the page and its connection', needsBrowser, async () => {
      const ann = await client('replay-ann');
      await ann.call('feed/add', 'gap', 5, 'g');
      const { page, seen, complaints } = await tab('replay-bob');
      // The page was rendered when there were three.
      await page.evaluate(() => {
        const { stack } = window;
        stack.watch('gap', stack.onReplay('gap', { since: 3 }));
      });
      await seen('gap', (list) => texts(list).length === 2);
      await ann.call('feed/add', 'gap', 3, 'live');
      const list = await seen('gap', (values) => texts(values).length === 5);
      assert.deepEqual(texts(list), ['g3', 'g4', 'live0', 'live1', 'live2']);
      assert.deepEqual(complaints, []);
    });
  });

  describe('presence', () => {
    it('lists who is there, somebody with two tabs once', needsBrowser, async () => {
      const topic = 'present-room';
      const ann = await tab('presence-ann');
      const watch = () => {
        const { stack } = window;
        stack.watch('topic', stack.adapter.on('present-room'));
        stack.watch('people', stack.presence('present-room'));
      };
      await ann.page.evaluate(watch);
      await ann.last('people', (people) => ids(people) === 'presence-ann');
      const bob = await tab('presence-bob');
      const again = await tab(bob.context);
      for (const { page } of [bob, again]) await page.evaluate(watch);
      for (const each of [ann, bob, again]) {
        await each.last('people', (people) => ids(people) === 'presence-ann,presence-bob');
      }
      const raw = await client('presence-cid');
      const { count, list } = await raw.call('plugins/present', topic);
      assert.equal(count, 2);
      assert.deepEqual(list.map(({ name }) => name).sort(), ['PRESENCE-ANN', 'PRESENCE-BOB']);
      await bob.page.close();
      await raw.subscribe(topic);
      await ann.last('people', (people) => ids(people) === 'presence-ann,presence-bob,presence-cid');
      await again.page.close();
      await ann.last('people', (people) => ids(people) === 'presence-ann,presence-cid');
      await raw.drop();
      await ann.last('people', (people) => ids(people) === 'presence-ann');
      assert.deepEqual(ann.complaints, []);
    });
  });

  describe('cursor', () => {
    it('shows where others point, and no more once they are gone', needsBrowser, async () => {
      const ann = await tab('cursor-ann');
      const bob = await client('cursor-bob');
      await bob.call('plugins/moveCursor', 'board', { x: 1, y: 2 });
      await ann.page.evaluate(async () => {
        const { stack } = window;
        await stack.plugins.watchCursors('board');
        stack.watch('cursors', {
          subscribe: (run) => stack.cursor('board').subscribe((map) => run([...map.values()])),
        });
      });
      await bob.call('plugins/moveCursor', 'board', { x: 3, y: 4 });
      const [cursor] = await ann.last('cursors', (list) => list.length === 1 && list[0].data.x === 3);
      assert.deepEqual(cursor, { user: { id: 'cursor-bob', name: 'CURSOR-BOB' }, data: { x: 3, y: 4 } });
      await bob.close();
      await ann.last('cursors', (list) => list.length === 0);
      assert.deepEqual(ann.complaints, []);
    });

    it('sends the first and the last of many moves, and few between', async () => {
      const [ann, bob] = [await client('cursor-ann'), await client('cursor-bob')];
      await ann.call('plugins/watchCursors', 'quick');
      await bob.call('plugins/moveCursors', 'quick', 1000);
      const list = await ann
        .topic('__cursor:quick')
        .when((all) => all.some(({ data }) => data.data?.x === 1000) && all);
      assert.equal(list[0].data.data.x, 1);
      assert.ok(list.length < 100, `${list.length} updates`);
      assert.ok(list.every(({ data }, at) => at === 0 || data.data.x > list[at - 1].data.data.x));
    });
  });

  describe('groups', () => {
    it('let in as many as fit, speak to a role, and end for all', needsBrowser, async () => {
      const boss = await tab('group-boss');
      await boss.page.evaluate(async () => {
        const { stack } = window;
        const crew = stack.group('crew');
        stack.watch('members', crew.members);
        stack.watch('said', crew);
        if (!(await stack.plugins.join('admin'))) throw new Error('no place for the first');
      });
      const [ann, bob, cid] = await Promise.all(['group-ann', 'group-bob', 'group-cid'].map(client));
      assert.equal(await ann.call('plugins/join', 'member'), true);
      assert.equal(await bob.call('plugins/join', 'viewer'), true);
      assert.equal(await cid.call('plugins/join', 'member'), false);
      await boss.last('members', (list) => roles(list) === 'admin,member,viewer');
      assert.deepEqual((await cid.call('plugins/crew')).sort(), ['admin', 'member', 'viewer']);

      await cid.call('plugins/tell', 'all', 1);
      await cid.call('plugins/tell', 'admins', 2, 'admin');
      await cid.call('plugins/tell', 'end', 3);
      const events = (log) =>
        log.map(({ event }) => event).filter((event) => /^(all|admins|end)$/.test(event));
      for (const member of [ann, bob]) {
        const log = await member
          .topic('__group:crew')
          .when((all) => all.some(({ event }) => event === 'end') && all);
        assert.deepEqual(events(log), ['all', 'end']);
      }
      const said = await boss.seen('said', (list) => list.some((value) => value?.event === 'end'));
      assert.deepEqual(events(said.filter(Boolean)), ['all', 'admins', 'end']);
      assert.equal(cid.topic('__group:crew').length, 0);

      await ann.call('plugins/leave');
      await boss.last('members', (list) => roles(list) === 'admin,viewer');
      assert.equal(await cid.call('plugins/join', 'member'), true);
      await bob.close();
      await until(
        async () => (await cid.call('plugins/crew')).sort().join() === 'admin,member',
        'bob is out',
      );
      if (toldWhenClosed) await boss.last('members', (list) => roles(list) === 'admin,member');

      await cid.call('plugins/disband');
      await cid.topic('__group:crew').when((all) => all.some(({ event }) => event === 'close'));
      assert.deepEqual(await cid.call('plugins/crew'), []);
      assert.equal(await ann.call('plugins/join', 'member'), false);
      assert.deepEqual(boss.complaints, []);
    });
  });

  describe('channels', () => {
    it('carry their events as declared, and nothing else', needsBrowser, async () => {
      const { page, seen, complaints } = await tab('channel-ann');
      await page.evaluate(() => {
        const { stack } = window;
        const orders = stack.channel('orders', ['created', 'cancelled']);
        stack.watch('orders', orders.on());
        stack.watch('created', orders.on('created'));
        let said;
        try {
          orders.on('craeted');
        } catch (error) {
          said = error.message;
        }
        if (!/craeted/.test(said)) throw new Error('an event that was not declared is listened to');
      });
      const bob = await client('channel-bob');
      await until(() => bob.call('probe/subscribers', 'orders'), 'the page listens');
      await assert.rejects(bob.call('plugins/order', 'craeted', {}), /unknown event/);
      await assert.rejects(bob.call('plugins/order', 'created', { total: 'much' }), /total must be a number/);
      await bob.call('plugins/order', 'created', { total: 5, secret: 'inner' });
      await bob.call('plugins/order', 'cancelled', { id: 1 });
      const list = await seen('orders', (values) => values.filter(Boolean).length === 2);
      assert.deepEqual(
        list.filter(Boolean).map(({ event, data }) => [event, data]),
        [
          ['created', { total: 5 }],
          ['cancelled', { id: 1 }],
        ],
      );
      const created = await seen('created', (values) => values.filter(Boolean).length === 1);
      assert.deepEqual(created.filter(Boolean)[0].data, { total: 5 });
      assert.deepEqual(complaints, []);
    });
  });

  describe('rate limit', () => {
    it('counts by user, and can ban and pardon', async () => {
      const [ann, tab2, bob] = await Promise.all(['limit-ann', 'limit-ann', 'limit-bob'].map(client));
      const consume = async (who, cost = 1) => (await who.call('plugins/consume', cost)).allowed;
      for (let n = 0; n < 3; n++) assert.equal(await consume(ann), true);
      assert.deepEqual(await tab2.call('plugins/consume', 1), { allowed: true, remaining: 1 });
      assert.equal(await consume(tab2, 2), false);
      assert.equal(await consume(ann), true);
      assert.deepEqual(await ann.call('plugins/consume', 1), { allowed: false, remaining: 0 });
      assert.equal(await consume(bob), true);
      await bob.call('plugins/pardon', 'limit-ann', 'reset');
      assert.equal(await consume(ann), true);
      await bob.call('plugins/pardon', 'limit-bob', 'ban');
      assert.equal(await consume(bob), false);
      await bob.call('plugins/pardon', 'limit-bob', 'unban');
      assert.equal(await consume(bob), true);
    });

    it("of svelte-realtime's functions refuses with a code", async () => {
      const [ann, bob] = [await client('scarce-ann'), await client('scarce-bob')];
      for (let n = 0; n < 3; n++) assert.equal(await ann.call('limits/scarce', n), n);
      const { ok, code } = await ann.ask('limits/scarce', [3]);
      assert.deepEqual([ok, code], [false, 'RATE_LIMITED']);
      assert.equal(await bob.call('limits/scarce', 'mine'), 'mine');
    });
  });

  describe('throttle', () => {
    const values = (log) => log.map(({ data }) => data);

    it('sends the first at once and of the rest the last', async () => {
      const ann = await client('throttle-ann');
      await ann.subscribe('thin');
      await ann.call('plugins/squeeze', 'throttle', 'held', 'thin', 100);
      assert.deepEqual(values(ann.topic('thin')), [1]);
      await ann.call('plugins/flush', 'throttle', 'thin');
      assert.deepEqual(values(ann.topic('thin')), [1, 100]);
      await ann.call('plugins/squeeze', 'throttle', 'held', 'thin', 7);
      await ann.call('plugins/cancel', 'throttle', 'thin');
      await ann.call('plugins/flush', 'throttle', 'thin');
      assert.deepEqual(values(ann.topic('thin')), [1, 100, 1]);
    });

    for (const [name, call] of [
      ['by time', (who, topic) => who.call('plugins/squeeze', 'throttle', 'quick', topic, 100)],
      ["of svelte-realtime's context", (who, topic) => who.call('limits/thin', topic, 100)],
    ]) {
      it(`${name}: the last comes by itself`, async () => {
        const ann = await client('throttle-ann');
        const topic = `thin ${name}`;
        await ann.subscribe(topic);
        await call(ann, topic);
        const log = await ann.topic(topic).when((all) => all.some(({ data }) => data === 100) && all);
        assert.deepEqual(values(log), [1, 100]);
      });
    }
  });

  describe('debounce', () => {
    const values = (log) => log.map(({ data }) => data);

    it('sends the last once it is quiet', async () => {
      const ann = await client('debounce-ann');
      await ann.subscribe('calm');
      await ann.call('plugins/squeeze', 'debounce', 'held', 'calm', 100);
      await ann.settled();
      assert.deepEqual(values(ann.topic('calm')), []);
      await ann.call('plugins/flush', 'debounce', 'calm');
      assert.deepEqual(values(ann.topic('calm')), [100]);
    });

    for (const [name, call] of [
      ['by time', (who, topic) => who.call('plugins/squeeze', 'debounce', 'quick', topic, 100)],
      ["of svelte-realtime's context", (who, topic) => who.call('limits/quiet', topic, 100)],
    ]) {
      it(`${name}: only the last comes`, async () => {
        const ann = await client('debounce-ann');
        const topic = `calm ${name}`;
        await ann.subscribe(topic);
        await call(ann, topic);
        await ann.topic(topic).count(1);
        await ann.settled();
        assert.deepEqual(values(ann.topic(topic)), [100]);
      });
    }
  });

  describe('queue', () => {
    it('runs the tasks of a key one after the other, those of others beside, and refuses too many', async () => {
      const ann = await client('queue-ann');
      const done = [];
      const push = (key, name) =>
        ann.ask('plugins/enqueue', [key, name]).then(({ ok, data, error }) => done.push(ok ? data : error));
      const finish = (name) => until(() => ann.call('plugins/finish', name), `${name} runs`);
      for (const name of ['a1', 'a2', 'a3']) push('a', name);
      push('b', 'b1');
      await finish('b1');
      push('a', 'a4');
      await until(() => done.length === 2, 'one is done and one refused');
      assert.deepEqual(done, ['b1', 'queue "a": maxSize exceeded']);
      assert.equal(await ann.call('plugins/waiting', 'a'), 3);
      assert.equal(await ann.call('plugins/finish', 'a2'), false);
      const drained = ann.call('plugins/drained', 'a');
      for (const name of ['a1', 'a2', 'a3']) await finish(name);
      assert.equal(await drained, 'drained');
      assert.deepEqual(done.slice(2), ['a1', 'a2', 'a3']);
      const log = await ann.call('probe/log', 'a');
      assert.deepEqual(
        log.map(({ hook, detail }) => `${hook} ${detail ?? ''}`.trim()),
        ['task begins a1', 'queue drop', 'task ends a1'].concat([
          'task begins a2',
          'task ends a2',
          'task begins a3',
          'task ends a3',
        ]),
      );
    });
  });

  describe('middleware', () => {
    it('runs in order until one does not go on', async () => {
      const [ann, bob] = [await client('middle-ann'), await client('middle-bob')];
      await bob.subscribe('guarded');
      for (const event of ['first', 'forbidden', 'second']) {
        ann.send({ type: 'guarded', topic: 'guarded', event, data: { from: 'ann' } });
      }
      await ann.settled();
      const log = await bob.topic('guarded').count(2);
      assert.deepEqual(
        log.map(({ event, data }) => [event, data]),
        ['first', 'second'].map((event) => [event, { from: 'ann', path: ['first', event, 'last'] }]),
      );
      const ended = (await ann.call('probe/log', 'middle-ann')).filter(
        ({ hook }) => hook === 'middleware done',
      );
      assert.deepEqual(ended.map(({ detail }) => detail.join(' ')).sort(), [
        'first first last',
        'first forbidden',
        'first second last',
      ]);
    });
  });
});

const texts = (list) => list.filter((value) => value?.data?.text).map(({ data }) => data.text);
const ids = (people) =>
  people
    .map(({ id }) => id)
    .sort()
    .join();
const roles = (members) =>
  members
    .map(({ role }) => role)
    .sort()
    .join();
