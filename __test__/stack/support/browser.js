'use strict';

// Chromium for the specs. A tab records the errors of its console: `assert.deepEqual(tab.complaints, [])`.

const fs = require('node:fs');
const { openBrowser, picture } = require('../../browser/tabs.js');

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
/** The option `skip` of a test that needs the browser. In CI it is there, or the test fails. */
const needsBrowser = { skip: !process.env.CI && !fs.existsSync(CHROMIUM) && `no Chromium at ${CHROMIUM}` };
const WAIT_MS = 60000;

/** Creates a visitor: a browser context of their own, with cookies `{ name: value }` for the server. */
async function visit(browser, server, { cookies = {}, ...options } = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(WAIT_MS);
  await context.addCookies(
    Object.entries(cookies).map(([name, value]) => ({ name, value, url: server.url })),
  );
  return context;
}

/** Opens a page in a new tab of the visitor, or of a new one where a browser is given. */
async function openTab(owner, server, path = '/', options = {}) {
  const context = owner.newPage && owner.newContext ? await visit(owner, server, options) : owner;
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  await page.goto(server.url + path);
  return { context, page, complaints };
}

module.exports = { needsBrowser, openBrowser, openTab, picture, visit };
