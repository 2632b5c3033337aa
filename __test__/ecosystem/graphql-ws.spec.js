'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { assert, deferred, it, open, packages, uWS } = require('./stack');
const { buildSchema } = packages.require('graphql');
const { CloseCode, createClient } = packages.require('graphql-ws');
const { makeBehavior } = packages.require('graphql-ws/use/uWebSockets');
const { WebSocket } = packages.require('ws');

const schema = buildSchema(`
  type Query { hello(name: String): String! fails: String! }
  type Mutation { add(a: Int!, b: Int!): Int! }
  type Subscription { count(to: Int!): Int! forever: Int! }
`);

/** A GraphQL server, closed after the test, and a client for it. */
function serve(t, { options = {}, behavior, keepAlive } = {}) {
  const finished = deferred();
  const roots = {
    query: {
      hello: ({ name }) => `Hello ${name || 'you'}`,
      fails: () => {
        throw new Error('it fails');
      },
    },
    mutation: { add: ({ a, b }) => a + b },
    subscription: {
      count: async function* ({ to }) {
        for (let count = 1; count <= to; count += 1) yield { count };
      },
      forever: async function* () {
        try {
          for (let forever = 1; ; forever += 1) {
            yield { forever };
            await sleep(1);
          }
        } finally {
          finished.resolve();
        }
      },
    },
  };
  const app = uWS.App();
  app.ws('/graphql', makeBehavior({ schema, roots, ...options }, behavior, keepAlive));
  const server = { finished: finished.promise };
  app.listen(0, (token) => {
    server.port = uWS.us_socket_local_port(token);
  });
  t.after(() => app.close());
  server.connect = (more) => {
    const url = `ws://127.0.0.1:${server.port}/graphql`;
    const client = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, ...more });
    t.after(() => client.dispose());
    return client;
  };
  return server;
}

/** All results of an operation. */
async function results(client, query, variables) {
  const list = [];
  for await (const result of client.iterate({ query, variables })) list.push(result);
  return list.map(plain);
}

const plain = (value) => JSON.parse(JSON.stringify(value));

it('queries and mutates, with variables', async (t) => {
  const client = serve(t).connect();
  assert.deepEqual(await results(client, '{ hello }'), [{ data: { hello: 'Hello you' } }]);
  const query = 'query ($name: String) { hello(name: $name) }';
  assert.deepEqual(await results(client, query, { name: 'Grüße' }), [{ data: { hello: 'Hello Grüße' } }]);
  assert.deepEqual(await results(client, 'mutation { add(a: 2, b: 3) }'), [{ data: { add: 5 } }]);
});

it('gives the errors of resolvers and of wrong queries', async (t) => {
  const client = serve(t).connect();
  const [failed] = await results(client, '{ fails }');
  assert.equal(failed.errors[0].message, 'it fails');
  await assert.rejects(results(client, '{ nothing }'), (errors) =>
    /Cannot query field/.test(errors[0].message),
  );
});

it('gives every event of a subscription, small and many', async (t) => {
  const client = serve(t).connect();
  const numbers = (list) => list.map((result) => result.data.count);
  const upTo = (count) => Array.from({ length: count }, (_, n) => n + 1);
  assert.deepEqual(numbers(await results(client, 'subscription { count(to: 3) }')), upTo(3));
  assert.deepEqual(numbers(await results(client, 'subscription { count(to: 2000) }')), upTo(2000));
});

it('multiplexes subscriptions and ends one that the client leaves', async (t) => {
  const server = serve(t);
  const client = server.connect({ lazy: false });
  const seen = [];
  for await (const { data } of client.iterate({ query: 'subscription { forever }' })) {
    seen.push(data.forever);
    if (seen.length === 2) assert.equal((await results(client, '{ hello }')).length, 1);
    if (seen.length === 4) break;
  }
  assert.deepEqual(seen, [1, 2, 3, 4]);
  await server.finished;
});

it('ends the subscriptions of a client that goes away', async (t) => {
  const server = serve(t);
  const client = server.connect();
  const started = deferred();
  client.subscribe(
    { query: 'subscription { forever }' },
    { next: started.resolve, error: () => {}, complete: () => {} },
  );
  await started.promise;
  client.terminate();
  await server.finished;
});

it('refuses by authentication, of the connection and of the handshake', async (t) => {
  const onConnect = ({ connectionParams, extra }) => {
    return connectionParams?.token === 'secret' && extra.persistedRequest.headers.cookie === undefined;
  };
  const server = serve(t, { options: { onConnect } });
  const stranger = server.connect({ connectionParams: { token: 'guess' } });
  await assert.rejects(results(stranger, '{ hello }'), { code: CloseCode.Forbidden, reason: 'Forbidden' });
  const friend = server.connect({ connectionParams: async () => ({ token: 'secret' }) });
  assert.deepEqual(await results(friend, '{ hello }'), [{ data: { hello: 'Hello you' } }]);
  t.mock.method(console, 'error', () => {});
  const locked = serve(t, {
    options: {
      onConnect: () => {
        throw new Error('broken');
      },
    },
  });
  await assert.rejects(results(locked.connect(), '{ hello }'), {
    code: CloseCode.InternalServerError,
    reason: 'broken',
  });
});

it('closes with the codes of the protocol', async (t) => {
  const server = serve(t, { options: { connectionInitWaitTimeout: 20 } });
  const closing = async (protocol, ...messages) => {
    const socket = await open(t, server.port, '/graphql', protocol);
    for (const message of messages) socket.send(message);
    return (await socket.closed).code;
  };
  const protocol = 'graphql-transport-ws';
  assert.equal(await closing(protocol), CloseCode.ConnectionInitialisationTimeout);
  assert.equal(await closing(protocol, 'no JSON'), CloseCode.BadRequest);
  const subscribe = '{"id":"1","type":"subscribe","payload":{"query":"{ hello }"}}';
  assert.equal(await closing(protocol, subscribe), CloseCode.Unauthorized);
  const init = '{"type":"connection_init"}';
  assert.equal(await closing(protocol, init, init), CloseCode.TooManyInitialisationRequests);
});

it('accepts only its subprotocol', async (t) => {
  const server = serve(t);
  const socket = await open(t, server.port, '/graphql', ['other', 'graphql-transport-ws']);
  assert.equal(socket.socket.protocol, 'graphql-transport-ws');
  const old = await open(t, server.port, '/graphql');
  assert.equal((await old.closed).code, CloseCode.SubprotocolNotAcceptable);
});

it('pings, and leaves a client that answers connected', async (t) => {
  const pongs = deferred();
  let count = 0;
  const behavior = {
    pong: () => {
      count += 1;
      if (count === 3) pongs.resolve();
    },
  };
  const server = serve(t, { behavior, keepAlive: 20 });
  const client = server.connect({ lazy: false });
  assert.deepEqual(await results(client, '{ hello }'), [{ data: { hello: 'Hello you' } }]);
  await pongs.promise;
  assert.deepEqual(await results(client, '{ hello }'), [{ data: { hello: 'Hello you' } }]);
});

it('goes on with a client that connects again', async (t) => {
  const server = serve(t);
  let connections = 0;
  let broken;
  const client = server.connect({
    retryAttempts: 3,
    retryWait: () => sleep(5),
    on: {
      connected: (socket) => {
        connections += 1;
        broken = socket;
      },
    },
  });
  const seen = [];
  for await (const { data } of client.iterate({ query: 'subscription { forever }' })) {
    seen.push(data.forever);
    if (seen.length === 2) broken.terminate();
    if (connections === 2 && data.forever === 2) break;
  }
  assert.equal(connections, 2);
  assert.deepEqual(seen.slice(-2), [1, 2]);
});
