'use strict';

// The pages of the realtime example are checked by axe, with something in each: on a desktop and a narrow
// phone, one of them light and the other dark.

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');
const { start } = require('./support/app.js');
const { needsBrowser, openBrowser, picture } = require('./support/browser.js');
const { suite } = require('./support/suite.js');
const { addTodo, connect, say } = require('./support/visitors.js');
const { Visitor, live, shows } = require('./visitors.js');

const AXE = require.resolve('axe-core/axe.min.js');
const PATHS = [
  '/',
  '/rooms/lobby',
  '/todos',
  '/stage',
  '/jobs',
  '/chart',
  '/engine',
  '/about',
  '/rooms/no%20such%20room',
];
const SCREENS = {
  'a desktop': { viewport: { width: 1280, height: 800 } },
  'a narrow phone in the dark': {
    viewport: { width: 320, height: 640 },
    isMobile: true,
    hasTouch: true,
    colorScheme: 'dark',
  },
};

describe('accessibility', { timeout: 240000, concurrency: true, ...needsBrowser }, () => {
  const t = suite();
  let server;
  let browser;

  before(async () => {
    server = await start(t, 'realtime');
    browser = await openBrowser(t);
    // People of many colours have been here.
    for (let i = 0; i < 12; i++) {
      const client = await connect(server, `${'abcdefghijkl'[i]}${i * 7}visitor`);
      t.after(() => client.drop());
      await client.stream('rooms/people', ['lobby']);
      await client.stream('stage/audience');
      await say(client, 'lobby', `hello from ${i}`);
      if (i === 0) {
        await addTodo(client, 'something to do');
        const { id } = await addTodo(client, 'something done');
        await client.call('todos/setDone', id, true);
        await client.call('stage/speak', 'everyone', 'hear, hear');
        await client.call('jobs/startJob', 'a short one', 1);
        await client.call('jobs/startJob', 'a long one', 200);
        const { id: other } = await client.call('jobs/startJob', 'cancelled', 200);
        await client.call('jobs/cancelJob', other);
      }
    }
  });

  for (const [name, screen] of Object.entries(SCREENS))
    it(`on ${name}`, async () => {
      const { context } = await Visitor.come(browser, server, 0, { reducedMotion: 'reduce', ...screen });
      const page = await context.newPage();
      const found = [];
      for (const path of PATHS) {
        await page.goto(server.url + path);
        if (path !== '/about') await live(page);
        if (path === '/rooms/lobby') await shows(page, 'person', 13);
        found.push(...(await offences(page)).map((offence) => `${path}: ${offence}`));
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= screen.viewport.width, `${path} is ${width} px wide`);
        await picture(page, `axe-${name}-${path}`.replace(/\W+/g, '-'));
      }
      assert.deepEqual(found, []);
      await context.close();
    });

  it('a skip link leads past the navigation', async () => {
    const page = await (await Visitor.come(browser, server, 0)).open('/todos');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'To the content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    assert.ok(await page.evaluate(() => document.activeElement.closest('main') !== null));
  });
});

async function offences(page) {
  await page.addScriptTag({ path: AXE });
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ['violations'] }),
  );
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, any }) => `${id} (${help}): ${html} ${any[0]?.message ?? ''}`),
  );
}
