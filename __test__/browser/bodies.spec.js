'use strict';

// Large bodies in both directions.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { createHash, randomBytes } = require('node:crypto');
const { pathToFileURL } = require('node:url');
const { before, after, describe, it } = require('node:test');
const { Deployment, EXAMPLE, onlyOurs } = require('./stack.js');
const { Connection, request } = require('./http.js');
const { openBrowser, openTab, picture } = require('./tabs.js');

const lossy = onlyOurs('may miss onWritable under backpressure, which ends the response early');

const MIB = 1024 * 1024;
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

describe('large bodies', { timeout: 180000 }, () => {
  const cleanups = [];
  const suite = { after: (fn) => cleanups.unshift(fn) };
  let deployment;
  let server;
  let pattern;

  before(async () => {
    deployment = new Deployment(suite);
    server = await deployment.start();
    const { BLOCK, patternBlock } = await import(pathToFileURL(path.join(EXAMPLE, 'src/lib/pattern.js')));
    pattern = (mib) => Buffer.concat(Array.from({ length: (mib * MIB) / BLOCK }, (_, i) => patternBlock(i)));
  });
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  /** Uploads a file of random bytes in a tab, and returns the bytes. */
  async function upload(page, name) {
    const bytes = randomBytes(8 * MIB + 13);
    const file = path.join(deployment.folder, name);
    fs.writeFileSync(file, bytes);
    await page.getByLabel('File', { exact: true }).setInputFiles(file);
    await page.getByRole('button', { name: 'Upload' }).click();
    await page.getByText(sha256(bytes)).waitFor();
    return bytes;
  }

  it('are uploaded in Chromium', async (t) => {
    const { page, complaints } = await openTab(await openBrowser(t), `${server.url}/files`);
    await upload(page, 'holiday.bin');
    await page.getByRole('link', { name: 'holiday.bin' }).waitFor();
    await picture(page, 'uploaded');
    assert.deepEqual(complaints, []);
  });

  it('are downloaded in Chromium', lossy, async (t) => {
    const { page, complaints } = await openTab(await openBrowser(t), `${server.url}/files`);
    const bytes = await upload(page, 'there-and-back.bin');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'there-and-back.bin' }).click(),
    ]);
    assert.ok(fs.readFileSync(await download.path()).equals(bytes));
    assert.deepEqual(complaints, []);
  });

  it('are fetched by a page', lossy, async (t) => {
    const browser = await openBrowser(t);
    const { page, complaints } = await openTab(browser, server.url);
    const digest = await page.evaluate(async () => {
      const bytes = await (await fetch('/download/32')).arrayBuffer();
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
      return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
    });
    assert.equal(digest, sha256(pattern(32)));
    assert.deepEqual(complaints, []);
  });

  it('reach a slow reader whole, and the server keeps little of them', lossy, async () => {
    const before = rss(server);
    const response = await fetch(`${server.url}/download/128`);
    const reader = response.body.getReader();
    const hash = createHash('sha256').update((await reader.read()).value);
    reader.releaseLock();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const grown = rss(server) - before;
    assert.ok(grown < 64 * MIB, `grew by ${Math.round(grown / MIB)} MiB while nobody read`);
    for await (const chunk of response.body) hash.update(chunk);
    assert.equal(hash.digest('hex'), sha256(pattern(128)));
  });

  it('are streamed to several at once', lossy, async () => {
    const expected = sha256(pattern(16));
    const all = await Promise.all(
      Array.from({ length: 6 }, async () => sha256((await request(server.port, 'GET', '/download/16')).body)),
    );
    assert.deepEqual(new Set(all), new Set([expected]));
  });

  it('aborted halfway cost the server nothing', async () => {
    for (let i = 0; i < 10; i++) {
      const controller = new AbortController();
      const response = await fetch(`${server.url}/download/256`, { signal: controller.signal });
      await response.body.getReader().read();
      controller.abort();
      const upload = await Connection.open(server.port);
      upload.send(`POST /files HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${4 * MIB}\r\n\r\n`);
      upload.send(Buffer.alloc(MIB));
      await new Promise(setImmediate);
      upload.destroy();
    }
    assert.equal((await request(server.port, 'GET', '/healthz')).status, 200);
    assert.equal(server.ended, undefined);
    assert.doesNotMatch(server.output, /Unhandled|Uncaught/i);
  });

  it("are uploaded by Node's own fetch", onlyOurs('sends two Content-Length fields'), async () => {
    for (const size of [1, 64 * 1024, 5 * MIB, 24 * MIB]) {
      const bytes = randomBytes(size);
      const body = new FormData();
      body.set('file', new Blob([bytes]), 'from-node.bin');
      const response = await fetch(`${server.url}/files`, {
        method: 'POST',
        body,
        headers: { origin: server.url, accept: 'application/json', 'x-sveltekit-action': 'true' },
      });
      assert.equal(response.status, 200);
      assert.ok((await response.text()).includes(sha256(bytes)));
      const back = await fetch(`${server.url}/files/${sha256(bytes)}`);
      assert.equal(sha256(Buffer.from(await back.arrayBuffer())), sha256(bytes));
    }
  });

  it('are uploaded in chunks of unknown number', async () => {
    const bytes = randomBytes(3 * MIB);
    const boundary = 'x'.repeat(30);
    const head = `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="chunked.bin"\r\n\r\n`;
    const body = Buffer.concat([Buffer.from(head), bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]);
    const connection = await Connection.open(server.port);
    connection.send(
      `POST /files HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\norigin: ${server.url}\r\n` +
        `content-type: multipart/form-data; boundary=${boundary}\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    for (let at = 0, size = 1; at < body.length; at += size, size = Math.min(size * 3, 50021)) {
      const chunk = body.subarray(at, at + size);
      connection.send(
        Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]),
      );
    }
    connection.send('0\r\n\r\n');
    const response = await connection.response();
    assert.equal(response.status, 200);
    assert.ok(response.body.toString().includes(sha256(bytes)));
    connection.destroy();
  });
});

/** Returns the resident bytes of the server's process, 0 where the system does not tell. */
function rss(server) {
  try {
    const pages = fs.readFileSync(`/proc/${server.process.pid}/statm`, 'utf8').split(' ')[1];
    return Number(pages) * 4096;
  } catch {
    return 0;
  }
}
