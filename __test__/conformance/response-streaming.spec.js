'use strict';
const {
  it,
  assert,
  serve,
  get,
  request,
  has,
  deferred,
  differs,
  onlyOurs,
  ours,
  turn,
  Events,
  ERRORS,
} = require('../support');
const crypto = require('node:crypto');

const MIB = 1024 * 1024;
const hash = (data) => crypto.createHash('sha1').update(data).digest('hex');
/** Creates bytes in which a lost or repeated piece shows. */
function pattern(size) {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2654435761);
  return Buffer.from(words.buffer, 0, size);
}
const answering = (t, respond) =>
  serve(t, (app, server) => {
    server.handled = new Events();
    app.any('/*', (res, req) => {
      res.onAborted(() => {
        res.gone = true;
      });
      respond(res, req);
      server.handled.push(1);
    });
  });

it('write sends the head with chunked encoding, end finishes', async (t) => {
  const server = answering(t, (res) => {
    res.write('ab');
    res.write(Buffer.from('cd'));
    res.end();
  });
  const answer = await server.once(get('/'));
  assert.deepEqual(
    [answer.all('transfer-encoding'), answer.all('content-length'), answer.body],
    [['chunked'], [], 'abcd'],
  );
});

it('each write is a chunk of its own and end(last) one more', async (t) => {
  const server = answering(t, (res) => {
    res.write('ab');
    res.write('cd');
    res.end('e');
  });
  const answer = await server.once(get('/'));
  assert.deepEqual(answer.chunks.map(String), ['ab', 'cd', 'e']);
});

it('write returns true while the kernel takes all', async (t) => {
  const results = [];
  const server = answering(t, (res) => {
    results.push(res.write('ab'), res.write('cd'));
    res.end();
  });
  await server.once(get('/'));
  assert.deepEqual(results, [true, true]);
});

it('an empty write returns true and sends nothing that ends the body', async (t) => {
  const results = [];
  const server = answering(t, (res) => {
    results.push(res.write(''));
    res.write('a');
    results.push(res.write(''));
    res.write('b');
    res.end();
  });
  const answer = await server.once(get('/'));
  assert.deepEqual(
    [results, answer.chunks.map(String)],
    [
      [true, true],
      ['a', 'b'],
    ],
  );
});

it('headers written before the first write are in the head', async (t) => {
  const server = answering(t, (res) => {
    res.writeStatus('201 Created').writeHeader('x-a', '1');
    res.write('a');
    res.end();
  });
  const answer = await server.once(get('/'));
  assert.deepEqual([answer.status, answer.get('x-a'), answer.body], ['201 Created', '1', 'a']);
});

it('the first chunk arrives before the response ends', async (t) => {
  let finish;
  const server = answering(t, (res) => {
    res.write('first');
    finish = () => res.cork(() => res.end('last'));
  });
  const peer = await server.connect();
  await peer.send(get('/'));
  await peer.until('first');
  finish();
  await peer.until('last\r\n0\r\n\r\n');
});

it('the connection is kept after a chunked response', async (t) => {
  const server = answering(t, (res) => {
    res.write('a');
    res.end();
  });
  const peer = await server.connect();
  for (let i = 0; i < 3; i++) assert.equal((await peer.request(get('/'))).body, 'a');
});

it('a write larger than the socket takes returns false at the latest a turn later; everything is buffered and arrives', async (t) => {
  const body = pattern(24 * MIB);
  const done = deferred();
  const results = [];
  const server = answering(t, async (res) => {
    results.push(res.write(body));
    for (let i = 0; i < 5; i++) await turn();
    res.cork(() => {
      results.push(res.write('tail'));
      res.end();
    });
    done.resolve();
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/'));
  await done.promise;
  peer.resume();
  const answer = await peer.response();
  assert.equal(results[1], false);
  if (!ours) assert.equal(results[0], false);
  assert.equal(answer.raw.length, body.length + 4);
  assert.equal(hash(answer.raw.subarray(0, body.length)), hash(body));
});

it('onWritable runs when a failed write has drained and writing goes on', async (t) => {
  const piece = pattern(8 * MIB);
  const offsets = [];
  const server = answering(t, (res) => {
    let written = 0;
    const go = () => {
      while (written < 4) {
        written++;
        if (!res.write(piece)) return false;
      }
      res.end();
      return true;
    };
    res.onWritable((offset) => {
      offsets.push(offset);
      go();
      return true;
    });
    go();
  });
  const answer = await server.once(get('/'));
  assert.equal(answer.raw.length, 4 * piece.length);
  assert.equal(hash(answer.raw), hash(Buffer.concat([piece, piece, piece, piece])));
  assert.ok(offsets.length > 0 && offsets.every(Number.isFinite));
});

it('onWritable returns the response', async (t) => {
  let same;
  const server = answering(t, (res) => {
    same = res.onWritable(() => true) === res;
    res.end();
  });
  await server.once(get('/'));
  assert.equal(same, true);
});

it('end with a big body arrives whole at a slow reader', async (t) => {
  const body = pattern(40 * MIB);
  const server = answering(t, (res) => {
    res.end(body);
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/'));
  await server.handled.count(1);
  peer.resume();
  const answer = await peer.response();
  assert.equal(answer.get('content-length'), String(body.length));
  assert.equal(hash(answer.raw), hash(body));
});

it('end with a big body and Connection: close arrives whole before the close', async (t) => {
  const body = pattern(16 * MIB);
  const server = answering(t, (res) => {
    res.end(body);
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/', ['Connection: close']));
  await server.handled.count(1);
  peer.resume();
  const answer = await peer.response();
  assert.equal(hash(answer.raw), hash(body));
  assert.equal(await peer.gone(), 'fin');
});

it('tryEnd with everything that fits: [true, true], Content-Length, object invalid', async (t) => {
  let result, error;
  const server = answering(t, (res) => {
    result = res.tryEnd('body', 4);
    try {
      res.getWriteOffset();
    } catch (caught) {
      error = caught;
    }
  });
  const answer = await server.once(get('/'));
  assert.deepEqual([result, answer.all('content-length'), answer.body], [[true, true], ['4'], 'body']);
  assert.match(error.message, ERRORS.response);
});

it('tryEnd in pieces', async (t) => {
  const results = [];
  const server = answering(t, (res) => {
    results.push(
      res.tryEnd('ab', 6),
      res.getWriteOffset(),
      res.tryEnd('cd', 6),
      res.getWriteOffset(),
      res.tryEnd('ef', 6),
    );
  });
  const answer = await server.once(get('/'));
  assert.deepEqual(results, [[true, false], 2, [true, false], 4, [true, true]]);
  assert.deepEqual([answer.get('content-length'), answer.body], ['6', 'abcdef']);
});

for (const total of ['3', 3.5, '3.9', 0, null]) {
  it(`tryEnd of three bytes with a total of ${JSON.stringify(total)}`, async (t) => {
    let result;
    const server = answering(t, (res) => {
      result = res.tryEnd('abc', total);
    });
    const answer = await server.once(get('/'));
    assert.deepEqual([result, answer.all('content-length'), answer.body], [[true, true], ['3'], 'abc']);
  });
}

it('tryEnd of nothing', async (t) => {
  let result;
  const server = answering(t, (res) => {
    result = res.tryEnd('', 0);
  });
  const answer = await server.once(get('/'));
  assert.deepEqual([result, answer.get('content-length')], [[true, true], '0']);
});

it('getWriteOffset starts at 0', async (t) => {
  let offset;
  const server = answering(t, (res) => {
    offset = res.getWriteOffset();
    res.end();
  });
  await server.once(get('/'));
  assert.equal(offset, 0);
});

for (const [way, begin] of [
  ['write', (res) => res.write('abc')],
  ['tryEnd', (res) => res.tryEnd('abc', 6)],
]) {
  it(`a header after ${way}`, async (t) => {
    let late = false;
    const server = answering(t, (res) => {
      res.cork(() => {
        begin(res);
        try {
          res.writeHeader('x-late', '1');
        } catch {
          late = true;
        }
        res.end('def');
      });
    });
    const peer = await server.connect();
    await peer.send(get('/'));
    const wire = await peer.until('def');
    const expected = differs('late-header', { original: [false, true], ours: [true, false] });
    assert.deepEqual([late, wire.includes('x-late')], expected, wire);
    if (late) assert.match(wire, /abc(\r\n3\r\n)?def/);
  });
}

it('getWriteOffset after write', async (t) => {
  const offsets = [];
  const server = answering(t, (res) => {
    res.cork(() => {
      res.write('abc');
      offsets.push(res.getWriteOffset());
      res.write('de');
      offsets.push(res.getWriteOffset());
      res.end();
    });
  });
  assert.equal((await server.once(get('/'))).body, 'abcde');
  assert.deepEqual(offsets, differs('write-offset', { original: [0, 0], ours: [3, 5] }));
});

it('tryEnd of a big body to a slow reader goes on from getWriteOffset in onWritable', async (t) => {
  const body = pattern(32 * MIB);
  const log = { first: null, offsets: [] };
  const done = deferred();
  const server = answering(t, (res) => {
    res.onWritable((offset) => {
      log.offsets.push([offset, res.getWriteOffset()]);
      const [ok, responded] = res.tryEnd(body.subarray(offset), body.length);
      if (responded) done.resolve();
      return ok;
    });
    log.first = res.tryEnd(body, body.length);
    log.after = res.getWriteOffset();
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/'));
  await server.handled.count(1);
  peer.resume();
  const answer = await peer.response();
  await done.promise;
  assert.deepEqual(log.first, [false, false]);
  assert.ok(log.after < body.length);
  assert.ok(
    log.offsets.every(([given, read], i) => given === read && (i === 0 || given >= log.offsets[i - 1][0])),
  );
  assert.equal(hash(answer.raw), hash(body));
});

it('tryEnd buffers none of the rest: the offset is what goes on the wire', async (t) => {
  const body = pattern(32 * MIB);
  const accepted = deferred();
  const server = answering(t, (res) => {
    res.tryEnd(body, body.length);
    const offset = res.getWriteOffset();
    setImmediate(() => {
      accepted.resolve(offset);
      res.close();
    });
  });
  const peer = await server.connect();
  await peer.send(get('/'));
  const offset = await accepted.promise;
  await peer.gone();
  const raw = peer.bytes();
  const received = raw.length - (raw.indexOf('\r\n\r\n') + 4);
  assert.ok(offset > 0 && offset < body.length);
  assert.ok(received <= offset, `${received} received, ${offset} accepted`);
});

it('tryEnd by stream: chunk after chunk with pauses until drained', async (t) => {
  const size = 1 * MIB;
  const total = 24;
  const body = pattern(size * total);
  const drains = new Events();
  const server = answering(t, (res) => {
    let at = 0; // of the chunk in work
    const next = () => {
      while (at < body.length) {
        const [ok, responded] = res.tryEnd(body.subarray(at, at + size), body.length);
        if (responded) return;
        if (!ok) {
          res.onWritable((offset) => {
            drains.push(offset);
            const [well, done] = res.tryEnd(body.subarray(offset, at + size), body.length);
            if (!done && well) {
              at += size;
              next();
            }
            return well;
          });
          return;
        }
        at += size;
      }
    };
    next();
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/'));
  await server.handled.count(1);
  peer.resume();
  const answer = await peer.response();
  assert.equal(hash(answer.raw), hash(body));
});

it('many responses of 1 MiB on one connection', async (t) => {
  const body = pattern(MIB);
  const server = answering(t, (res) => {
    res.end(body);
  });
  const peer = await server.connect();
  for (let i = 0; i < 10; i++) assert.equal(hash((await peer.request(get('/'))).raw), hash(body));
});

it('a body is taken at the call: changing the buffer afterwards changes nothing', async (t) => {
  const body = Buffer.alloc(24 * MIB, 'a');
  const server = answering(t, (res) => {
    res.end(body);
    body.fill('b');
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/'));
  await server.handled.count(1);
  peer.resume();
  const answer = await peer.response();
  assert.equal(answer.raw.indexOf('b'), -1);
});

it('onAborted runs when the reader goes away in the middle', async (t) => {
  const gone = deferred();
  const server = answering(t, (res) => {
    res.onAborted(gone.resolve);
    res.tryEnd(pattern(32 * MIB), 32 * MIB);
  });
  const peer = await server.connect();
  peer.pause();
  await peer.send(get('/'));
  await server.handled.count(1);
  peer.reset();
  await gone.promise;
});

it('a second end or write after end throws', async (t) => {
  const errors = [];
  const server = answering(t, (res) => {
    res.end('x');
    for (const call of [() => res.end('y'), () => res.write('y'), () => res.tryEnd('y', 1)])
      try {
        call();
      } catch (error) {
        errors.push(error.message);
      }
  });
  assert.equal((await server.once(get('/'))).body, 'x');
  assert.equal(errors.length, 3);
  for (const error of errors) assert.match(error, ERRORS.response);
});

it('HEAD and write', async (t) => {
  const server = answering(t, (res) => {
    res.write('abc');
    res.end('d');
  });
  const peer = await server.connect();
  await peer.send(request('HEAD', '/', ['Connection: close']));
  const raw = await peer.rest();
  assert.equal(
    raw.slice(raw.indexOf('\r\n\r\n') + 4),
    differs('head-body', { original: '3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n', ours: '' }),
  );
});

it('beginWrite sends the head alone', async (t) => {
  if (!(await has(t, 'res', 'beginWrite'))) return;
  let finish;
  const server = answering(t, (res) => {
    res.writeHeader('x-a', '1');
    res.beginWrite();
    finish = () => res.cork(() => res.end('late'));
  });
  const peer = await server.connect();
  await peer.send(get('/'));
  const head = await peer.head();
  assert.deepEqual([head.get('x-a'), head.get('transfer-encoding')], ['1', 'chunked']);
  finish();
  assert.deepEqual((await peer.chunked()).map(String), ['late']);
});

// Section 3 of what changed after 20.57, of which there is no binary to run.
it('each write after beginWrite is a chunk that is complete', onlyOurs('begin-write'), async (t) => {
  let res;
  const server = answering(t, (response) => {
    res = response.beginWrite().beginWrite();
  });
  const peer = await server.connect();
  await peer.send(get('/'));
  await peer.until('\r\n\r\n');
  for (const piece of ['one', 'second']) {
    res.cork(() => res.write(piece));
    assert.equal(await peer.until(`${piece}\r\n`), `${piece.length}\r\n${piece}\r\n`);
  }
  res.cork(() => res.beginWrite().end('end'));
  assert.equal(await peer.until('0\r\n\r\n'), '3\r\nend\r\n0\r\n\r\n');
});
