'use strict';

// The live room in Chromium: an action in one tab is seen in the other, by form actions, publish, presence
// and replay.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { Deployment, needsDescriptors } = require('./stack.js');
const { openBrowser, openTab, picture } = require('./tabs.js');

const it = (name, body, options) => test(name, { timeout: 60000, ...options }, body);

const PHONE = { viewport: { width: 390, height: 844 }, colorScheme: 'dark' };

async function twoTabs(t, options) {
  const deployment = new Deployment(t);
  const server = await deployment.start(options);
  const browser = await openBrowser(t);
  const tabs = [
    await openTab(browser, `${server.url}/live`),
    await openTab(browser, `${server.url}/live`, PHONE),
  ];
  await Promise.all(tabs.map(({ room }) => room.connected()));
  return { deployment, server, browser, tabs, rooms: tabs.map((tab) => tab.room) };
}

it('one tab says something and counts, the other sees it', async (t) => {
  const { tabs, rooms } = await twoTabs(t);
  const [a, b] = rooms;
  await a.say('Hello from the first tab');
  await Promise.all([a.hears('Hello from the first tab'), b.hears('Hello from the first tab')]);
  await b.say('Good to see you');
  await a.hears('Good to see you');
  for (let i = 0; i < 5; i++) await a.more();
  await b.less();
  await Promise.all([a.counts(4), b.counts(4)]);
  await picture(a.page, 'live');
  await picture(b.page, 'live-phone');
  for (const { complaints } of tabs) assert.deepEqual(complaints, []);
});

it('each tab knows who is here, and who has left', async (t) => {
  const { tabs, rooms } = await twoTabs(t);
  const names = await Promise.all(rooms.map((room) => room.people(2)));
  assert.deepEqual(
    names.map((list) => list.filter((name) => name.endsWith('(you)')).length),
    [1, 1],
  );
  await tabs[1].page.close();
  assert.match((await rooms[0].people(1))[0], /\(you\)$/);
});

it('a visitor with two tabs is one person, and leaves with the last one', async (t) => {
  const { tabs, rooms } = await twoTabs(t);
  const second = await tabs[1].page.context().newPage();
  await second.goto(tabs[1].page.url());
  await second.getByRole('status').filter({ hasText: 'Connected' }).waitFor();
  await rooms[0].people(2);
  await tabs[1].page.close();
  await rooms[0].say('still two?');
  await rooms[0].hears('still two?');
  await rooms[0].people(2);
  await second.close();
  await rooms[0].people(1);
});

it('many messages arrive in order, once each', async (t) => {
  const { server, browser, rooms } = await twoTabs(t);
  const said = Array.from({ length: 30 }, (_, i) => `message ${i}`);
  for (const text of said) (await rooms[0].say(text), await rooms[0].hears(text));
  await rooms[1].hears(said.at(-1));
  assert.deepEqual(await rooms[1].texts(), said);
  const late = await openTab(browser, `${server.url}/live`);
  assert.deepEqual(await late.room.texts(), said);
});

it('the server comes back: both tabs reconnect and are told what they missed', async (t) => {
  const { deployment, server, rooms } = await twoTabs(t);
  const [a, b] = rooms;
  await a.say('before the restart');
  await a.more();
  await Promise.all([b.hears('before the restart'), b.counts(1)]);
  assert.equal(await server.stop(), 0);
  await Promise.all([a.disconnected(), b.disconnected()]);
  sayMeanwhile(deployment.log, 'while nobody listened');
  await deployment.start({ port: server.port });
  await Promise.all([a.connected(), b.connected()]);
  await Promise.all([a.hears('while nobody listened'), b.hears('while nobody listened')]);
  await b.say('after the restart');
  await a.hears('after the restart');
  await a.more();
  await Promise.all([a.counts(2), b.counts(2)]);
  for (const room of rooms) {
    assert.deepEqual(await room.texts(), [
      'before the restart',
      'while nobody listened',
      'after the restart',
    ]);
    await room.people(2);
  }
});

it('a server that died is replaced: both tabs reconnect', async (t) => {
  const { deployment, server, rooms } = await twoTabs(t);
  await rooms[0].say('before the crash');
  await rooms[1].hears('before the crash');
  assert.equal(await server.stop('SIGKILL'), 'SIGKILL');
  await Promise.all(rooms.map((room) => room.disconnected()));
  await deployment.start({ port: server.port });
  await Promise.all(rooms.map((room) => room.connected()));
  await rooms[1].say('after the crash');
  await rooms[0].hears('after the crash');
});

it('works without JavaScript', async (t) => {
  const { server, browser, rooms } = await twoTabs(t);
  const plain = await openTab(browser, `${server.url}/live`, { javaScriptEnabled: false });
  await plain.room.say('a plain form');
  await plain.room.hears('a plain form');
  await plain.room.more();
  await plain.room.counts(1);
  await rooms[0].hears('a plain form');
  await rooms[0].counts(1);
});

it(
  'two workers share the room',
  async (t) => {
    const { server, rooms, browser } = await twoTabs(t, { workers: 2 });
    const more = await Promise.all([1, 2, 3, 4].map(() => openTab(browser, `${server.url}/live`)));
    const all = [...rooms, ...more.map((tab) => tab.room)];
    await Promise.all(all.map((room) => room.connected()));
    for (const [i, room] of all.entries()) {
      await room.say(`from tab ${i}`);
      await Promise.all(all.map((other) => other.hears(`from tab ${i}`)));
      await room.more();
      await Promise.all(all.map((other) => other.counts(i + 1)));
    }
  },
  needsDescriptors,
);

/** Appends to the room's file as another process would have. */
function sayMeanwhile(log, text) {
  const from = { id: 'elsewhere', name: 'Elsewhere', hue: 0 };
  fs.appendFileSync(
    log,
    JSON.stringify({ kind: 'message', from, text, at: Date.now(), ref: 'elsewhere' }) + '\n',
  );
}
