'use strict';
// Warnings about handlers, and errors of responses: which route it was, and the remedy.

const { it, assert, support, until, get, post, ERRORS } = require('./support');
const { Program } = require('../robustness/program');

/** Collects the warnings of a test. */
function hear(t) {
  const messages = [];
  const listener = ({ name, message }) => name === 'UwsRsWarning' && messages.push(message);
  process.on('warning', listener);
  t.after(() => process.off('warning', listener));
  return messages;
}

it('a handler that leaves its request: method, path, route and remedy, once for each route', async (t) => {
  const warnings = hear(t);
  const server = support.plain(t, (app) =>
    app
      .get('/users/:id', () => {})
      .del('/users/:id', async () => {})
      .any('/any', () => {})
      .ws('/ws/*', { upgrade: () => {} }),
  );
  const requests = [get('/users/7?secret=1'), get('/users/8'), 'DELETE /users/9', 'PATCH /any'];
  for (const text of requests) {
    const whole = text.startsWith('GET') ? text : `${text} HTTP/1.1\r\nHost: a\r\n\r\n`;
    assert.equal((await server.once(whole)).code, 500);
  }
  await server.once(support.upgradeRequest('/ws/chat'));
  await until(() => warnings.length === 4);
  const text = (request, route) =>
    `The handler of ${request} returned without responding or attaching an abort handler (res.onAborted); answered 500. Respond in every case; to do so later, call res.onAborted before the handler returns. The route is '${route}'.`;
  assert.deepEqual(warnings, [
    text('GET /users/7', 'GET /users/:id'),
    text('DELETE /users/9', 'DELETE /users/:id'),
    text('PATCH /any', 'ANY /any'),
    text('GET /ws/chat', 'WS /ws/*'),
  ]);
});

it('a handler that throws, where the process goes on', { timeout: 20000 }, async (t) => {
  const program = Program.start(
    t,
    ({ listening, Peer, get, until }) => {
      process.on('uncaughtException', (error) => console.log('uncaught', error));
      process.on('warning', ({ message }) => console.log('warning', message));
      const server = listening((app) =>
        app
          .get('/fresh/:id', () => {
            throw undefined;
          })
          .get('/begun', (res) => {
            res.write('begun');
            throw 'begun';
          })
          .get('/over', (res) => {
            res.end('over');
            throw 'over';
          }),
      );
      (async () => {
        for (const target of ['/fresh/1', '/fresh/2', '/begun', '/over']) {
          const peer = await Peer.connect(server.port, { tls: false });
          await peer.send(get(target));
          await until(() => peer.size > 0 && (target !== '/begun' || peer.state !== 'open'));
          await new Promise((resolve) => setTimeout(resolve, 30));
          const text = peer.bytes().toString('latin1');
          console.log('bytes', target, text.slice(9, 12), text.endsWith('\r\nbegun\r\n') ? 'cut' : 'whole');
          peer.destroy();
        }
        process.exit();
      })();
    },
    null,
    { env: { UWS_TLS: '' } },
  );
  const { code } = await program.ended;
  assert.equal(code, 0, program.stderr);
  const lines = program.stdout.trim().split('\n');
  const of = (kind) =>
    lines.filter((line) => line.startsWith(kind)).map((line) => line.slice(kind.length + 1));
  const rest = 'Catch errors in the handler and respond there. The route is';
  assert.deepEqual(of('warning'), [
    `The handler of GET /fresh/1 threw; answered 500. ${rest} 'GET /fresh/:id'.`,
    `The handler of GET /begun threw; closed the connection, since the response had begun. ${rest} 'GET /begun'.`,
    `The handler of GET /over threw; the response was complete before. ${rest} 'GET /over'.`,
  ]);
  assert.deepEqual(of('uncaught'), ['undefined', 'undefined', 'begun', 'over']);
  assert.deepEqual(of('bytes'), [
    '/fresh/1 500 whole',
    '/fresh/2 500 whole',
    '/begun 200 cut',
    '/over 200 whole',
  ]);
});

it('where the program refuses warnings, clients are answered and errors reported all the same', async (t) => {
  const program = Program.start(
    t,
    ({ listening }) => {
      process.on('uncaughtException', ({ message }) => console.log('uncaught', message));
      process.emitWarning = () => {
        throw new Error('no warnings');
      };
      let kept;
      const fail = (res, req) => {
        kept = req;
        throw new Error('of the handler');
      };
      const { port } = listening((app) =>
        app
          .get('/throws', fail)
          .get('/forgets', () => {})
          .get('/cached', fail, { upperExpiry: 1 })
          .get('/later', (res) => {
            try {
              res.end(`reads ${kept.getUrl()} of another`);
            } catch {
              res.end('invalid');
            }
          }),
      );
      console.log('port', port);
    },
    null,
    { env: { UWS_TLS: '' } },
  );
  const peer = await support.rawPeer(Number(await program.said('port')));
  for (const path of ['/throws', '/forgets', '/cached']) {
    assert.equal((await peer.request(get(path))).code, 500, path);
    if (path === '/forgets') continue;
    assert.equal((await peer.request(get('/later'))).body, 'invalid', `the request to ${path} is over`);
  }
  peer.destroy();
  await until(() => program.stdout.split('uncaught').length === 6);
  const handler = 'uncaught of the handler\nuncaught no warnings\n';
  assert.ok(program.stdout.endsWith(`\n${handler}uncaught no warnings\n${handler}`), program.stdout);
});

it('errors of a response have its route, also long after the handler', async (t) => {
  const errors = [];
  const attempt = (call) => {
    try {
      call();
    } catch (error) {
      errors.push(error);
    }
  };
  const server = support.plain(t, (app) =>
    app
      .get('/:any', (res, req) => req.setYield(true))
      .post('/late/:id', (res) => {
        res.onAborted(() => {});
        setTimeout(() => {
          res.end('late');
          attempt(() => res.end('again'));
        }, 5);
      })
      .get('/*', (res) => {
        attempt(() => res.upgrade({}, '', '', '', {}));
        attempt(() => res.writeStatus('fine'));
        attempt(() => res.writeHeader('a b', 'c'));
        attempt(() => res.writeHeader('a', 'b\r\nc: d'));
        attempt(() => res.writeHeader('a', 5));
        attempt(() => res.writeHeader('content-length', 'many'));
        res.onAborted(() => {}).write('x');
        attempt(() => res.writeHeader('a', 'b'));
        attempt(() => res.tryEnd('x', 1));
        res.end();
      })
      .filter((res, count) => count === 1 && res.onAborted(() => {}) && attempt(() => res.upgrade())),
  );
  await server.once(post('/late/1', ''));
  await until(() => errors.length === 2);
  assert.match(errors[1].message, ERRORS.response);
  assert.deepEqual(
    errors.splice(0).map(({ route }) => route),
    [undefined, 'POST /late/:id'],
    'a filter has no route',
  );
  await server.once(get('/x'));
  assert.deepEqual(
    errors.slice(1).map(({ route }) => route),
    Array(8).fill('GET /*'),
  );
});
