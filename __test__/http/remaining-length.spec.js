'use strict';
// maxRemainingBodyLength: how much of a request's body is still to come.

const { it, assert, ours, serve, deferred, get, post, request } = require('../support');

const UNKNOWN = 0xffffffffffffffffn;
const OPTIONS = { skip: ours ? false : 'not in the originals compared with' };

/** Returns the values before the first chunk: in the handler, and after it. */
async function told(t, send) {
  const seen = deferred();
  const server = serve(t, (app) =>
    app.any('/*', (res) => {
      res.onAborted(() => {});
      const first = res.maxRemainingBodyLength();
      Promise.resolve().then(() => {
        seen.resolve([first, res.maxRemainingBodyLength()]);
        res.onData((chunk, last) => last && res.end());
      });
    }),
  );
  const peer = await server.connect();
  await send(peer);
  return seen.promise;
}

it('the announced length is known before the first chunk', OPTIONS, async (t) => {
  const head = post('/', '', []).replace('Content-Length: 0', 'Content-Length: 007');
  assert.deepEqual(await told(t, (peer) => peer.send(head)), [7n, 7n]);
  const large = post('/', 'x'.repeat(100000));
  assert.deepEqual(await told(t, (peer) => peer.send(large)), [100000n, 100000n]);
});

it('a body that came with its head', OPTIONS, async (t) => {
  assert.deepEqual(await told(t, (peer) => peer.send(post('/', 'body'))), [4n, 4n]);
});

it('no body, and one in chunks', OPTIONS, async (t) => {
  assert.deepEqual(await told(t, (peer) => peer.send(get('/'))), [0n, 0n]);
  const chunked = request('POST', '/', ['Transfer-Encoding: chunked'], '1\r\na\r\n0\r\n\r\n');
  assert.deepEqual(await told(t, (peer) => peer.send(chunked)), [UNKNOWN, UNKNOWN]);
});

it('the body of a pipelined request, and what is left between chunks', OPTIONS, async (t) => {
  const lengths = [];
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      setImmediate(() => {
        lengths.push(res.maxRemainingBodyLength());
        res.onDataV2((chunk, left) => {
          assert.equal(res.maxRemainingBodyLength(), left);
          if (left === 0n) res.end();
        });
      });
    }),
  );
  const peer = await server.connect();
  await peer.send(post('/', 'one') + post('/', 'second') + post('/', 'y'.repeat(20000)));
  for (let i = 0; i < 3; i++) await peer.response();
  assert.deepEqual(lengths, [3n, 6n, 20000n]);
});
