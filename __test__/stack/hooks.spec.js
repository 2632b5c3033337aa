'use strict';

// The hooks of a connection's life, as hooks.ws of the fixture records them.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { since } = require('./support/build.js');
const { Client, Denied, Refused } = require('./support/client.js');
const { suite } = require('./support/suite.js');

const newer = since('svelte-adapter-uws', '0.4.0');

describe('lifecycle hooks', { timeout: 120000 }, () => {
  const t = suite();
  let server;

  before(async () => {
    server = await start(t, 'fixture');
  });

  const seen = async (user) => (await fetch(`${server.url}/log?user=${user}`)).json();
  const names = (list) => list.map(({ hook }) => hook);

  it('upgrade knows who comes by the cookie', async () => {
    const client = await Client.open(server, { cookie: 'theme=dark; user=ann' });
    assert.deepEqual(await client.call('probe/whoami'), { id: 'ann', name: 'ANN' });
  });

  it('upgrade refuses with 401', async () => {
    for (const cookie of [undefined, 'theme=dark', 'user=banned']) {
      await assert.rejects(Client.open(server, { cookie }), (error) => {
        assert.ok(error instanceof Refused, String(error));
        assert.equal(error.status, 401);
        return true;
      });
    }
    assert.deepEqual(names(await seen('banned')), ['upgrade']);
  });

  it('an upgrade from another origin is refused with 403', async () => {
    await assert.rejects(
      Client.open(server, { cookie: 'user=eve', origin: 'https://elsewhere.example' }),
      (error) => {
        assert.equal(error.status, 403);
        return true;
      },
    );
    assert.deepEqual(await seen('eve'), []);
  });

  it('each is seen once and in order', async () => {
    const client = await Client.open(server, { cookie: 'user=lou' });
    await client.subscribe('news');
    await client.call('probe/ping', 1);
    await client.unsubscribe('news');
    await client.close(4321);
    const log = await until(async () => {
      const list = await seen('lou');
      return names(list).includes('close') && list;
    }, 'the close hook ran');
    // Every call is a message; the client's own calls that wait for the server are omitted.
    const order = names(log).filter((name, index, all) => name !== 'message' || all[index - 1] !== 'message');
    const expected = ['upgrade', 'open', 'subscribe', 'message', 'unsubscribe', 'message', 'close'];
    // Adapter 0.3 calls no hook when a topic is left.
    assert.deepEqual(order, newer ? expected : ['upgrade', 'open', 'subscribe', 'message', 'close']);
    for (const once of ['upgrade', 'open', 'subscribe', 'close']) {
      assert.equal(names(log).filter((name) => name === once).length, 1, once);
    }
    assert.equal(log.find(({ hook }) => hook === 'subscribe').detail, 'news');
    assert.equal(log.find(({ hook }) => hook === 'close').detail, 4321);
  });

  it('a message hook has the bytes that were sent', async () => {
    const client = await Client.open(server, { cookie: 'user=max' });
    for (const size of [1, 125, 126, 4000, 60000]) {
      client.send(JSON.stringify({ type: 'note', data: 'z'.repeat(size) }));
    }
    await client.settled();
    const notes = (await seen('max')).filter(({ hook }) => hook === 'note');
    assert.deepEqual(
      notes.map(({ detail }) => detail.length),
      [1, 125, 126, 4000, 60000],
    );
  });

  it('a denied topic is not subscribed to, and the rest goes on', async () => {
    const client = await Client.open(server, { cookie: 'user=mia' });
    const denied = client.subscribe('secret plans');
    if (newer)
      await assert.rejects(denied, (error) => error instanceof Denied && error.reason === 'FORBIDDEN');
    else await denied;
    await client.subscribe('open plans');
    assert.equal(await client.call('probe/subscribers', 'secret plans'), 0);
    assert.equal(await client.call('probe/subscribers', 'open plans'), 1);
    await client.call('probe/publish', 'secret plans', 'leak', 1);
    await client.call('probe/publish', 'open plans', 'told', 2);
    await client.topic('open plans').count(1);
    assert.equal(client.topic('secret plans').length, 0);
  });

  it('no events arrive for a topic that was left', async () => {
    const client = await Client.open(server, { cookie: 'user=noa' });
    await client.subscribe('weather');
    await client.call('probe/publish', 'weather', 'rain', 1);
    await client.topic('weather').count(1);
    await client.unsubscribe('weather');
    assert.equal(await client.call('probe/subscribers', 'weather'), 0);
    await client.call('probe/publish', 'weather', 'snow', 2);
    await client.settled();
    assert.equal(client.topic('weather').length, 1);
  });

  it('close runs once, however the connection ends', async () => {
    const ends = {
      ola: (client) => client.close(1000),
      pia: (client) => client.drop(),
      quin: (client) => client.socket.send('x'.repeat(70000)),
    };
    for (const [user, end] of Object.entries(ends)) {
      const client = await Client.open(server, { cookie: `user=${user}` });
      await client.subscribe('farewells');
      end(client);
      await client.ended;
      await until(async () => names(await seen(user)).includes('close'), `${user} is gone`);
    }
    const last = await Client.open(server, { cookie: 'user=last' });
    assert.equal(await last.call('probe/subscribers', 'farewells'), 0);
    for (const user of Object.keys(ends)) {
      assert.equal(names(await seen(user)).filter((name) => name === 'close').length, 1, user);
    }
  });

  it('a connection lost while it is being opened leaves nothing behind', async () => {
    const client = await Client.open(server, { cookie: 'user=count' });
    const before = (await seen('count')).find(({ hook }) => hook === 'open').detail;
    const gone = Array.from({ length: 20 }, async () => {
      const passing = await Client.open(server, { cookie: 'user=passing' });
      await passing.drop();
    });
    await Promise.all(gone);
    await until(async () => {
      const log = names(await seen('passing'));
      const count = (name) => log.filter((each) => each === name).length;
      return count('open') === 20 && count('close') === 20;
    }, '20 came and went');
    await client.close();
    const again = await Client.open(server, { cookie: 'user=count2' });
    await again.settled();
    assert.equal((await seen('count2')).find(({ hook }) => hook === 'open').detail, before);
  });
});
