'use strict';

// examples/realtime as people use it: two of them side by side in Chromium, on a phone, and without JavaScript.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start, until } = require('./support/app.js');
const { needsBrowser, openBrowser, openTab, picture, visit } = require('./support/browser.js');
const { suite } = require('./support/suite.js');

const ANN = '000000000000000a';
const BOB = '00001000000000bb';
const PAGES = ['/', '/rooms/lobby', '/todos', '/stage', '/jobs', '/chart', '/about'];
/** The page that is rendered on the server and never comes alive. */
const STILL = '/about';
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

describe('the app', { timeout: 300000, ...needsBrowser }, () => {
  const t = suite();
  let server;
  let browser;

  before(async () => {
    server = await start(t, 'realtime');
    browser = await openBrowser(t);
  });

  /** A tab whose page has come alive: it is connected. */
  async function enter(visitor, target, options = {}) {
    const { role, ...rest } = options;
    const cookies = { visitor, ...(role ? { role } : {}) };
    const owner = typeof visitor === 'string' ? await visit(browser, server, { cookies, ...rest }) : visitor;
    const tab = await openTab(owner, server, target);
    const at = (id) => tab.page.getByTestId(id);
    if (target !== STILL) {
      await tab.page.locator('[data-testid=connection][data-state=open]').waitFor({ state: 'attached' });
    }
    return { ...tab, at };
  }

  const both = async (target, options = {}) => [
    await enter(ANN, target, options),
    await enter(BOB, target, options),
  ];
  const quiet = (...tabs) =>
    assert.deepEqual(
      tabs.flatMap(({ complaints }) => complaints),
      [],
    );

  it('what one says in a room, the other hears at once', async () => {
    const [ann, bob] = await both('/rooms/lobby');
    await ann.at('chat-input').fill('Hello, who is there?');
    await bob.page.getByTestId('typing').getByText('is writing').waitFor();
    await ann.at('chat-send').click();
    await bob.at('chat-input').fill('Only me');
    await bob.page.getByText('Hello, who is there?', { exact: true }).waitFor();
    await bob.at('chat-send').click();
    await ann.page.getByText('Only me', { exact: true }).waitFor();
    for (const { page, at } of [ann, bob]) {
      await until(
        async () => (await page.locator('[data-testid=message][data-pending]').count()) === 0,
        'sent',
      );
      assert.deepEqual(await at('message-text').allTextContents(), ['Hello, who is there?', 'Only me']);
    }
    await picture(ann.page, 'stack-room');
    quiet(ann, bob);
  });

  it('somebody with two tabs is there once, and gone with the last', async () => {
    const ann = await enter(ANN, '/rooms/garden');
    const bob = await enter(BOB, '/rooms/garden');
    const again = await enter(bob.context, '/rooms/garden');
    const here = (tab, number) =>
      until(
        async () => (await tab.at('people-count').textContent()) === String(number),
        `${number} are here`,
      );
    for (const tab of [ann, bob, again]) await here(tab, 2);
    assert.equal(await ann.at('person').count(), 2);
    await bob.page.close();
    await again.page.reload();
    await here(again, 2);
    await here(ann, 2);
    await again.page.close();
    await here(ann, 1);
    quiet(ann, bob, again);
  });

  it('a pointer in the room is seen by the other', async () => {
    const [ann, bob] = await both('/rooms/studio');
    await ann.at('cursor-area').hover({ position: { x: 40, y: 40 } });
    const cursor = bob.at('cursor').first();
    await cursor.waitFor();
    const before = await cursor.boundingBox();
    await until(async () => {
      await ann.at('cursor-area').hover({ position: { x: 120, y: 80 } });
      const now = await cursor.boundingBox();
      return now && (now.x !== before.x || now.y !== before.y);
    }, 'the cursor moves');
    await ann.page.close();
    await until(async () => (await bob.at('cursor').count()) === 0, 'the cursor is gone');
    quiet(ann, bob);
  });

  it('todos are created, done and removed for all', async () => {
    const [ann, bob] = await both('/todos');
    await ann.at('todo-input').fill('Write a test');
    await ann.at('todo-add').click();
    const todo = bob.at('todo').filter({ hasText: 'Write a test' });
    await todo.waitFor();
    await todo.getByTestId('todo-toggle').click();
    await ann.page
      .locator('[data-testid=todo][data-done=true]')
      .filter({ hasText: 'Write a test' })
      .waitFor();
    await todo.getByTestId('todo-remove').click();
    await until(async () => (await ann.page.getByText('Write a test').count()) === 0, 'the todo is gone');
    quiet(ann, bob);
  });

  it('on the stage a role speaks to those that may hear it', async () => {
    const admin = await enter(ANN, '/stage', { role: 'admin' });
    const viewer = await enter(BOB, '/stage', { role: 'viewer' });
    assert.equal(await viewer.at('role').textContent(), 'viewer');
    const speak = async (audience, words) => {
      await admin.at('stage-audience').selectOption(audience);
      await admin.page.locator('[name=words]').fill(words);
      await admin.at('stage-send').click();
      await admin.page.getByText(words, { exact: true }).waitFor();
    };
    await speak('admins', 'Among us');
    await speak('everyone', 'To all');
    await viewer.page.getByText('To all', { exact: true }).waitFor();
    assert.equal(await viewer.page.getByText('Among us').count(), 0);
    quiet(admin, viewer);
  });

  it('a job goes through the queue, and both see how far it is', async () => {
    const [ann, bob] = await both('/jobs');
    await ann.page.locator('[name=job]').fill('Sweep the floor');
    await ann.at('job-start').click();
    const job = bob.at('job').filter({ hasText: 'Sweep the floor' });
    await job.and(bob.page.locator('[data-state=running]')).waitFor();
    await job.and(bob.page.locator('[data-percent="100"]')).waitFor();
    quiet(ann, bob);
  });

  it('the chart is sent less often than readings are taken', async () => {
    const ann = await enter(ANN, '/chart');
    const number = async (id) => Number(await ann.at(id).textContent());
    await until(async () => (await number('chart-sent')) > 5, 'readings come');
    assert.ok((await number('chart-taken')) > (await number('chart-sent')) * 2);
    quiet(ann);
  });

  it('a restart of the server is seen and survived', async () => {
    const ann = await enter(ANN, '/rooms/lobby');
    await server.stop();
    await ann.page.locator('[data-testid=connection]:not([data-state=open])').waitFor();
    await server.start();
    await ann.page.locator('[data-testid=connection][data-state=open]').waitFor();
    await ann.at('chat-input').fill('Back again');
    await ann.at('chat-send').click();
    const message = ann.at('message').filter({ hasText: 'Back again' });
    await message.and(ann.page.locator(':not([data-pending])')).waitFor();
  });

  it('every page is whole without JavaScript, and the same when it has come alive', async () => {
    const still = await visit(browser, server, { cookies: { visitor: BOB }, javaScriptEnabled: false });
    const ann = await enter(ANN, '/todos');
    await ann.at('todo-input').fill('Seen without JavaScript');
    await ann.at('todo-add').click();
    await ann.at('todo').filter({ hasText: 'Seen without JavaScript' }).waitFor();
    for (const target of PAGES) {
      const plain = await openTab(still, server, target);
      const alive = await enter(BOB, target);
      const headings = (tab) => tab.page.locator('h1, h2').allTextContents();
      assert.ok((await headings(plain)).length > 0, target);
      assert.deepEqual(await headings(plain), await headings(alive), target);
      if (target === '/todos') {
        await plain.page.getByTestId('todo').filter({ hasText: 'Seen without JavaScript' }).waitFor();
        await plain.page.getByTestId('todo-input').fill('Added without JavaScript');
        await plain.page.getByTestId('todo-add').click();
        await plain.page.getByTestId('todo').filter({ hasText: 'Added without JavaScript' }).waitFor();
        await ann.at('todo').filter({ hasText: 'Added without JavaScript' }).waitFor();
      }
      quiet(plain, alive);
      await plain.page.close();
      await alive.context.close();
    }
  });

  it('every page fits a phone', async () => {
    for (const target of PAGES) {
      const phone = await enter(ANN, target, PHONE);
      const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(wide <= 0, `${target} is ${wide} pixels too wide`);
      await picture(phone.page, `stack-phone${target.replaceAll('/', '-')}`);
      quiet(phone);
      await phone.context.close();
    }
  });
});
