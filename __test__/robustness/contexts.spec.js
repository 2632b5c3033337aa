'use strict';
// Many events are handled in one callback of the runtime. None has the async context of another.

const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
const { it, assert, serve, until, get, upgradeRequest } = require('../support');
const { Program } = require('./program');

/**
 * Whether Node restores the context behind a callback, as it does from Node 24 on. Before, `enterWith`
 * applies to everything that follows, as in the original.
 */
function restores() {
  const [storage, resource] = [new AsyncLocalStorage(), new AsyncResource('test')];
  resource.runInAsyncScope(() => storage.enterWith(1));
  const after = resource.runInAsyncScope(() => storage.getStore());
  storage.disable();
  return after === undefined;
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** JavaScript is blocked, so that events that arrive meanwhile are handled in one callback. */
function block(ms) {
  for (const end = Date.now() + ms; Date.now() < end;);
}

it(
  'enterWith is for the event in which it is called',
  { skip: restores() ? false : 'as in the original, it is for all that follows' },
  async (t) => {
    const storage = new AsyncLocalStorage();
    const seen = [];
    const server = serve(t, (app) => {
      app.get('/:n', (res, req) => {
        const n = req.getParameter(0);
        seen.push(storage.getStore());
        storage.enterWith(n);
        process.nextTick(() => seen.push(storage.getStore() === n ? undefined : storage.getStore()));
        queueMicrotask(() => seen.push(storage.getStore() === n ? undefined : storage.getStore()));
        res.end();
      });
      app.ws('/*', {
        open: () => seen.push(storage.getStore()),
        message: () => seen.push(storage.getStore()),
      });
    });
    const peers = await Promise.all(Array.from({ length: 5 }, () => server.connect()));
    const socket = await server.ws('/');
    for (const [n, peer] of peers.entries()) await peer.send(get(`/${n}`) + get(`/${n}`));
    await socket.text('x');
    await (await server.connect()).send(upgradeRequest('/'));
    block(30);
    const all = 1 + 5 * 2 * 3 + 1 + 1;
    await until(() => seen.length >= all);
    await wait(20);
    assert.equal(seen.length, all);
    assert.deepEqual(
      seen.filter((store) => store !== undefined),
      [],
    );
  },
);

it('an error of a nextTick callback does not leave its context behind', async (t) => {
  const program = Program.start(t, async ({ listening, get: head, Peer, until }) => {
    const { AsyncLocalStorage: Storage, createHook: hook } = require('node:async_hooks');
    const storage = new Storage();
    const seen = [];
    // Node checks the stack of async ids when there are hooks.
    hook({ before() {}, after() {} }).enable();
    process.on('uncaughtException', () => {});
    const server = listening((app) =>
      app.get('/:what', (res, req) => {
        const what = req.getParameter(0);
        seen.push(storage.getStore() ?? 'nothing');
        res.end();
        storage.run(what, () => {
          const fail = () => {
            throw new Error(what);
          };
          if (what === 'tick') process.nextTick(fail);
          else if (what === 'microtask') queueMicrotask(fail);
          else if (what === 'rejection') Promise.reject(new Error(what));
          else fail();
        });
      }),
    );
    for (const [n, what] of ['tick', 'microtask', 'rejection', 'handler'].entries()) {
      const peers = await Promise.all([1, 2, 3].map(() => Peer.connect(server.port)));
      for (const peer of peers) peer.send(head(`/${what}`) + head(`/${what}`));
      await new Promise((resolve) => setImmediate(resolve));
      for (const end = Date.now() + 30; Date.now() < end;);
      await until(() => seen.length >= (n + 1) * 6);
      await new Promise((resolve) => setTimeout(resolve, 20));
      peers.forEach((peer) => peer.destroy());
    }
    console.log(`seen ${seen.length} ${[...new Set(seen)].join()}`);
    process.exit();
  });
  assert.equal(await program.said('seen'), '24 nothing');
});
