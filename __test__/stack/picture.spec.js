'use strict';

// The picture for the README: three visitors in a room, and one on a phone. PICTURE names the file to keep:
//
//   PICTURE=docs/realtime.png node __test__/stack/run.js picture

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { it } = require('node:test');
const { start } = require('./support/app.js');
const { needsBrowser, openBrowser } = require('./support/browser.js');
const { Visitor, say, shows } = require('./visitors.js');

const ROOM = '/rooms/lobby';
const DESKTOP = { viewport: { width: 1120, height: 660 }, colorScheme: 'light' };
const PHONE = {
  viewport: { width: 360, height: 660 },
  isMobile: true,
  hasTouch: true,
  colorScheme: 'dark',
  deviceScaleFactor: 1,
};
const SIZE_MAX = 300 * 1024;

it('the picture of the realtime example', { timeout: 300000, ...needsBrowser }, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-picture-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const server = await start(t, 'realtime', { env: { DATA_DIR: folder } });
  const browser = await openBrowser(t);
  const visitors = [];
  for (const [index, options] of [DESKTOP, DESKTOP, DESKTOP, PHONE].entries()) {
    visitors.push(await Visitor.come(browser, server, index, options));
  }
  const pages = [];
  for (const visitor of visitors) pages.push(await visitor.open(ROOM));
  const [desk, second, third, phone] = pages;
  for (const page of pages) await shows(page, 'person', 4);
  const talk = [
    [second, 'Is this really running on a Rust event loop?'],
    [desk, 'It is. The same adapter, the same hooks, another addon.'],
    [phone, 'Works from the train as well'],
    [third, 'And nobody has reloaded anything so far'],
  ];
  for (const [page, text] of talk) {
    await say(page, text);
    for (const each of pages) await each.getByText(text, { exact: true }).waitFor();
  }
  for (const [page, x, y] of [
    [second, 0.55, 0.62],
    [third, 0.3, 0.74],
  ]) {
    const area = await page.getByTestId('cursor-area').boundingBox();
    await page.mouse.move(area.x + area.width * x, area.y + area.height * y, { steps: 3 });
    await desk.locator(`[data-testid=cursor][data-x="${x}"][data-y="${y}"]`).waitFor();
  }
  await third.getByTestId('chat-input').pressSequentially('Let');
  await desk.getByTestId('typing').filter({ hasText: 'is writing' }).waitFor();
  for (const page of [desk, phone]) {
    await page
      .getByTestId('latency')
      .filter({ hasText: /\d ms$/ })
      .waitFor();
  }
  // Cursors glide to their places.
  await desk.waitForTimeout(300);
  const image = await compose(browser, await desk.screenshot(), await phone.screenshot());
  for (const visitor of visitors) visitor.quiet();
  assert.ok(image.length < SIZE_MAX, `${image.length} bytes`);
  if (process.env.PICTURE) fs.writeFileSync(process.env.PICTURE, image);
});

/** Both are shown side by side, with a frame each. */
async function compose(browser, ...shots) {
  const page = await browser.newPage({ viewport: { width: 1580, height: 740 } });
  const images = shots.map((shot) => `<img src="data:image/png;base64,${shot.toString('base64')}">`);
  await page.setContent(`<style>
    body { margin: 0; padding: 40px; display: flex; gap: 20px; background: #dfe3ee }
    img { display: block; border-radius: 14px; box-shadow: 0 6px 30px rgb(20 30 60 / 25%) }
  </style>${images.join('')}`);
  return page.screenshot();
}
