'use strict';
const {
  it,
  assert,
  serve,
  get,
  post,
  differs,
  deferred,
  child,
  aborted,
  Events,
  ERRORS,
  turn,
} = require('../support');

const CALLS = {
  writeStatus: (res) => res.writeStatus('200 OK'),
  writeHeader: (res) => res.writeHeader('a', 'b'),
  end: (res) => res.end('x'),
  endWithoutBody: (res) => res.endWithoutBody(),
  write: (res) => res.write('x'),
  tryEnd: (res) => res.tryEnd('x', 1),
  close: (res) => res.close(),
  getWriteOffset: (res) => res.getWriteOffset(),
  onWritable: (res) => res.onWritable(() => true),
  onAborted: (res) => res.onAborted(() => {}),
  onData: (res) => res.onData(() => {}),
  cork: (res) => res.cork(() => {}),
  collect: (res) => res.collect(() => {}),
  pause: (res) => res.pause(),
  resume: (res) => res.resume(),
  getRemoteAddress: (res) => res.getRemoteAddress(),
  getRemoteAddressAsText: (res) => res.getRemoteAddressAsText(),
  getProxiedRemoteAddress: (res) => res.getProxiedRemoteAddress(),
  getProxiedRemoteAddressAsText: (res) => res.getProxiedRemoteAddressAsText(),
  upgrade: (res) => res.upgrade({}, 'a', 'b', 'c', {}),
};

/** Returns the error text of every method called on the object. */
function errorsOf(res) {
  return Object.fromEntries(
    Object.entries(CALLS).map(([name, call]) => {
      try {
        call(res);
        return [name, 'no error'];
      } catch (error) {
        return [name, error.message];
      }
    }),
  );
}
function assertAllInvalid(errors) {
  for (const [name, message] of Object.entries(errors)) assert.match(message, ERRORS.response, name);
}

it('every method throws after end', async (t) => {
  let errors;
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.end('x');
      errors = errorsOf(res);
    }),
  );
  assert.equal((await server.once(get('/'))).body, 'x');
  assertAllInvalid(errors);
});

it('every method throws after endWithoutBody and a complete tryEnd', async (t) => {
  for (const end of [(res) => res.endWithoutBody(0), (res) => res.tryEnd('x', 1)]) {
    let errors;
    const server = serve(t, (app) =>
      app.get('/*', (res) => {
        res.onAborted(() => {});
        end(res);
        errors = errorsOf(res);
      }),
    );
    await server.once(get('/'));
    assertAllInvalid(errors);
  }
});

it('every method throws inside onAborted and after it', async (t) => {
  const inside = deferred();
  let kept;
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      kept = res;
      res.onAborted(() => {
        inside.resolve(errorsOf(res));
      });
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/'));
  await peer.sendPieces('', 1);
  while (!kept) await turn();
  peer.reset();
  assertAllInvalid(await inside.promise);
  assertAllInvalid(errorsOf(kept));
});

it('every method throws after close', async (t) => {
  let errors;
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.onAborted(() => {});
      res.close();
      errors = errorsOf(res);
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/'));
  await peer.gone();
  assertAllInvalid(errors);
});

it('every method throws after upgrade', async (t) => {
  let errors;
  const server = serve(t, (app) =>
    app.ws('/*', {
      upgrade(res, req, context) {
        res.upgrade(
          {},
          req.getHeader('sec-websocket-key'),
          req.getHeader('sec-websocket-protocol'),
          req.getHeader('sec-websocket-extensions'),
          context,
        );
        errors = errorsOf(res);
      },
    }),
  );
  await server.ws('/');
  assertAllInvalid(errors);
});

it('properties set on the response stay readable after the end', async (t) => {
  let kept;
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.mine = 7;
      kept = res;
      res.end();
    }),
  );
  await server.once(get('/'));
  assert.equal(kept.mine, 7);
});

it('res.close() runs onAborted synchronously and closes the connection', async (t) => {
  const order = [];
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.onAborted(() => {
        order.push('aborted');
      });
      order.push(res.close() === res);
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/'));
  assert.equal(await peer.rest(), '');
  assert.deepEqual(order, ['aborted', true]);
});

it('res.close() later', async (t) => {
  const order = new Events();
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.onAborted(() => {
        order.push('aborted');
      });
      setImmediate(() => {
        res.close();
        order.push('after');
      });
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/'));
  await peer.gone();
  assert.deepEqual(order.list, ['aborted', 'after']);
});

for (const leave of ['halfClose', 'reset', 'destroy']) {
  it(`the peer leaves (${leave}) while the response is pending: onAborted once`, async (t) => {
    const events = new Events();
    const server = serve(t, (app) =>
      app.get('/*', (res) => {
        events.push('request');
        res.onAborted(() => {
          events.push('aborted');
        });
      }),
    );
    const peer = await server.connect();
    await peer.send(get('/'));
    await events.count(1);
    peer[leave]();
    await events.count(2);
    for (let i = 0; i < 5; i++) await turn();
    assert.deepEqual(events.list, ['request', 'aborted']);
  });
}

it('onAborted does not run after a response', async (t) => {
  const events = new Events();
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.onAborted(() => {
        events.push('aborted');
      });
      res.end('x');
    }),
  );
  const peer = await server.connect();
  await peer.request(get('/'));
  peer.reset();
  for (let i = 0; i < 20; i++) await turn();
  assert.deepEqual(events.list, []);
});

it('the later of two onAborted handlers counts and neither registration throws', async (t) => {
  const events = new Events();
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.onAborted(() => {
        events.push('first');
      });
      assert.equal(
        res.onAborted(() => {
          events.push('second');
        }),
        res,
      );
      res.close();
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/'));
  await peer.gone();
  assert.deepEqual(events.list, ['second']);
});

it('app.close() aborts pending responses synchronously', async (t) => {
  const events = new Events();
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      events.push('request');
      res.onAborted(() => {
        events.push('aborted');
      });
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/'));
  await events.count(1);
  server.app.close();
  assert.deepEqual(events.list, ['request', 'aborted']);
  await peer.gone();
});

it('an answer long after the handler', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', (res) => {
      res.onAborted(() => {});
      setTimeout(() => {
        res.cork(() => {
          res.end('late');
        });
      }, 30);
    }),
  );
  assert.equal((await server.once(get('/'))).body, 'late');
});

it('an async handler that responds in its microtasks needs no onAborted', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', async (res) => {
      await null;
      res.end('x');
    }),
  );
  assert.equal((await server.once(get('/'))).body, 'x');
});

it('an async handler may attach onAborted in its microtasks', async (t) => {
  const server = serve(t, (app) =>
    app.get('/*', async (res) => {
      await null;
      res.onAborted(() => {});
      setImmediate(() => {
        res.cork(() => {
          res.end('x');
        });
      });
    }),
  );
  assert.equal((await server.once(get('/'))).body, 'x');
});

const forgets = {
  'neither responds nor attaches onAborted': () => {},
  'attaches onData alone': (res) => {
    res.onData(() => {});
  },
};
for (const [name, handler] of Object.entries(forgets)) {
  it(`a handler that ${name}`, async () => {
    const run = await child(`async ({ listening, Peer, get }) => {
      const server = listening((app) => app.get('/forgotten', ${handler}).get('/ok', (res) => { res.end('ok') }))
      for (const target of ['/forgotten', '/forgotten', '/ok']) console.log((await (await server.connect()).request(get(target))).status)
      process.exit(0)
    }`);
    if (differs('forgotten-response', { original: 'aborts', ours: '500' }) === 'aborts')
      return assert.ok(aborted(run), JSON.stringify(run));
    assert.equal(run.stdout, '500 Internal Server Error\n500 Internal Server Error\n200 OK\n');
    assert.equal(run.code, 0);
    assert.match(run.stderr, /GET[^]*\/forgotten|\/forgotten[^]*GET/i);
  });
}

it('a handler that throws, with no listener: the process ends as by any uncaught exception', async () => {
  const run = await child(async ({ listening, get }) => {
    const server = listening((app) =>
      app.get('/*', () => {
        throw new Error('mine');
      }),
    );
    await (await server.connect()).send(get('/'));
  });
  assert.equal(run.code, 1);
  assert.match(run.stderr, /Error: mine/);
});

it('a handler that throws before it attached anything, with a listener', async () => {
  const run = await child(async ({ listening, get }) => {
    process.on('uncaughtException', (error, origin) => {
      console.log(origin, error.message);
    });
    const server = listening((app) =>
      app
        .get('/throws', () => {
          throw new Error('mine');
        })
        .get('/ok', (res) => {
          res.end();
        }),
    );
    for (const target of ['/throws', '/ok'])
      console.log((await (await server.connect()).request(get(target))).status);
    process.exit(0);
  });
  if (differs('throwing-handler', { original: 'aborts', ours: '500' }) === 'aborts') {
    assert.match(run.stdout, /^uncaughtException mine\n/);
    assert.ok(aborted(run));
  } else assert.equal(run.stdout, 'uncaughtException mine\n500 Internal Server Error\n200 OK\n');
});

it('a handler that throws after onAborted', async () => {
  const run = await child(async ({ listening, get, turn }) => {
    process.on('uncaughtException', (error, origin) => {
      console.log(origin, error.message);
    });
    const server = listening((app) =>
      app
        .get('/throws', (res) => {
          res.onAborted(() => {});
          throw new Error('mine');
        })
        .get('/ok', (res) => {
          res.end();
        }),
    );
    const peer = await server.connect();
    await peer.send(get('/throws'));
    console.log((await (await server.connect()).request(get('/ok'))).status);
    for (let i = 0; i < 50; i++) await turn();
    console.log(peer.size === 0 ? 'nothing' : (await peer.response()).status);
    process.exit(0);
  });
  assert.equal(
    run.stdout,
    `uncaughtException mine\n200 OK\n${differs('throwing-handler', { original: 'nothing', ours: '500 Internal Server Error' })}\n`,
  );
});

it('a handler that throws after it has responded', async () => {
  const run = await child(async ({ listening, get }) => {
    process.on('uncaughtException', (error, origin) => {
      console.log(origin, error.message);
    });
    const server = listening((app) =>
      app.get('/*', (res) => {
        res.end('x');
        throw new Error('mine');
      }),
    );
    const peer = await server.connect();
    console.log((await peer.request(get('/'))).body, (await peer.request(get('/'))).body);
    process.exit(0);
  });
  assert.equal(run.stdout, 'uncaughtException mine\nuncaughtException mine\nx x\n');
});

it('an async handler that rejects: unhandledRejection, the response stays pending', async () => {
  const run = await child(async ({ listening, get, turn }) => {
    const rejected = new Promise((resolve) => {
      process.on('unhandledRejection', (error) => {
        console.log('rejection', error.message);
        resolve();
      });
    });
    const server = listening((app) =>
      app.get('/*', async (res) => {
        res.onAborted(() => {});
        throw new Error('mine');
      }),
    );
    const peer = await server.connect();
    await peer.send(get('/'));
    await rejected;
    for (let i = 0; i < 50; i++) await turn();
    console.log(peer.state, peer.size);
    process.exit(0);
  });
  assert.equal(run.stdout, 'rejection mine\nopen 0\n');
});

it('onData and onAborted handlers that throw are uncaught exceptions and no more', async () => {
  const run = await child(async ({ listening, post, get }) => {
    process.on('uncaughtException', (error) => {
      console.log(error.message);
    });
    const server = listening((app) =>
      app
        .post('/*', (res) => {
          res.onAborted(() => {
            throw new Error('aborted');
          });
          res.onData((chunk, last) => {
            if (last) res.end('x');
            throw new Error('data');
          });
        })
        .get('/*', (res) => {
          res.end('ok');
        }),
    );
    const peer = await server.connect();
    console.log((await peer.request(post('/', 'x'))).body);
    await peer.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n');
    console.log((await (await server.connect()).request(get('/'))).body);
    peer.reset();
    process.on('uncaughtException', (error) => {
      if (error.message === 'aborted') process.exit(0);
    });
  });
  assert.equal(run.code, 0);
  assert.match(run.stdout, /^data\nx\n/);
  assert.match(run.stdout, /\naborted\n$/);
});

it('WebSocket handlers that throw are uncaught exceptions; the connection goes on', async () => {
  const run = await child(async ({ listening }) => {
    process.on('uncaughtException', (error) => {
      console.log(error.message);
    });
    const server = listening((app) =>
      app.ws('/*', {
        open() {
          throw new Error('open');
        },
        message(ws, message) {
          ws.send(message);
          throw new Error('message');
        },
        close() {
          process.nextTick(() => process.exit(0));
          throw new Error('close');
        },
      }),
    );
    const peer = await server.ws('/');
    await peer.text('a');
    await peer.text('b');
    console.log(await peer.message(), await peer.message());
    peer.reset();
  });
  assert.equal(run.stdout, 'open\nmessage\nmessage\na b\nclose\n');
});

it('a throw in the listen callback and in cork reaches the caller', async () => {
  const run = await child(({ uWS }) => {
    try {
      uWS.App().listen(0, () => {
        throw new Error('mine');
      });
    } catch (error) {
      console.log('caught', error.message);
    }
    process.exit(0);
  });
  assert.equal(run.stdout, 'caught mine\n');
});

it('process.exit inside a handler', async () => {
  const run = await child(async ({ listening, get }) => {
    const server = listening((app) =>
      app.get('/*', () => {
        process.exit(7);
      }),
    );
    await (await server.connect()).send(get('/'));
  });
  assert.deepEqual([run.code, run.signal], [7, null]);
});

it('process.exit with open connections', async () => {
  const run = await child(async ({ listening, get }) => {
    const server = listening((app) =>
      app
        .get('/*', (res) => {
          res.onAborted(() => {});
          setImmediate(() => process.exit(5));
        })
        .ws('/ws', {}),
    );
    await server.ws('/ws');
    await (await server.connect()).send(get('/'));
  });
  assert.deepEqual([run.code, run.signal], [5, null]);
});

it('app.close() lets the process exit', async () => {
  const run = await child(async ({ listening, get }) => {
    const server = listening((app) =>
      app.get('/*', (res) => {
        res.end('x');
      }),
    );
    const peer = await server.connect();
    console.log((await peer.request(get('/'))).body);
    server.app.close();
    await peer.gone();
    peer.destroy();
  });
  assert.deepEqual([run.stdout, run.code, run.hung], ['x\n', 0, false]);
});

it('a 500 hides nothing of the connection: the next request is served', async (t) => {
  const server = serve(t, (app) =>
    app.post('/*', (res) => {
      res.writeStatus('500 Internal Server Error').end('mine');
    }),
  );
  const peer = await server.connect();
  assert.equal((await peer.request(post('/', 'x'))).status, '500 Internal Server Error');
  assert.equal((await peer.request(post('/', 'y'))).body, 'mine');
});
