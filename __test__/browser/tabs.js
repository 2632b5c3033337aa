'use strict';

// Chromium and its tabs. A tab records the errors of its console.

const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');

const EXECUTABLE = process.env.CHROMIUM || '/usr/bin/chromium';
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts a browser that is closed after the test. */
async function openBrowser(t) {
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
  t.after(() => browser.close());
  return browser;
}

/** Opens a tab for a visitor whose cookies nobody else has. */
async function openTab(browser, url, options = {}) {
  const page = await (await browser.newContext(options)).newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.setDefaultTimeout(60000);
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket));
  const response = await page.goto(url);
  return { page, complaints, response, sockets, room: new Room(page) };
}

/** The live page as a visitor uses it. */
class Room {
  constructor(page) {
    this.page = page;
  }

  /** Waits until the WebSocket is open. */
  connected() {
    return this.page.getByRole('status').filter({ hasText: 'Connected' }).waitFor();
  }

  disconnected() {
    return this.page.getByRole('status').filter({ hasText: 'Connecting' }).waitFor();
  }

  async say(text) {
    await this.page.getByRole('textbox', { name: 'Message' }).fill(text);
    await this.page.getByRole('button', { name: 'Send' }).click();
  }

  hears(text) {
    return this.page.getByRole('list', { name: 'Messages' }).getByText(text, { exact: true }).waitFor();
  }

  texts() {
    return this.page.getByRole('list', { name: 'Messages' }).locator('p').allTextContents();
  }

  more() {
    return this.page.getByRole('button', { name: 'One more' }).click();
  }

  less() {
    return this.page.getByRole('button', { name: 'One less' }).click();
  }

  counts(number) {
    return this.page.locator('output', { hasText: new RegExp(`^${number}$`) }).waitFor();
  }

  /** Waits until the given number of people are present and returns their names. */
  async people(number) {
    const items = this.page.getByRole('list', { name: 'People' }).getByRole('listitem');
    await this.page.waitForFunction(
      (count) => document.querySelectorAll('ul[aria-label=People] li:not(.muted)').length === count,
      number,
    );
    return items.allTextContents();
  }
}

/** Keeps a screenshot where SCREENSHOTS names a folder. */
async function picture(page, name) {
  if (!process.env.SCREENSHOTS) return;
  fs.mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
}

module.exports = { openBrowser, openTab, picture };
