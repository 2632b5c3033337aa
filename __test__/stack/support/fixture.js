'use strict';

// The fixture's page as a test drives it: `window.stack` there has the clients, `stack.seen[name]` the values
// of stores.

const { openTab, visit } = require('./browser.js');
const { until } = require('./app.js');

/** Opens a page and connects it: of a new visitor of that name, or of one that has a tab already. */
async function openFixture(browser, server, user, { query = '', prepare } = {}) {
  const context = typeof user === 'string' ? await visit(browser, server, { cookies: { user } }) : user;
  if (prepare) await context.addInitScript(prepare);
  const frames = [];
  context.once('page', (page) => {
    page.on('websocket', (socket) => {
      socket.on('framereceived', ({ payload }) => frames.push(JSON.parse(String(payload))));
    });
  });
  const tab = await openTab(context, server, `/${query}`);
  await tab.page.waitForSelector('html[data-ready=yes]');
  return { ...tab, frames, ...reader(tab.page) };
}

function reader(page) {
  const read = (name, pick, check, what) =>
    until(async () => {
      const value = pick(await page.evaluate((key) => window.stack.seen[key], name));
      return check(value) && { value };
    }, `${what} of ${name}`).then(({ value }) => value);
  return {
    /** Returns all values of a watched store, once `check` holds for them. */
    seen: (name, check) => read(name, (list) => list, check, 'the values'),
    /** Returns the latest value, once `check` holds for it. */
    last: (name, check) => read(name, (list) => list.at(-1), check, 'the latest value'),
  };
}

module.exports = { openFixture };
