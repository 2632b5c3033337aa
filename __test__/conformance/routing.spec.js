'use strict';
const {
  it,
  assert,
  serve,
  get,
  request,
  uWS,
  differs,
  byVersion,
  v30,
  upgradeRequest,
  Events,
} = require('../support');

/** Creates a server whose routes answer with their labels. */
function labelled(t, routes) {
  return serve(t, (app) => {
    for (const [method, pattern, label] of routes) {
      app[method](pattern, (res, req) => {
        res.end(label === undefined ? pattern : typeof label === 'function' ? label(req) : label);
      });
    }
  });
}
/** 20.57 and this module answer 404 where nothing matches; 20.30 closes. */
async function notFound(server, head, options) {
  const peer = await server.connect();
  await peer.send(head);
  if (v30) return assert.equal(await peer.rest(), '');
  const answer = await peer.response(options);
  assert.equal(answer.status, '404 File Not Found');
  peer.destroy();
}
const aborts = { skip: v30 ? '20.30 aborts the process: Internal routing error' : false };
const body = async (server, target, method = 'GET') =>
  (await server.once(request(method, target), { head: method === 'HEAD' })).body;

const METHODS = {
  get: 'GET',
  post: 'POST',
  options: 'OPTIONS',
  del: 'DELETE',
  patch: 'PATCH',
  put: 'PUT',
  connect: 'CONNECT',
  trace: 'TRACE',
};
for (const [name, verb] of Object.entries(METHODS)) {
  it(`app.${name} takes ${verb} and nothing else`, async (t) => {
    const server = labelled(t, [[name, '/x', 'hit']]);
    assert.equal(await body(server, '/x', verb), 'hit');
    await notFound(server, request(verb === 'PUT' ? 'PATCH' : 'PUT', '/x'));
  });
}

it('app.head takes HEAD', async (t) => {
  const server = serve(t, (app) =>
    app.head('/x', (res) => {
      res.onAborted(() => {});
      res.endWithoutBody(7);
    }),
  );
  const answer = await server.once(request('HEAD', '/x'), { head: true });
  assert.equal(answer.status, '200 OK');
  assert.equal(answer.get('content-length'), '7');
});

it('a GET route does not take HEAD', async (t) => {
  const server = labelled(t, [['get', '/x', 'hit']]);
  await notFound(server, request('HEAD', '/x'), { head: true });
});

it('app.any takes every method', async (t) => {
  const server = labelled(t, [['any', '/x', (req) => req.getMethod()]]);
  for (const verb of Object.values(METHODS)) assert.equal(await body(server, '/x', verb), verb.toLowerCase());
});

it(
  'app.any takes a method nobody knows',
  { skip: v30 ? '20.30 closes the connection' : false },
  async (t) => {
    const server = labelled(t, [['any', '/x', (req) => req.getCaseSensitiveMethod()]]);
    assert.equal(await body(server, '/x', 'PURGE'), 'PURGE');
  },
);

it('every registration returns the app', () => {
  const app = uWS.App();
  const handler = () => {};
  for (const name of [...Object.keys(METHODS), 'head', 'any'])
    assert.equal(app[name](`/${name}`, handler), app, name);
  assert.equal(app.ws('/ws', {}), app);
});

it('literal patterns match the whole path, case-sensitively', async (t) => {
  const server = labelled(t, [['get', '/a/b', 'ab']]);
  assert.equal(await body(server, '/a/b'), 'ab');
  for (const target of ['/a', '/a/b/c', '/a/B', '/A/b', '/a//b', '/a/bb', '//a/b']) {
    await notFound(server, get(target));
  }
});

it('a trailing slash is another path', async (t) => {
  const server = labelled(t, [
    ['get', '/a', 'plain'],
    ['get', '/b/', 'slash'],
  ]);
  assert.equal(await body(server, '/a'), 'plain');
  await notFound(server, get('/a/'));
  assert.equal(await body(server, '/b/'), 'slash');
  await notFound(server, get('/b'));
});

it('the root pattern', async (t) => {
  const server = labelled(t, [['get', '/', 'root']]);
  assert.equal(await body(server, '/'), 'root');
  await notFound(server, get('/x'));
});

it('matching looks at the path only, not at the query', async (t) => {
  const server = labelled(t, [['get', '/a', 'hit']]);
  assert.equal(await body(server, '/a?b=/c/d'), 'hit');
  assert.equal(await body(server, '/a?'), 'hit');
});

it('the path is not decoded before matching', async (t) => {
  const server = labelled(t, [
    ['get', '/a b', 'decoded'],
    ['get', '/a%20b', 'raw'],
  ]);
  assert.equal(await body(server, '/a%20b'), 'raw');
});

it('parameters take one segment, raw', async (t) => {
  const server = labelled(t, [
    ['get', '/u/:id/p/:name', (req) => `${req.getParameter(0)}|${req.getParameter(1)}`],
  ]);
  assert.equal(await body(server, '/u/12/p/a%20b'), '12|a%20b');
  await notFound(server, get('/u/12/p/a/b'));
  await notFound(server, get('/u/12'));
});

it('parameters by name', { skip: v30 ? '20.30 knows parameters by index only' : false }, async (t) => {
  const server = labelled(t, [
    [
      'get',
      '/u/:id/p/:name',
      (req) => `${req.getParameter('id')}|${req.getParameter('name')}|${req.getParameter(Buffer.from('id'))}`,
    ],
  ]);
  assert.equal(await body(server, '/u/12/p/a%20b'), '12|a%20b|12');
});

it('a parameter does not match an empty segment', async (t) => {
  const server = labelled(t, [
    ['get', '/u/:id', 'hit'],
    ['get', '/:a/b/:c', 'hit'],
  ]);
  for (const target of ['/u/', '/u', '//b/x', '/1/b/']) await notFound(server, get(target));
});

it('parameters out of range or unknown are empty', async (t) => {
  const server = labelled(t, [
    [
      'get',
      '/u/:id',
      (req) =>
        JSON.stringify([
          req.getParameter(1),
          req.getParameter(99),
          byVersion({ old: '', now: req.getParameter('other') }),
        ]),
    ],
  ]);
  assert.equal(await body(server, '/u/1'), '["","",""]');
});

it('a wildcard takes the rest of the path', async (t) => {
  const server = labelled(t, [['get', '/s/*', 'rest']]);
  for (const target of ['/s/', '/s/a', '/s/a/b/c', '/s/a/'])
    assert.equal(await body(server, target), 'rest', target);
  await notFound(server, get('/t/a'));
});

it('the parameter of a wildcard is the empty string', async (t) => {
  const server = labelled(t, [['get', '/w/*', (req) => JSON.stringify(req.getParameter(0))]]);
  assert.equal(await body(server, '/w/a'), '""');
});

it('literal before parameter before wildcard, whatever the order of registration', async (t) => {
  const server = labelled(t, [
    ['get', '/*', 'all'],
    ['get', '/a/*', 'wild'],
    ['get', '/a/:p', 'param'],
    ['get', '/a/b', 'literal'],
  ]);
  assert.equal(await body(server, '/a/b'), 'literal');
  assert.equal(await body(server, '/a/c'), 'param');
  assert.equal(await body(server, '/a/c/d'), 'wild');
  assert.equal(await body(server, '/b'), 'all');
});

it('the preference is by segment and falls back when the rest does not match', async (t) => {
  const server = labelled(t, [
    ['get', '/a/:x/c', 'param'],
    ['get', '/a/b/d', 'literal'],
  ]);
  assert.equal(await body(server, '/a/b/c'), 'param');
  assert.equal(await body(server, '/a/b/d'), 'literal');
});

it('a specific method beats any for the same pattern, whatever the order', async (t) => {
  const server = labelled(t, [
    ['any', '/x', 'any'],
    ['get', '/x', 'get'],
  ]);
  assert.equal(await body(server, '/x'), 'get');
  assert.equal(await body(server, '/x', 'POST'), 'any');
});

it(
  'a specific method beats any even when its pattern is less specific',
  { skip: v30 ? '20.30 looks at the pattern first' : false },
  async (t) => {
    const server = labelled(t, [
      ['any', '/a/b', 'any'],
      ['get', '/*', 'get'],
    ]);
    assert.equal(await body(server, '/a/b'), 'get');
  },
);

it('a ws route beats get and any for an upgrade request and leaves the others', async (t) => {
  const server = serve(t, (app) => {
    app.get('/x', (res) => {
      res.end('get');
    });
    app.any('/x', (res) => {
      res.end('any');
    });
    app.ws('/x', {});
  });
  const socket = await server.ws('/x');
  assert.equal(socket.handshake.code, 101);
  assert.equal(await body(server, '/x'), 'get');
  assert.equal(await body(server, '/x', 'POST'), 'any');
});

it('a get route after a ws route on one pattern', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/*', {}).get('/*', (res) => {
      res.end('get');
    }),
  );
  assert.equal(await body(server, '/x'), 'get');
  assert.equal((await server.ws('/x')).handshake.code, 101);
});

it('a key of another length than 24 does not reach the ws route', async (t) => {
  const server = serve(t, (app) =>
    app.ws('/x', {}).get('/x', (res) => {
      res.end('get');
    }),
  );
  for (const key of ['', 'short', 'a'.repeat(25)]) {
    assert.equal((await server.once(upgradeRequest('/x', { key }))).body, 'get', JSON.stringify(key));
  }
});

it('the same method and pattern twice: the later handler replaces the earlier', aborts, async (t) => {
  const events = new Events();
  const server = serve(t, (app) => {
    app.get('/x', (res) => {
      events.push('first');
      res.end('first');
    });
    app.get('/x', (res, req) => {
      events.push('second');
      if (req.getQuery() === 'yield') req.setYield(true);
      else res.end('second');
    });
    app.get('/*', (res) => {
      res.end('wild');
    });
  });
  assert.equal(await body(server, '/x'), 'second');
  assert.equal(await body(server, '/x?yield'), 'wild');
  assert.deepEqual(events.list, ['second', 'second']);
});

it('setYield goes through all matches in the order of priority and returns the request', async (t) => {
  const events = new Events();
  const server = serve(t, (app) => {
    const step = (label) => (res, req) => {
      events.push(label);
      assert.equal(req.setYield(true), req);
    };
    app.any('/*', (res) => {
      events.push('any *');
      res.end('done');
    });
    app.any('/a/b', step('any literal'));
    app.get('/*', step('get *'));
    app.get('/a/*', step('get a/*'));
    app.get('/a/:p', step('get param'));
    app.get('/a/b', step('get literal'));
  });
  assert.equal(await body(server, '/a/b'), 'done');
  assert.deepEqual(
    events.list,
    byVersion({
      old: ['get literal', 'any literal', 'get param', 'get a/*', 'get *', 'any *'],
      now: ['get literal', 'get param', 'get a/*', 'get *', 'any literal', 'any *'],
    }),
  );
});

it('setYield(false) takes a yield back', async (t) => {
  const server = serve(t, (app) => {
    app.get('/x', (res, req) => {
      req.setYield(true);
      req.setYield(false);
      res.end('first');
    });
    app.get('/*', (res) => {
      res.end('second');
    });
  });
  assert.equal(await body(server, '/x'), 'first');
});

it('headers written before yielding stay', async (t) => {
  const server = serve(t, (app) => {
    app.get('/x', (res, req) => {
      res.writeHeader('x-first', '1');
      req.setYield(true);
    });
    app.get('/*', (res) => {
      res.end('second');
    });
  });
  const answer = await server.once(get('/x'));
  assert.equal(answer.get('x-first'), '1');
  assert.equal(answer.body, 'second');
});

it('parameters are those of the route that runs', async (t) => {
  const server = serve(t, (app) => {
    app.get('/:a/:b', (res, req) => {
      req.setYield(true);
    });
    app.get('/:only/*', (res, req) => {
      res.end(`${req.getParameter(0)}|${req.getParameter(1)}`);
    });
  });
  assert.equal(await body(server, '/x/y'), 'x|');
});

it(
  'no match: 404 File Not Found with a small HTML body, keep-alive',
  { skip: v30 ? '20.30 closes the connection' : false },
  async (t) => {
    const server = labelled(t, [['get', '/x', 'hit']]);
    const peer = await server.connect();
    const answer = await peer.request(get('/nothing'));
    assert.equal(answer.status, '404 File Not Found');
    assert.match(answer.body, /<html>/i);
    assert.equal((await peer.request(get('/x'))).body, 'hit');
  },
);

it('yielding in a route with nothing below reaches the default answer', async (t) => {
  const server = serve(t, (app) =>
    app.get('/x', (res, req) => {
      req.setYield(true);
    }),
  );
  await notFound(server, get('/x'));
});

it('yielding out of any /*, which takes the place of the default answer, closes the connection', async (t) => {
  const server = serve(t, (app) =>
    app.any('/*', (res, req) => {
      req.setYield(true);
    }),
  );
  const peer = await server.connect();
  await peer.send(get('/x'));
  assert.equal(await peer.rest(), '');
});

it('a GET to a ws route without upgrade headers gets the 404', async (t) => {
  const server = serve(t, (app) => app.ws('/x', {}));
  await notFound(server, get('/x'));
});

it('a null handler removes the route', async (t) => {
  const server = labelled(t, [
    ['get', '/x', 'hit'],
    ['get', '/y', 'other'],
    ['post', '/x', 'post'],
  ]);
  assert.equal(await body(server, '/x'), 'hit');
  assert.equal(server.app.get('/x', null), server.app);
  await notFound(server, get('/x'));
  assert.equal(await body(server, '/y'), 'other');
  assert.equal(await body(server, '/x', 'POST'), 'post');
});

it('routes may be added while listening, before the first request and after', async (t) => {
  const server = labelled(t, [['get', '/x', 'hit']]);
  assert.equal(await body(server, '/x'), 'hit');
  server.app.get('/late', (res) => {
    res.end('late');
  });
  assert.equal(await body(server, '/late'), 'late');
  server.app.ws('/ws', {});
  assert.equal((await server.ws('/ws')).handshake.code, 101);
});

it('a later route of higher priority takes over', async (t) => {
  const server = labelled(t, [['get', '/*', 'wild']]);
  assert.equal(await body(server, '/x'), 'wild');
  server.app.get('/x', (res) => {
    res.end('literal');
  });
  assert.equal(await body(server, '/x'), 'literal');
});

it('99 segments match', async (t) => {
  const server = labelled(t, [
    ['get', '/:x'.repeat(99), 'params'],
    ['get', '/a'.repeat(99), 'literal'],
  ]);
  assert.equal(await body(server, '/b'.repeat(99)), 'params');
  assert.equal(await body(server, '/a'.repeat(99)), 'literal');
});

it('a pattern of more than 100 segments', async (t) => {
  const server = labelled(t, [['get', '/:x'.repeat(101), 'over']]);
  if (differs('over-100-segments', { original: true, ours: false }))
    assert.equal(await body(server, '/b'.repeat(100)), 'over');
  else await notFound(server, get('/b'.repeat(101)));
});

it('a wildcard takes any number of segments', async (t) => {
  const server = labelled(t, [['get', '/a/*', 'wild']]);
  assert.equal(await body(server, '/a'.repeat(300)), 'wild');
});

it('patterns may be given as any recognized data', async (t) => {
  const server = labelled(t, [
    ['get', Buffer.from('/buffer'), 'buffer'],
    ['get', new TextEncoder().encode('/bytes').buffer, 'arraybuffer'],
  ]);
  assert.equal(await body(server, '/buffer'), 'buffer');
  assert.equal(await body(server, '/bytes'), 'arraybuffer');
});
