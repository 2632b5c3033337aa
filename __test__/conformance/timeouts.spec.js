'use strict';
// All connections of this file wait at the same time: the 10 s of HTTP take some 16 s altogether.
const { describe } = require('node:test');
const { it, assert, serve, get, v30, v57, Events, differs } = require('../support');

const SECONDS = 10;
/** [earliest, latest] second for a timeout of 10 s, by the granularity of the module. */
const WINDOW = differs('timeout-granularity', { original: [7.5, 14.5], ours: [9, 12] });
const BODY = Buffer.alloc(32 * 1024 * 1024);

describe('timeouts', { concurrency: true }, () => {
  it('HTTP timeouts', { timeout: 40000 }, async (t) => {
    const ends = new Events();
    const started = process.hrtime.bigint();
    const now = () => Number(process.hrtime.bigint() - started) / 1e9;
    const pending = [];
    const server = serve(t, (app) => {
      // The available 20.57 is a build whose default is 30 s.
      if (v57 && app.setIdleTimeout) {
        app.setIdleTimeout(SECONDS);
        app.setResponseTimeout(SECONDS);
      }
      const aborting = (res, name) =>
        res.onAborted(() => {
          ends.push([name, now()]);
        });
      app.get('/ok', (res) => {
        res.end('ok');
      });
      app.get('/tryend', (res) => {
        aborting(res, 'stalled tryEnd');
        const go = (offset) => res.tryEnd(BODY.subarray(offset), BODY.length)[0];
        res.onWritable(go);
        go(0);
      });
      app.get('/write', (res) => {
        aborting(res, 'stalled write');
        res.write(BODY);
      });
      app.get('/pending', (res) => {
        aborting(res, 'pending');
        pending.push(res);
      });
      app.post('/silent', (res) => {
        aborting(res, 'silent body');
        res.onData(() => {});
      });
      app.post('/slow', (res) => {
        aborting(res, 'slow body');
        res.onData(() => {});
      });
      app.post('/fast', (res) => {
        aborting(res, 'fast body');
        res.onData(() => {});
      });
    });
    const open = async (name, bytes, { paused = false } = {}) => {
      const peer = await server.connect();
      if (paused) peer.pause();
      if (bytes) await peer.send(bytes);
      peer.gone().then(() => {
        if (!paused) ends.push([`${name} closed`, now()]);
      });
      return peer;
    };
    const upload = (target, size) => `POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`;

    await open('idle');
    await open('half a request line', 'GET / HT');
    await open('half a head', 'GET / HTTP/1.1\r\nHost: a\r\n');
    const kept = await open('keep-alive', get('/ok'));
    await open('tryend', get('/tryend'), { paused: true });
    await open('write', get('/write'), { paused: true });
    const waiting = await open('pending', get('/pending'));
    await open('silent body', `${upload('/silent', 100)}ab`);
    const dripping = await open('slow body', upload('/slow', 1000));
    const streaming = await open('fast body', upload('/fast', 1e9));
    const head = await open('dripping head', 'GET / HTTP/1.1\r\n');
    /** Each connection was opened between 0 and now. */
    const opened = now();
    const piece = Buffer.alloc(64 * 1024);
    let drops = 0;
    const drip = setInterval(() => {
      dripping.send('x');
      if (drops++ % 4 === 0) head.send('X');
      streaming.send(piece);
    }, 500);
    t.after(() => clearInterval(drip));

    const expected = [
      'idle closed',
      'half a request line closed',
      'half a head closed',
      'dripping head closed',
      'keep-alive closed',
      'stalled tryEnd',
      'stalled write',
      'silent body',
      'silent body closed',
      'slow body',
      'slow body closed',
    ];
    await ends.when((list) => expected.every((name) => list.some(([found]) => found === name)));
    for (const name of expected) {
      const [, second] = ends.list.find(([found]) => found === name);
      const isInTime = second >= WINDOW[0] && second - opened <= WINDOW[1];
      assert.ok(isInTime, `${name} after ${second.toFixed(1)} s, opened within ${opened.toFixed(1)} s`);
    }
    assert.equal((await kept.response()).body, 'ok');

    // This is long after the 10 s: these connections (20.30 cuts a fast body, too) must not time out.
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 15500 - now() * 1000)));
    const names = ends.list.map(([name]) => name);
    for (const name of ['pending', 'pending closed', ...(v30 ? [] : ['fast body', 'fast body closed'])])
      assert.ok(!names.includes(name), name);
    pending[0].cork(() => {
      pending[0].end('after all');
    });
    assert.equal((await waiting.response()).body, 'after all');
  });

  it('the connection stays while requests come', { timeout: 40000 }, async (t) => {
    const server = serve(t, (app) => {
      if (v57 && app.setIdleTimeout) app.setIdleTimeout(SECONDS);
      app.get('/*', (res) => {
        res.end('ok');
      });
    });
    const peer = await server.connect();
    for (let i = 0; i < 4; i++) {
      assert.equal((await peer.request(get('/'))).body, 'ok');
      await new Promise((resolve) => setTimeout(resolve, 4000));
    }
    assert.equal((await peer.request(get('/'))).body, 'ok');
  });
});
