'use strict';

// Pages that use `$live/*` are complete without JavaScript, and become live with it.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start } = require('./support/app.js');
const { needsBrowser, openBrowser, openTab, picture, visit } = require('./support/browser.js');
const { Client } = require('./support/client.js');
const { suite } = require('./support/suite.js');

describe('SSR: fixture', { timeout: 120000 }, () => {
  const t = suite();
  let server;
  let browser;
  let writer;

  before(async () => {
    server = await start(t, 'fixture');
    writer = await Client.open(server, { cookie: 'user=writer' });
    await writer.call('feed/add', 'entries', 3, 'entry ');
    if (!needsBrowser.skip) browser = await openBrowser(t);
  });

  const entries = (page) => page.getByTestId('entries').locator('li');

  it('the server renders what a stream begins with', async () => {
    const html = await (await fetch(`${server.url}/ssr`)).text();
    for (const text of ['entry 0', 'entry 1', 'entry 2']) assert.ok(html.includes(`<li>${text}</li>`), text);
  });

  it('a page without JavaScript shows it and connects nowhere', needsBrowser, async () => {
    const { page } = await openTab(browser, server, '/ssr', { javaScriptEnabled: false });
    assert.deepEqual(await entries(page).allTextContents(), ['entry 0', 'entry 1', 'entry 2']);
  });

  it('a page with JavaScript takes it over and goes on live', needsBrowser, async () => {
    const cookies = { user: 'hydrating' };
    const { page, complaints } = await openTab(browser, server, '/ssr', { cookies });
    const other = await openTab(browser, server, '/ssr', { cookies: { user: 'other' } });
    const button = page.getByTestId('more');
    await button.click();
    await page.getByText('Clicked 1', { exact: true }).waitFor();
    await page.getByText('clicked 0', { exact: true }).waitFor();
    await other.page.getByText('clicked 0', { exact: true }).waitFor();
    const shown = ['entry 0', 'entry 1', 'entry 2', 'clicked 0'];
    for (const each of [page, other.page]) assert.deepEqual(await entries(each).allTextContents(), shown);
    await writer.call('feed/add', 'entries', 1, 'live ');
    for (const each of [page, other.page]) await each.getByText('live 0', { exact: true }).waitFor();
    assert.deepEqual([...complaints, ...other.complaints], []);
    await picture(page, 'stack-ssr');
  });
});

describe('SSR: realtime', { timeout: 300000, ...needsBrowser }, () => {
  const t = suite();
  const cookies = { visitor: '1b64f7a2c0de0001' };
  let server;
  let browser;

  before(async () => {
    server = await start(t, 'realtime');
    browser = await openBrowser(t);
    const todos = await Client.open(server, { cookie: `visitor=${cookies.visitor}` });
    await todos.call('todos/addTodo', 'todo-of-the-test', 'seen without JavaScript');
    await todos.call('rooms/say', 'lobby', 'message-of-the-test', 'said without JavaScript');
  });

  /** The content of a page: its headings, and the rows of its lists that do not change by themselves. */
  const content = async (page) =>
    page.locator('h1, h2, [data-testid=todo-text], [data-testid=message-text]').allTextContents();

  for (const [target, text] of [
    ['/', undefined],
    ['/rooms/lobby', 'said without JavaScript'],
    ['/todos', 'seen without JavaScript'],
    ['/stage', undefined],
    ['/jobs', undefined],
    ['/chart', undefined],
  ]) {
    it(`${target} is whole without JavaScript, and the same when it has come alive`, async () => {
      const still = await visit(browser, server, { cookies, javaScriptEnabled: false });
      const plain = await openTab(still, server, target);
      const first = await content(plain.page);
      assert.ok(first.length > 0);
      if (text) assert.ok(first.includes(text), first.join());
      const alive = await openTab(browser, server, target, { cookies });
      await alive.page.locator('[data-testid=connection][data-state=open]').waitFor({ state: 'attached' });
      // The visitor is in the room now; until then nobody was.
      const names = (list) => list.filter((entry) => !/^(Here now|Audience)/.test(entry));
      assert.deepEqual(names(await content(alive.page)), names(first));
      assert.deepEqual([...plain.complaints, ...alive.complaints], []);
    });
  }
});
