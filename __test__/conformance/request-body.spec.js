'use strict';
const { it, assert, serve, get, post, has, differs, deferred, Events, turn, v30 } = require('../support');

const MIB = 1024 * 1024;
/** Creates a server that collects [text, isLast] of every onData call and answers `ok` after the last. */
function collecting(t, attach = (res, handler) => res.onData(handler)) {
  const calls = new Events();
  const server = serve(t, (app) =>
    app.any('/*', (res) => {
      res.onAborted(() => {
        calls.push('aborted');
      });
      attach(res, (chunk, isLast) => {
        calls.push([Buffer.from(chunk).toString('latin1'), isLast]);
        if (isLast) res.end('ok');
      });
    }),
  );
  return Object.assign(server, { calls });
}
const joined = (list) => list.map(([text]) => text).join('');
const lasts = (list) => list.map(([, last]) => last);
const chunkedPost = (...chunks) =>
  [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
    ...chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`),
    '0\r\n\r\n',
  ].join('');

it('a body that came with the head is one call', async (t) => {
  const server = collecting(t);
  assert.equal((await server.once(post('/', 'hello'))).body, 'ok');
  assert.deepEqual(server.calls.list, [['hello', true]]);
});

it('chunks are ArrayBuffers', async (t) => {
  let type;
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.onData((chunk) => {
        type = Object.prototype.toString.call(chunk);
        res.end();
      });
    }),
  );
  await server.once(post('/', 'x'));
  assert.equal(type, '[object ArrayBuffer]');
});

it('onData returns the response', async (t) => {
  let same;
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      same = res.onData(() => {}) === res;
      res.end();
    }),
  );
  await server.once(post('/', 'x'));
  assert.equal(same, true);
});

it('no body: one call with an empty chunk, last', async (t) => {
  for (const head of [get('/'), post('/', '')]) {
    const server = collecting(t);
    assert.equal((await server.once(head)).body, 'ok');
    assert.deepEqual(server.calls.list, [['', true]]);
  }
});

it('a body in pieces: only the last call is last', async (t) => {
  const server = collecting(t);
  const peer = await server.connect();
  await peer.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab');
  await server.calls.when((list) => joined(list) === 'ab');
  await peer.send('cd');
  await server.calls.when((list) => joined(list) === 'abcd');
  await peer.send('ef');
  assert.equal((await peer.response()).body, 'ok');
  assert.equal(joined(server.calls.list), 'abcdef');
  const list = lasts(server.calls.list);
  assert.deepEqual([list.at(-1), list.slice(0, -1).includes(true)], [true, false]);
});

it('a body byte by byte', async (t) => {
  const server = collecting(t);
  const peer = await server.connect();
  await peer.sendPieces(post('/', 'hello'), 1);
  assert.equal((await peer.response()).body, 'ok');
  assert.equal(joined(server.calls.list), 'hello');
});

it('a chunked body', async (t) => {
  const server = collecting(t);
  assert.equal((await server.once(chunkedPost('abc', 'de'))).body, 'ok');
  assert.equal(joined(server.calls.list), 'abcde');
  assert.deepEqual(lasts(server.calls.list).filter(Boolean), [true]);
});

it('an empty chunked body', async (t) => {
  const server = collecting(t);
  assert.equal((await server.once(chunkedPost())).body, 'ok');
  assert.deepEqual(server.calls.list, [['', true]]);
});

it('a chunked body byte by byte, upper-case sizes and leading zeros', async (t) => {
  const server = collecting(t);
  const peer = await server.connect();
  await peer.sendPieces(
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00A\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n',
    1,
  );
  assert.equal((await peer.response()).body, 'ok');
  assert.equal(joined(server.calls.list), '0123456789x');
});

it('the next request after a chunked body is served', async (t) => {
  const server = collecting(t);
  const peer = await server.connect();
  await peer.request(chunkedPost('abc'));
  await peer.request(post('/', 'def'));
  await peer.request(chunkedPost('ghi'));
  assert.equal(joined(server.calls.list), 'abcdefghi');
});

it('bodies of any method', async (t) => {
  const server = collecting(t);
  await server.once(post('/', 'x').replace('POST', 'DELETE'));
  await server.once(post('/', 'y').replace('POST', 'GET'));
  assert.equal(joined(server.calls.list), 'xy');
});

it('a big body arrives whole', async (t) => {
  const size = 24 * MIB;
  let length = 0;
  let sum = 0;
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.onData((chunk, last) => {
        const bytes = new Uint8Array(chunk);
        for (let i = 0; i < bytes.length; i += 997) sum = (sum + bytes[i]) | 0;
        length += bytes.length;
        if (last) res.end(String(length));
      });
    }),
  );
  const peer = await server.connect();
  peer.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  peer.send(Buffer.alloc(size, 1));
  assert.equal((await peer.response()).body, String(size));
  assert.ok(sum > 0);
});

it('a chunk after its call', async (t) => {
  const lengths = new Events();
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.onData((chunk) => {
        lengths.push(chunk.byteLength);
        setImmediate(() => {
          lengths.push(chunk.byteLength);
        });
        res.end();
      });
    }),
  );
  await server.once(post('/', 'hello'));
  assert.deepEqual(await lengths.count(2), [5, 0]);
});

it('a copy made in the call stays', async (t) => {
  const copy = deferred();
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.onData((chunk) => {
        const bytes = Buffer.from(Buffer.from(chunk));
        setImmediate(() => {
          copy.resolve(bytes.toString());
        });
        res.end();
      });
    }),
  );
  await server.once(post('/', 'hello'));
  assert.equal(await copy.promise, 'hello');
});

it('attached in a microtask of the handler: nothing is lost', async (t) => {
  const server = collecting(t, async (res, handler) => {
    await null;
    await Promise.resolve();
    res.onData(handler);
  });
  assert.equal((await server.once(post('/', 'hello'))).body, 'ok');
  assert.equal(joined(server.calls.list), 'hello');
  assert.equal((await server.once(get('/'))).body, 'ok');
});

it('attached in a nextTick of the handler: nothing is lost', async (t) => {
  const server = collecting(t, (res, handler) => {
    process.nextTick(() => {
      res.onData(handler);
    });
  });
  assert.equal((await server.once(post('/', 'hello'))).body, 'ok');
  assert.equal(joined(server.calls.list), 'hello');
});

it('attached in a later turn', async (t) => {
  const attached = deferred();
  const server = collecting(t, async (res, handler) => {
    await turn();
    await turn();
    res.onData(handler);
    attached.resolve();
  });
  const peer = await server.connect();
  await peer.send(post('/', 'hello'));
  await attached.promise;
  if (differs('late-body-handler', { original: 'lost', ours: 'held' }) === 'held') {
    assert.equal((await peer.response()).body, 'ok');
    assert.equal(joined(server.calls.list), 'hello');
  } else {
    for (let i = 0; i < 5; i++) await turn();
    assert.deepEqual(server.calls.list, []);
  }
});

it('a body nobody reads does not disturb the next request', async (t) => {
  const server = serve(t, (app) =>
    app.any('/*', (res, req) => {
      res.end(req.getUrl());
    }),
  );
  const peer = await server.connect();
  assert.equal((await peer.request(post('/a', 'GET /evil HTTP/1.1\r\n\r\n'))).body, '/a');
  assert.equal((await peer.request(get('/b'))).body, '/b');
  await peer.send('POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab');
  assert.equal((await peer.response()).body, '/c');
  await peer.send(`cdef${get('/d')}`);
  assert.equal((await peer.response()).body, '/d');
  assert.equal((await peer.request(chunkedPost('xyz').replace('POST /', 'POST /e'))).body, '/e');
  assert.equal((await peer.request(get('/f'))).body, '/f');
});

it('the later of two onData handlers counts', async (t) => {
  const who = [];
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.onData(() => {
        who.push('first');
      });
      res.onData(() => {
        who.push('second');
        res.end();
      });
    }),
  );
  await server.once(post('/', 'x'));
  assert.deepEqual(who, ['second']);
});

it('responding before the body has come', async (t) => {
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {});
      res.onData(() => {});
      res.end('early');
    }),
  );
  const peer = await server.connect();
  await peer.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab');
  assert.equal((await peer.response()).body, 'early');
});

it('the peer leaves in the middle of its body: onAborted', async (t) => {
  for (const leave of ['halfClose', 'reset']) {
    const server = collecting(t);
    const peer = await server.connect();
    await peer.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab');
    await server.calls.when((list) => joined(list) === 'ab');
    peer[leave]();
    await server.calls.first((event) => event === 'aborted');
    assert.equal(lasts(server.calls.list.filter(Array.isArray)).includes(true), false);
  }
});

it('res.close() inside onData aborts at once', async (t) => {
  const order = new Events();
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.onAborted(() => {
        order.push('aborted');
      });
      res.onData(() => {
        order.push('data');
        res.close();
        order.push('after');
      });
    }),
  );
  const peer = await server.connect();
  await peer.send(post('/', 'hello'));
  await peer.gone();
  assert.deepEqual(order.list, ['data', 'aborted', 'after']);
});

it('Expect: 100-continue is answered before the body', async (t) => {
  const server = collecting(t);
  const peer = await server.connect();
  await peer.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n');
  assert.equal(await peer.until('\r\n\r\n'), 'HTTP/1.1 100 Continue\r\n\r\n');
  await peer.send('ab');
  assert.equal((await peer.response()).body, 'ok');
  assert.equal(joined(server.calls.list), 'ab');
});

it('pause stops the chunks, resume lets them go on', async (t) => {
  const chunks = new Events();
  let response;
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      response = res;
      res.onAborted(() => {});
      res.onData((chunk, last) => {
        chunks.push(chunk.byteLength);
        if (last) res.end('ok');
        else if (chunks.list.length === 1) assert.equal(res.pause(), res);
      });
    }),
  );
  const size = 16 * MIB;
  const peer = await server.connect();
  peer.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  let flushed = false;
  peer.send(Buffer.alloc(size)).then(() => {
    flushed = true;
  });
  await chunks.count(1);
  for (let i = 0; i < 50; i++) await turn();
  assert.equal(flushed, false, 'the kernel cannot hold all of it');
  const before = chunks.list.length;
  assert.ok(chunks.list.reduce((sum, length) => sum + length, 0) < size);
  assert.equal(response.resume(), response);
  assert.equal((await peer.response()).body, 'ok');
  assert.ok(chunks.list.length > before);
  assert.equal(
    chunks.list.reduce((sum, length) => sum + length, 0),
    size,
  );
});

it('onDataV2 tells what is left', async (t) => {
  if (!(await has(t, 'res', 'onDataV2'))) return;
  const calls = new Events();
  const server = serve(t, (app) =>
    app.any('/*', (res) => {
      res.onAborted(() => {});
      assert.equal(
        res.onDataV2((chunk, left) => {
          calls.push([Buffer.from(chunk).toString(), left]);
          if (left === 0n) res.end('ok');
        }),
        res,
      );
    }),
  );
  const peer = await server.connect();
  await peer.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab');
  await calls.first(([text, left]) => text === 'ab' && left === 4n);
  await peer.send('cdef');
  assert.equal((await peer.response()).body, 'ok');
  assert.deepEqual(calls.list.at(-1), ['cdef', 0n]);
  calls.list.length = 0;
  assert.equal((await peer.request(get('/'))).body, 'ok');
  assert.deepEqual(calls.list, [['', 0n]]);
  calls.list.length = 0;
  assert.equal((await peer.request(chunkedPost('abc'))).body, 'ok');
  assert.equal(joined(calls.list), 'abc');
  assert.ok(calls.list.slice(0, -1).every(([, left]) => left > 2n ** 32n));
  assert.equal(calls.list.at(-1)[1], 0n);
});

it('collectBody gives the whole body, or null when it is larger', async (t) => {
  if (!(await has(t, 'res', 'collectBody'))) return;
  const bodies = [];
  const server = serve(t, (app) =>
    app.any('/*', (res) => {
      res.onAborted(() => {});
      res.collectBody(8, (body) => {
        bodies.push(body === null ? null : Buffer.from(body).toString());
        res.end('ok');
      });
    }),
  );
  const peer = await server.connect();
  await peer.sendPieces(post('/', '12345678'), 3);
  await peer.response();
  await peer.request(get('/'));
  await peer.request(chunkedPost('ab', 'cd'));
  assert.deepEqual(bodies, ['12345678', '', 'abcd']);
  await server.once(post('/', '123456789'));
  await server.once(chunkedPost('12345', '6789'));
  assert.deepEqual(bodies.slice(3), [null, null]);
});

const asked = { skip: v30 ? '20.30 does not ask for a body there' : false };
it('Expect: 100-continue to no route does not take the next request for its body', asked, async (t) => {
  const server = serve(t, (app) => app.get('/there', (res) => res.end('there')));
  const peer = await server.connect();
  for (let i = 0; i < 2; i++) {
    await peer.send('POST /nowhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    assert.equal((await peer.head()).code, 100);
    await peer.send('body');
    assert.equal((await peer.response()).code, 404);
    assert.equal((await peer.request(get('/there'))).body, 'there');
  }
});
