'use strict';
const { it, assert, serve, get, request, differs, onlyOurs, child, v30, named } = require('../support');

/** Creates a server whose only handler is `respond(res, req)`. */
const answering = (t, respond) =>
  serve(t, (app) =>
    app.any('/*', (res, req) => {
      respond(res, req);
    }),
  );
const once = async (t, respond, head = get('/'), options) => answering(t, respond).once(head, options);

it('200 OK by itself', async (t) => {
  const answer = await once(t, (res) => res.end('body'));
  assert.deepEqual([answer.version, answer.status, answer.body], ['HTTP/1.1', '200 OK', 'body']);
});

it('writeStatus and writeHeader return the response', async (t) => {
  const same = [];
  await once(t, (res) => {
    same.push(res.writeStatus('201 Created') === res, res.writeHeader('a', 'b') === res, res.end('') === res);
  });
  assert.deepEqual(same, [true, true, true]);
});

it('writeStatus', async (t) => {
  assert.equal(
    (await once(t, (res) => res.writeStatus('418 I am a teapot').end())).status,
    '418 I am a teapot',
  );
});

it('the first writeStatus wins', async (t) => {
  assert.equal(
    (await once(t, (res) => res.writeStatus('201 Created').writeStatus('404 Not Found').end())).status,
    '201 Created',
  );
});

it('writeStatus after writeHeader is ignored and does not throw', async (t) => {
  const answer = await once(t, (res) =>
    res.writeHeader('x-a', '1').writeStatus('404 Not Found').writeHeader('x-b', '2').end(),
  );
  assert.equal(answer.status, '200 OK');
  assert.deepEqual([answer.get('x-a'), answer.get('x-b')], ['1', '2']);
});

it('headers go out as written: name, order, repetition', async (t) => {
  const answer = await once(t, (res) =>
    res.writeHeader('Set-Cookie', 'a=1').writeHeader('X-Case', 'v').writeHeader('Set-Cookie', 'b=2').end(),
  );
  assert.deepEqual(answer.all('set-cookie'), ['a=1', 'b=2']);
  assert.match(answer.text, /\r\nSet-Cookie: a=1\r\nX-Case: v\r\nSet-Cookie: b=2\r\n/);
});

it('header values may be empty', async (t) => {
  const answer = await once(t, (res) => res.writeHeader('x-a', '').end());
  assert.equal(answer.get('x-a'), '');
});

it('header values are encoded as UTF-8', async (t) => {
  const answer = await once(t, (res) => res.writeHeader('x-a', '\u00e9\u20ac').end());
  assert.equal(Buffer.from(answer.get('x-a'), 'latin1').toString(), '\u00e9\u20ac');
});

it('header values and the status go out as the bytes they are', async (t) => {
  const latin1 = (text) => Buffer.from(text, 'latin1');
  const answer = await once(t, (res) =>
    res
      .writeStatus(latin1('200 d\u00e9j\u00e0 vu'))
      .writeHeader('x-text', '\u20ac')
      .writeHeader(Buffer.from('x-bytes'), latin1('a\u00e9b'))
      .writeHeader('x-more', '\u00e9')
      .writeHeader('x-again', new Uint8Array([0xff, 0x41]))
      .end('body'),
  );
  assert.equal(answer.status, '200 d\u00e9j\u00e0 vu');
  assert.deepEqual(answer.list.slice(0, 4), [
    ['x-text', '\u00e2\u0082\u00ac'],
    ['x-bytes', 'a\u00e9b'],
    ['x-more', '\u00c3\u00a9'],
    ['x-again', '\u00ffA'],
  ]);
  assert.equal(answer.body, 'body');
});

it('a status and headers as bytes of a streamed response', async (t) => {
  const bytes = Buffer.from([0x32, 0x30, 0x31, 0x20, 0xe9]);
  const begin = (res) => res.writeStatus(bytes).writeHeader('x', bytes);
  const write = (res) => {
    begin(res).write('body');
    res.end();
  };
  for (const respond of [write, (res) => begin(res).tryEnd('body', 4)]) {
    const answer = await once(t, (res) => {
      res.onAborted(() => {});
      respond(res);
    });
    assert.deepEqual([answer.status, answer.get('x'), answer.body], ['201 \u00e9', '201 \u00e9', 'body']);
  }
});

it('Date is sent once, in the HTTP form', async (t) => {
  const answer = await once(t, (res) => res.end());
  assert.equal(answer.all('date').length, 1);
  assert.match(
    answer.get('date'),
    /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/,
  );
  assert.ok(Math.abs(Date.parse(answer.get('date')) - Date.now()) < 3000);
});

it('the product header', async (t) => {
  const answer = await once(t, (res) => res.end());
  assert.deepEqual(answer.all('uwebsockets'), differs('product-header', { original: ['20'], ours: [] }));
});

it('Content-Length of end(), in bytes', async (t) => {
  assert.equal((await once(t, (res) => res.end('\u00e9\u20ac'))).get('content-length'), '5');
  assert.equal((await once(t, (res) => res.end())).get('content-length'), '0');
  assert.equal((await once(t, (res) => res.end(new Uint8Array(300)))).get('content-length'), '300');
});

it('a content-length of the program equal to the automatic one', async (t) => {
  const answer = await once(t, (res) => res.writeHeader('content-length', '4').end('body'));
  assert.deepEqual(
    answer.all('content-length'),
    differs('double-content-length', { original: ['4', '4'], ours: ['4'] }),
  );
  assert.equal(answer.body, 'body');
});

it('the same with tryEnd', async (t) => {
  const answer = await once(t, (res) => {
    res.writeHeader('Content-Length', '4').tryEnd('body', 4);
  });
  assert.deepEqual(
    answer.all('content-length'),
    differs('double-content-length', { original: ['4', '4'], ours: ['4'] }),
  );
});

it('the same with endWithoutBody', async (t) => {
  const answer = await once(
    t,
    (res) => {
      res.onAborted(() => {});
      res.writeHeader('content-length', '4').endWithoutBody(4);
    },
    request('HEAD', '/'),
    { head: true },
  );
  assert.deepEqual(
    answer.all('content-length'),
    differs('double-content-length', { original: ['4', '4'], ours: ['4'] }),
  );
});

it('a content-length of the program alone, for a body-less end', async (t) => {
  const answer = await once(
    t,
    (res) => {
      res.onAborted(() => {});
      res.writeHeader('content-length', '9').endWithoutBody();
    },
    request('HEAD', '/'),
    { head: true },
  );
  assert.deepEqual(answer.all('content-length'), ['9']);
});

it('a content-length of the program that contradicts the body', async (t) => {
  let error;
  const server = answering(t, (res) => {
    res.writeHeader('content-length', '9');
    try {
      res.end('body');
    } catch (caught) {
      error = caught;
    }
  });
  const peer = await server.connect();
  await peer.send(get('/', ['Connection: close']));
  if (differs('contradicting-content-length', { original: 'both', ours: 'throws' }) === 'both') {
    return assert.deepEqual((await peer.head()).all('content-length'), ['9', '4']);
  }
  assert.doesNotMatch(await peer.rest(), /content-length: 9/i);
  assert.ok(error instanceof Error);
});

const SPLITS = {
  CR: 'a\rb',
  LF: 'a\nb',
  NUL: 'a\0b',
  CRLF: 'a\r\nInjected: 1',
  SOH: 'a\x01b',
  ESC: '\x1bb',
  DEL: 'a\x7f',
};
for (const [name, text] of Object.entries(SPLITS)) {
  for (const [place, write] of Object.entries({
    status: (res) => res.writeStatus(`200 ${text}`),
    'header name': (res) => res.writeHeader(`x${text}`, '1'),
    'header value': (res) => res.writeHeader('x-a', text),
    'status of bytes': (res) => res.writeStatus(Buffer.from(`200 ${text}\xe9`, 'latin1')),
    'header value of bytes': (res) => res.writeHeader('x-a', Buffer.from(`\xe9${text}`, 'latin1')),
    'header value of UTF-8': (res) => res.writeHeader('x-a', Buffer.from(`\xe9${text}`)),
  })) {
    it(`${name} in a ${place}`, async (t) => {
      let error;
      const server = answering(t, (res) => {
        try {
          write(res);
        } catch (caught) {
          error = caught;
        }
        res.end('x');
      });
      const peer = await server.connect();
      await peer.send(get('/', ['Connection: close']));
      const raw = await peer.rest();
      assert.equal(raw.includes(text), differs('response-splitting', { original: true, ours: false }));
      assert.equal(error instanceof Error, differs('response-splitting', { original: false, ours: true }));
    });
  }
}

it('a tab and bytes above 127 are no control characters', async (t) => {
  const answer = await once(t, (res) =>
    res
      .writeStatus('200 a\tb')
      .writeHeader('x', 'a\tb\x80')
      .writeHeader('y', Buffer.from([0x61, 9, 0x9f]))
      .end('x'),
  );
  assert.deepEqual(
    [answer.status, answer.get('x'), answer.get('y')],
    ['200 a\tb', 'a\tb\xc2\x80', 'a\t\x9f'],
  );
});

it('HEAD and end(body)', async (t) => {
  const server = answering(t, (res) => res.end('body'));
  const peer = await server.connect();
  await peer.send(request('HEAD', '/', ['Connection: close']));
  const raw = await peer.rest();
  assert.match(raw, /\r\nContent-Length: 4\r\n/);
  assert.equal(raw.slice(raw.indexOf('\r\n\r\n') + 4), differs('head-body', { original: 'body', ours: '' }));
});

it('endWithoutBody(n) advertises the length', async (t) => {
  const answer = await once(
    t,
    (res) => {
      res.onAborted(() => {});
      res.endWithoutBody(1234);
    },
    request('HEAD', '/'),
    { head: true },
  );
  assert.deepEqual([answer.status, answer.all('content-length')], ['200 OK', ['1234']]);
});

for (const length of ['5', 5.7]) {
  it(`endWithoutBody(${JSON.stringify(length)})`, async (t) => {
    const answer = await once(
      t,
      (res) => {
        res.onAborted(() => {});
        res.endWithoutBody(length);
      },
      request('HEAD', '/'),
      { head: true },
    );
    assert.deepEqual(answer.all('content-length'), ['5']);
  });
}

it('endWithoutBody(0)', async (t) => {
  const answer = await once(t, (res) => {
    res.onAborted(() => {});
    res.writeStatus('304 Not Modified').endWithoutBody(0);
  });
  assert.deepEqual(answer.all('content-length'), ['0']);
});

it('endWithoutBody() sends no content-length', async (t) => {
  const server = answering(t, (res) => {
    res.onAborted(() => {});
    res.writeStatus('204 No Content').endWithoutBody();
  });
  const peer = await server.connect();
  const answer = await peer.request(get('/'));
  assert.equal(answer.status, '204 No Content');
  assert.deepEqual([answer.all('content-length'), answer.all('transfer-encoding')], [[], []]);
  assert.equal((await peer.request(get('/'))).code, 204);
});

const BODIES = {
  end: (res) => res.end('body'),
  'end after content-length': (res) => res.writeHeader('Content-Length', '4').end('body'),
  'end, empty, after content-length': (res) => res.writeHeader('Content-Length', '4').end(),
  endWithoutBody: (res) => res.endWithoutBody(4),
  'endWithoutBody after content-length': (res) => res.writeHeader('content-length', '4').endWithoutBody(),
  write(res) {
    res.write('one');
    res.write('two');
    res.end('three');
  },
  'write and endWithoutBody'(res) {
    res.write('one');
    res.endWithoutBody();
  },
  beginWrite(res) {
    res.beginWrite();
    res.write('one');
    res.end();
  },
  'write after content-length'(res) {
    res.writeHeader('content-length', '4').write('body');
    res.end();
  },
  tryEnd: (res) => assert.deepEqual(res.tryEnd('body', 4), [true, true]),
  'tryEnd, in part': (res) => assert.deepEqual(res.tryEnd('body', 400), [true, true]),
  async late(res) {
    await null;
    res.write('one');
    setImmediate(() => res.end('two'));
  },
};
for (const status of ['204 No Content', '204', '304 Not Modified']) {
  for (const method of ['GET', 'HEAD']) {
    it(
      `${status} to ${method} has no body, however it is sent`,
      onlyOurs('status-without-body'),
      async (t) => {
        for (const [name, respond] of Object.entries(BODIES)) {
          const server = serve(t, (app) =>
            app
              .any('/next', (res) => {
                res.end('next');
              })
              .any('/*', (res) => {
                res.onAborted(() => {});
                respond(res.writeStatus(status));
              }),
          );
          const peer = await server.connect();
          await peer.send(request(method, '/'));
          const answer = await peer.head();
          assert.equal(answer.code, Number(status.slice(0, 3)), name);
          assert.equal(answer.get('transfer-encoding'), undefined, name);
          if (status.startsWith('204')) assert.equal(answer.get('content-length'), undefined, name);
          else if (/end.*content-length|endWithoutBody$/.test(name) && !name.startsWith('write'))
            assert.deepEqual(answer.all('content-length'), ['4'], name);
          await peer.send(get('/next'));
          const next = await peer.response();
          assert.deepEqual([next.status, next.body], ['200 OK', 'next'], name);
        }
      },
    );
  }
}

it('HEAD with a streamed body', onlyOurs('head-body'), async (t) => {
  for (const respond of Object.values(BODIES)) {
    const server = answering(t, (res) => {
      res.onAborted(() => {});
      respond(res);
    });
    const peer = await server.connect();
    await peer.send(request('HEAD', '/'));
    assert.equal((await peer.head()).status, '200 OK');
    await peer.send(request('HEAD', '/'));
    assert.equal((await peer.head()).status, '200 OK');
  }
});

it('a status that is not final cannot be ended with', onlyOurs('interim-status'), async (t) => {
  const ways = [
    (res) => res.end('body'),
    (res) => res.end(),
    (res) => res.write('body'),
    (res) => res.write(''),
    (res) => res.tryEnd('body', 4),
    (res) => res.beginWrite(),
    (res) => res.endWithoutBody(),
    (res) => res.endWithoutBody(3),
  ];
  for (const status of [
    '100 Continue',
    '101 Switching Protocols',
    '103 Early Hints',
    Buffer.from('102'),
    '199',
  ]) {
    for (const way of ways) {
      let error;
      const server = answering(t, (res) => {
        res.onAborted(() => {});
        res.writeStatus(status).writeHeader('link', '</a>');
        try {
          way(res);
        } catch (caught) {
          error = caught;
        }
        res.close();
      });
      const peer = await server.connect();
      await peer.send(get('/'));
      assert.equal(await peer.rest(), '');
      assert.match(error.message, /^The status ".*" is not that of a final response\.$/);
    }
  }
});

it('endWithoutBody counts as responded', { skip: v30 ? '20.30 aborts the process' : false }, async (t) => {
  const answer = await once(
    t,
    (res) => {
      res.endWithoutBody(3);
    },
    request('HEAD', '/'),
    { head: true },
  );
  assert.equal(answer.get('content-length'), '3');
});

it('endWithoutBody returns the response', async (t) => {
  let same;
  await once(t, (res) => {
    res.onAborted(() => {});
    same = res.endWithoutBody(0) === res;
  });
  assert.equal(same, true);
});

it('closeConnection on end adds Connection: close and closes after the last byte', async (t) => {
  const server = answering(t, (res) => res.end('x'.repeat(200000), true));
  const peer = await server.connect();
  const answer = await peer.request(get('/'));
  assert.deepEqual(answer.all('connection'), ['close']);
  assert.equal(answer.raw.length, 200000);
  assert.equal(await peer.gone(), 'fin');
});

it('closeConnection on endWithoutBody', { skip: v30 ? '20.30 does not close' : false }, async (t) => {
  const server = answering(t, (res) => {
    res.onAborted(() => {});
    res.endWithoutBody(0, true);
  });
  const peer = await server.connect();
  assert.deepEqual((await peer.request(get('/'))).all('connection'), ['close']);
  assert.equal(await peer.gone(), 'fin');
});

it('closeConnection adds no header when the client sent Connection: close', async (t) => {
  const server = answering(t, (res) => res.end('x', true));
  const peer = await server.connect();
  const raw = await peer.send(get('/', ['Connection: close'])).then(() => peer.rest());
  assert.doesNotMatch(raw, /connection: close/i);
});

it('connection: keep-alive is sent as written', async (t) => {
  const server = answering(t, (res) => res.writeHeader('connection', 'Keep-Alive').end('x'));
  const peer = await server.connect();
  for (let i = 0; i < 2; i++) {
    assert.deepEqual((await peer.request(get('/'))).all('connection'), ['Keep-Alive']);
  }
});

/**
 * Returns the Connection headers of the response, and whether the connection ends with it. The end is waited
 * for where the test `expects` it.
 */
async function connectionOf(t, respond, expects, head = get('/')) {
  const server = answering(t, (res) => {
    res.onAborted(() => {});
    respond(res);
  });
  const peer = await server.connect();
  await peer.send(head);
  const answer = await peer.head();
  const ended = await Promise.race([
    peer.gone().then(() => true),
    new Promise((resolve) => setTimeout(resolve, expects ? 5000 : 100, false)),
  ]);
  return [answer.all('connection'), ended];
}

const OLD = 'GET / HTTP/1.0\r\n\r\n';
const OLD_KEPT = 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n';
const CLOSING = get('/', ['Connection: close']);
const end = (res) => res.end('x');
const endAndClose = (res) => res.end('x', true);
const stream = (res) => {
  res.write('x');
  res.end();
};
for (const [values, finish, head, expected, ended] of [
  [['close'], end, get('/'), 'close', true],
  [['Close'], stream, get('/'), 'Close', true],
  [['close'], (res) => res.tryEnd('x', 1), get('/'), 'close', true],
  [['close'], (res) => res.endWithoutBody(), get('/'), 'close', true],
  [['close'], end, CLOSING, 'close', true],
  [['upgrade'], end, get('/'), 'upgrade', false],
  [['upgrade, close'], end, get('/'), 'upgrade, close', true],
  [['keep-alive, close'], end, get('/'), 'close', true],
  [['keep-alive', 'close'], end, get('/'), 'close', true],
  [['close', 'keep-alive'], end, get('/'), 'close', true],
  [['keep-alive', 'upgrade'], end, get('/'), 'keep-alive, upgrade', false],
  [['keep-alive'], endAndClose, get('/'), 'close', true],
  [['keep-alive'], end, OLD, 'close', true],
  [['keep-alive'], end, OLD_KEPT, 'keep-alive', false],
  [['upgrade'], end, OLD_KEPT, 'upgrade, keep-alive', false],
  [['close'], end, OLD_KEPT, 'close', true],
  [['keep-alive'], stream, OLD_KEPT, 'close', true],
  [['closed'], end, get('/'), 'closed', false],
]) {
  const name = `connection: ${values.join(' and ')}, ${finish.name}, ${JSON.stringify(head.slice(0, 60))}`;
  it(`${name} is ${expected}`, onlyOurs('written-connection'), async (t) => {
    const respond = (res) => {
      for (const value of values) res.writeHeader('Connection', value);
      finish(res.writeHeader('x', 'y'));
    };
    assert.deepEqual(await connectionOf(t, respond, ended, head), [[expected], ended]);
  });
}

for (const finish of [end, stream]) {
  for (const value of ['keep-alive', 'close', 'upgrade']) {
    it(`a client that asks for the end gets connection: ${value} as written, ${finish.name}`, async (t) => {
      const respond = (res) => finish(res.writeHeader('Connection', value).writeHeader('x', 'y'));
      assert.deepEqual(await connectionOf(t, respond, true, CLOSING), [[value], true]);
    });
  }
}

it('an empty Connection header is none', onlyOurs('written-connection'), async (t) => {
  const respond = (res) => res.writeHeader('connection', ' , ').end();
  assert.deepEqual(await connectionOf(t, respond, false), [[], false]);
});

it('a request with Connection: close is closed after the response', async (t) => {
  const server = answering(t, (res) => res.end('x'));
  const peer = await server.connect();
  await peer.send(get('/', ['Connection: close']));
  assert.equal((await peer.response()).body, 'x');
  assert.equal(await peer.gone(), 'fin');
});

it('a request with Connection: close and a response after the handler', async (t) => {
  const server = answering(t, (res) => {
    res.onAborted(() => {});
    setImmediate(() => {
      res.cork(() => res.end('late'));
    });
  });
  const peer = await server.connect();
  await peer.send(get('/', ['Connection: close']));
  assert.equal((await peer.response()).body, 'late');
  assert.equal(await peer.gone(), 'fin');
});

it('without Connection: close the connection stays', async (t) => {
  const server = answering(t, (res) => res.end('x'));
  const peer = await server.connect();
  for (let i = 0; i < 5; i++) assert.equal((await peer.request(get('/'))).body, 'x');
  assert.equal(peer.state, 'open');
});

it('HTTP/1.0', { skip: v30 ? '20.30 leaves it to the timeout' : false }, async (t) => {
  const server = answering(t, (res) => res.end('x'));
  const peer = await server.connect();
  await peer.send('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
  const raw = await peer.rest();
  assert.match(
    raw,
    differs('http-1.0', {
      original: /^HTTP\/1\.1 505 HTTP Version Not Supported\r\n/,
      ours: /^HTTP\/1\.[01] 200 OK\r\n[^]*\r\n\r\nx$/,
    }),
  );
});

it('closeConnection on the end of a chunked response', async (t) => {
  const server = answering(t, (res) => {
    res.onAborted(() => {});
    res.write('ab');
    res.end('c', true);
  });
  const peer = await server.connect();
  await peer.send(get('/'));
  const raw = await peer.rest();
  const body = raw.slice(raw.indexOf('\r\n\r\n') + 4);
  assert.equal(
    body,
    differs('late-connection-close', {
      original: '2\r\nabConnection: close\r\n\r\n1\r\nc\r\n0\r\n\r\n',
      ours: '2\r\nab\r\n1\r\nc\r\n0\r\n\r\n',
    }),
  );
});

it('any properties may be set on the response', async (t) => {
  const symbol = Symbol('s');
  let found;
  await once(t, (res) => {
    res.mine = 1;
    res[symbol] = 2;
    found = [res.mine, res[symbol], Object.keys(res)];
    res.end();
  });
  assert.deepEqual(found, [1, 2, ['mine']]);
});

it('the response is an object named uWS.HttpResponse, a new one each time', async (t) => {
  const names = [];
  const objects = new Set();
  const server = answering(t, (res) => {
    names.push(res.constructor.name);
    objects.add(res);
    res.end();
  });
  const peer = await server.connect();
  await peer.request(get('/'));
  await peer.request(get('/'));
  assert.deepEqual(names, [named('HttpResponse'), named('HttpResponse')]);
  assert.equal(objects.size, 2);
});

it('cork runs its callback synchronously and returns the response; collect is an alias', async (t) => {
  for (const name of ['cork', 'collect']) {
    const order = [];
    let same;
    const answer = await once(t, (res) => {
      same =
        res[name](() => {
          order.push('in');
          res.writeStatus('201 Created');
          res.writeHeader('a', '1');
          res.end('x');
        }) === res;
      order.push('out');
    });
    assert.deepEqual([order, same, answer.status, answer.body], [['in', 'out'], true, '201 Created', 'x']);
  }
});

it('cork after an await', async (t) => {
  const answer = await once(t, async (res) => {
    res.onAborted(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    res.cork(() => {
      res.writeHeader('x-a', '1');
      res.end('late');
    });
  });
  assert.deepEqual([answer.get('x-a'), answer.body], ['1', 'late']);
});

it('cork inside cork', async (t) => {
  const answer = await once(t, (res) => {
    res.cork(() => {
      res.writeHeader('x-a', '1');
      res.cork(() => {
        res.writeHeader('x-b', '2');
      });
      res.end('x');
    });
  });
  assert.deepEqual([answer.get('x-a'), answer.get('x-b'), answer.body], ['1', '2', 'x']);
});

it('a thrown error leaves cork', async (t) => {
  let error;
  const answer = await once(t, (res) => {
    try {
      res.cork(() => {
        throw new Error('mine');
      });
    } catch (caught) {
      error = caught;
    }
    res.end('x');
  });
  assert.equal(answer.body, 'x');
  assert.equal(error && error.message, 'mine');
});

it('the writes of one tick leave together, outside of cork too', async (t) => {
  const server = answering(t, async (res) => {
    res.onAborted(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    res.cork(() => {
      res.writeHeader('x-a', '1');
      res.writeHeader('x-b', '2');
      res.end('body');
    });
  });
  const peer = await server.connect();
  let reads = 0;
  peer.socket.on('data', () => reads++);
  await peer.request(get('/'));
  assert.equal(reads, 1);
});

it('writing outside of cork', async () => {
  const run = await child(async ({ listening, get }) => {
    const server = listening((app) =>
      app.get('/*', (res) => {
        res.onAborted(() => {});
        setImmediate(() => {
          res.writeStatus('201 Created');
          res.writeHeader('a', 'b');
          res.end('x');
        });
      }),
    );
    console.log((await (await server.connect()).request(get('/'))).status);
    process.exit(0);
  });
  assert.equal(run.stdout, '201 Created\n');
  assert.equal(/corked/.test(run.stderr), differs('cork-warning', { original: true, ours: false }));
});
