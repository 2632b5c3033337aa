'use strict';
// Pipelined requests: one slot never holds two objects, each object that was given to a handler ends once,
// and each request is handled in an event of its own.

const { AsyncLocalStorage } = require('node:async_hooks');
const { it, assert, ours, serve, until, get, post, upgradeRequest, frame, KEY } = require('../support');

const OURS = { skip: ours ? false : 'the originals have no such queue' };
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const upgradeNow = (res, req, context) => res.upgrade({}, KEY, '', '', context);
function upgradeLater(res, req, context) {
  let gone = false;
  res.onAborted(() => (gone = true));
  setTimeout(() => gone || res.upgrade({}, KEY, '', '', context), 30);
}

/** Upgrades by name: the bytes of the client, and the handler; without a handler the loop upgrades. */
const UPGRADES = {
  'at once': [upgradeRequest('/ws'), upgradeNow],
  later: [upgradeRequest('/ws'), upgradeLater],
  'by the loop': [upgradeRequest('/ws'), undefined],
};

for (const [name, [bytes, upgrade]] of Object.entries(UPGRADES)) {
  for (const behind of [get('/x'), get('/x') + get('/x'), post('/x', 'body'), get('/x').repeat(40)]) {
    it(`${behind.length} bytes of requests behind an upgrade ${name} are none`, async (t) => {
      const log = [];
      const server = serve(t, (app) => {
        app.ws('/ws', {
          ...(upgrade && { upgrade }),
          open(ws) {
            log.push('open');
            ws.subscribe('topic');
          },
          close: () => log.push('close'),
        });
        app.any('/x', (res) => {
          log.push('request');
          res.end('x');
        });
      });
      const peers = await Promise.all(Array.from({ length: 5 }, () => server.connect()));
      await Promise.all(peers.map((peer) => peer.send(bytes + behind)));
      for (const peer of peers) {
        assert.match(await peer.until('\r\n\r\n'), /^HTTP\/1.1 101 /);
        // The bytes behind it are not frames either.
        await peer.gone();
      }
      const count = (what) => log.filter((each) => each === what).length;
      await until(() => count('close') === 5);
      await wait(50);
      assert.deepEqual([count('open'), count('close'), count('request')], [5, 5, 0]);
      assert.equal(server.app.numSubscribers('topic'), 0);
    });
  }
}

it('frames behind an upgrade are messages', async (t) => {
  for (const upgrade of [upgradeNow, upgradeLater, undefined]) {
    const server = serve(t, (app) => {
      app.ws('/ws', { ...(upgrade && { upgrade }), message: (ws, message) => ws.send(message) });
    });
    const peer = await server.connect();
    await peer.send(
      Buffer.concat([
        Buffer.from(upgradeRequest('/ws')),
        frame({ payload: 'one' }),
        frame({ payload: 'two' }),
      ]),
    );
    await peer.until('\r\n\r\n');
    assert.deepEqual(await peer.take(10), Buffer.from('\x81\x03one\x81\x03two', 'latin1'));
  }
});

it('a request that a program upgrades although none was asked for, with requests behind it', async (t) => {
  const log = [];
  let context;
  const server = serve(t, (app) => {
    app.ws('/ws', {
      upgrade(res, req, given) {
        context = given;
        res.end('no');
      },
      open: () => log.push('open'),
      close: () => log.push('close'),
    });
    app.get('/strange', (res) => {
      res.onAborted(() => log.push('aborted'));
      setTimeout(() => res.upgrade({}, KEY, '', '', context), 30);
    });
    app.get('/x', (res) => {
      log.push('request');
      res.end('x');
    });
  });
  await server.once(upgradeRequest('/ws'));
  const peer = await server.connect();
  await peer.send(get('/strange') + get('/x'));
  await peer.gone();
  await until(() => log.length >= 2);
  await wait(30);
  assert.deepEqual(log, ['open', 'close']);
});

it('requests behind a response that ends the connection: those given to a handler are aborted, once', async (t) => {
  const log = [];
  const server = serve(t, (app) => {
    app.get('/streamed', (res) => {
      res.onAborted(() => log.push('streamed aborted'));
      res.write('abc');
      res.end('d');
    });
    app.get('/short', (res) => {
      res.onAborted(() => log.push('short aborted'));
      res.tryEnd('x', 10);
      res.end('y');
    });
    app.get('/pending', (res) => {
      log.push('pending');
      res.onAborted(() => log.push('aborted'));
    });
  });
  const old = (target) => get(target, ['Connection: keep-alive']).replace('HTTP/1.1', 'HTTP/1.0');
  for (const bytes of [
    old('/streamed') + old('/pending') + old('/pending'),
    get('/short') + get('/pending') + get('/pending'),
  ]) {
    log.length = 0;
    const peer = await server.connect();
    await peer.send(bytes);
    assert.match(await peer.rest(), /^HTTP\/1.1 200 OK\r\n/);
    await wait(50);
    const count = (what) => log.filter((each) => each === what).length;
    await until(() => count('pending') === count('aborted'));
    assert.ok(log.length <= 2, log.join());
  }
});

it('a client that half-closes behind a pipeline: waiting requests are aborted, once', async (t) => {
  const log = [];
  const server = serve(t, (app) => {
    app.get('/slow/:n', (res, req) => {
      const n = req.getParameter(0);
      log.push(`begin ${n}`);
      let gone = false;
      res.onAborted(() => {
        gone = true;
        log.push(`aborted ${n}`);
      });
      setTimeout(() => gone || (log.push(`end ${n}`), res.end(n)), 20);
    });
  });
  const peer = await server.connect();
  await peer.send(get('/slow/1') + get('/slow/2') + get('/slow/3'));
  await wait(30);
  peer.halfClose();
  await peer.gone();
  await wait(60);
  const begun = () => log.filter((each) => each.startsWith('begin')).length;
  await until(() => log.length === 2 * begun()).catch(() => assert.fail(log.join()));
});

it(
  'a client that half-closes, and takes its first response later: the second is aborted',
  OURS,
  async (t) => {
    const log = [];
    const large = Buffer.alloc(16 << 20, 'l');
    const server = serve(t, (app) => {
      app.get('/large', (res) => res.end(large));
      app.get('/never', (res) => {
        log.push('never');
        res.onAborted(() => log.push('aborted'));
      });
    });
    const peer = await server.connect();
    // The other waits until the client has taken most of the large response.
    await peer.send(get('/large') + get('/never'));
    peer.halfClose();
    await wait(50);
    assert.equal((await peer.response()).body.length, large.length);
    await peer.gone();
    await until(() => log.at(-1) === 'aborted').catch(() => assert.fail(log.join()));
    assert.deepEqual(log, ['never', 'aborted']);
  },
);

it('each request of a pipeline is an event of its own', async (t) => {
  const log = [];
  const storage = new AsyncLocalStorage();
  const server = serve(t, (app) => {
    app.get('/:n/:when', (res, req) => {
      const [n, when] = [req.getParameter(0), req.getParameter(1)];
      log.push(`${n}${storage.getStore() === undefined ? '' : ` in the context of ${storage.getStore()}`}`);
      res.onAborted(() => {});
      const answer = () => {
        res.end(n);
        process.nextTick(() => {
          log.push(`${n} tick`);
          process.nextTick(() => log.push(`${n} second tick`));
        });
        Promise.resolve().then(() => log.push(`${n} microtask`));
        setImmediate(() => log.push(`${n} immediate`));
      };
      storage.run(n, () => (when === 'now' ? answer() : setTimeout(answer, 5)));
    });
  });
  for (const when of ['now', 'later']) {
    log.length = 0;
    const peer = await server.connect();
    await peer.send([1, 2, 3].map((n) => get(`/${n}/${when}`)).join(''));
    for (const n of [1, 2, 3]) assert.equal((await peer.response()).body, String(n));
    await wait(10);
    const at = (what) => log.indexOf(what);
    for (const n of [1, 2]) {
      const next = at(`${n + 1}`);
      assert.ok(
        next > at(`${n} tick`) && next > at(`${n} second tick`) && next > at(`${n} microtask`),
        log.join(),
      );
      if (when === 'now') assert.ok(next < at(`${n} immediate`), log.join());
    }
    assert.ok(!log.some((each) => each.includes('context')), log.join());
  }
});

it('held parts of a body come after the queues of whoever lets them come, and before immediates', async (t) => {
  const log = [];
  const server = serve(t, (app) => {
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.pause();
      let parts = 0;
      res.onData((chunk, last) => {
        log.push(`data${chunk.byteLength ? '' : ' without bytes'}`);
        const n = ++parts;
        process.nextTick(() => {
          log.push(`tick of ${n}`);
          // The chunk is lent until its own queues are drained.
          if (n === 1) assert.ok(chunk.byteLength > 0);
        });
        if (last) res.end('done');
      });
      setTimeout(() => {
        res.resume();
        process.nextTick(() => {
          log.push('tick');
          Promise.resolve().then(() => log.push('microtask'));
        });
        setImmediate(() => log.push('immediate'));
      }, 30);
    });
  });
  const peer = await server.connect();
  await peer.send(post('/', 'x'.repeat(20000)));
  assert.equal((await peer.response()).body, 'done');
  assert.deepEqual(log.slice(0, 3), ['tick', 'microtask', 'data']);
  assert.ok(log.indexOf('immediate') > 2, log.join());
});

it('events of its own in any number come in order, without quadratic time', OURS, async (t) => {
  const { later } = require('../../lib/scheduling');
  serve(t, (app) => app);
  // With an array that is emptied by `shift`, the time of this test would be over long before they are.
  const COUNT = 500_000;
  let ran = 0;
  await new Promise((resolve, reject) => {
    const run = (number) => {
      if (number !== ran++) reject(new Error(`${number} instead of ${ran - 1}`));
      if (ran === COUNT) resolve();
    };
    for (let number = 0; number < COUNT; number++) later(run, number);
  });
});

it('onWritable is for the response that asked', { timeout: 20000 }, async (t) => {
  let second = 0;
  const large = Buffer.alloc(8 << 20, 'l');
  const server = serve(t, (app) => {
    app.get('/first', (res) => {
      res.onAborted(() => {});
      // The request asks for `onWritable`, and does not need it any more.
      assert.equal(res.write(large), false);
      res.end();
    });
    app.get('/second', (res) => {
      res.onAborted(() => {});
      res.onWritable(() => {
        second++;
        return true;
      });
      setTimeout(() => res.end('second'), 300);
    });
  });
  const peer = await server.connect();
  await peer.send(get('/first') + get('/second'));
  const first = await peer.response();
  assert.ok(first.raw.equals(large));
  assert.equal((await peer.response()).body, 'second');
  assert.equal(second, 0);
});

it('onWritable of a response that is complete by then lets no request come', OURS, async (t) => {
  const { receivers } = require('../../lib/engine');
  const { EventKind, exchangeOf } = require('../../lib/layout');
  const large = Buffer.alloc(16 << 20, 'l');
  const log = [];
  const requests = [];
  const receive = receivers[EventKind.REQUEST];
  receivers[EventKind.REQUEST] = (...event) => (requests.push(event), receive(...event));
  t.after(() => (receivers[EventKind.REQUEST] = receive));
  const server = serve(t, (app) => {
    app.get('/first', (res) => {
      res.onAborted(() => {});
      assert.equal(res.write(large), false);
      res.end();
    });
    app.get('/second', (res) => {
      log.push('second');
      res.onAborted(() => {});
      res.onWritable(() => log.push('writable') > 0);
      setTimeout(() => res.end('second'), 50);
    });
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/first') + get('/second'));
  await until(() => requests.length === 2);
  await wait(20);
  // The loop may have said so before it heard of the end.
  const [[slot, generation, , flags]] = requests;
  receivers[EventKind.WRITABLE](slot, generation, exchangeOf(flags));
  await wait(20);
  assert.deepEqual(log, [], 'the second request waits until the client has taken the first response');
  peer.resume();
  assert.ok((await peer.response()).raw.equals(large));
  assert.equal((await peer.response()).body, 'second');
  assert.deepEqual(log, ['second']);
});

it('a lent message stays readable in the microtasks of its handler, whatever bodies it lets come', async (t) => {
  const seen = [];
  const held = [];
  const server = serve(t, (app) => {
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.pause();
      held.push(res);
    });
    app.ws('/*', {
      async message(ws, message) {
        const before = Buffer.from(message).toString();
        const [collected, streamed] = held;
        collected.collectBody(1 << 20, (body) => collected.end(Buffer.from(body)));
        collected.resume();
        streamed.onData((chunk, last) => last && streamed.end('done'));
        streamed.resume();
        await null;
        seen.push(before, Buffer.from(message).toString());
        await new Promise((resolve) => process.nextTick(resolve));
        seen.push(Buffer.from(message).toString());
      },
    });
  });
  const posts = [];
  for (const body of ['x'.repeat(50000), 'y'.repeat(30000)]) {
    const peer = await server.connect();
    await peer.send(post('/', body));
    posts.push(peer);
    await until(() => held.length === posts.length);
  }
  await wait(30);
  const ws = await server.ws('/');
  await ws.text('message');
  assert.equal((await posts[0].response()).body, 'x'.repeat(50000));
  assert.equal((await posts[1].response()).body, 'done');
  assert.deepEqual(seen, ['message', 'message', 'message']);
});
