'use strict';
// The process, or the worker, that is fuzzed: it makes objects of the API and calls their methods with any
// argument at any moment, from handlers, timers, microtasks, conversions of arguments, and at its end.

const net = require('net');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const path = require('path');
const { random } = require('../robustness/program');
const { Values, Thrown } = require('./values');

const uWS = require(process.env.API_FUZZ_MODULE || path.join(__dirname, '../..'));
const { seed, steps, certificate } = workerData ?? JSON.parse(process.argv[2]);

/** How deep calls within calls may go. */
const DEEPEST = 4;
/** The most objects of one kind that are kept. */
const MOST = 60;
/** Calls that this process makes in one turn of its event loop, at most. */
const AT_ONCE = 12;

const tell = (message) => {
  if (isMainThread) process.send?.(message);
  else parentPort.postMessage(message);
};
const found = (text) => tell({ found: text });

const { next, below, pick } = random(seed);
const chance = (part) => next() < part;

const pool = {
  app: [],
  res: [],
  req: [],
  ws: [],
  cached: [],
  token: [],
  context: [],
  program: [],
  buffer: [],
  descriptor: [],
};

function remember(kind, object) {
  const list = pool[kind];
  if (list.length < MOST) list.push(object);
  else list[below(MOST)] = object;
}

let depth = 0;
let calls = 0;
let stopped = false;

const fuzz = {
  below,
  pick,
  chance,
  step() {
    if (depth >= DEEPEST || (stopped && calls > steps + 500)) return;
    depth++;
    try {
      step();
    } finally {
      depth--;
    }
  },
  own: () => any(pick(Object.keys(pool))),
  kept: () => any('buffer'),
  /** Keeps objects and lent buffers that a handler was given, for later. */
  keep(given) {
    for (const value of given) if (value instanceof ArrayBuffer) remember('buffer', value);
  },
};
const values = new Values(fuzz);
/** An object of the kind; mostly the one of the running handler, or one that has not ended. */
function any(kind) {
  const list = pool[kind];
  if (list.length === 0) return undefined;
  if (current[kind] !== undefined && chance(0.5)) return current[kind];
  let object = pick(list);
  for (let tries = 0; tries < 12 && !isAlive(kind, object); tries++) object = pick(list);
  return object;
}

/** The objects of the handler that runs. */
let current = {};
const isOver = { res: 'getWriteOffset', ws: 'getBufferedAmount', req: 'getMethod' };

function isAlive(kind, object) {
  if (!(kind in isOver)) return true;
  if (chance(0.02)) return true;
  try {
    object[isOver[kind]]();
    return true;
  } catch {
    return false;
  }
}

/** Runs a handler's calls, which are mostly about the handler's own objects. */
function within(objects, action) {
  const before = current;
  current = objects;
  try {
    action();
  } finally {
    current = before;
  }
}

// ---- objects end once

/** Opened sockets and how often each was closed. */
const opened = new Map();

class Life {
  aborted = 0;
}

// ---- plausible arguments, by method

const handlerOf = (route) =>
  pick([() => handler(), () => any('program') ?? handler(), () => null, () => handler(route)])();
const bool = () => chance(0.5);
const text = () => values.text();
const data = () => values.data();
const number = () => values.number();
const callback = () => values.callback();
const pattern = () =>
  chance(0.02)
    ? pick(['/a', '/:a', '/*', '//']).repeat(below(50000))
    : pick(['/*', '/a', '/a/:b', '/:a/:b', '/x/*', '/declared', '/ws', '/ws/:a']);
const topic = () => pick(['red', 'green', '', 'é', Buffer.from([200]), 'x'.repeat(300)]);

const ROUTES = ['get', 'post', 'options', 'del', 'patch', 'put', 'head', 'connect', 'trace', 'any'];
const CACHE_OPTIONS = [
  'lowerExpiry',
  'upperExpiry',
  'maxEntries',
  'maxBytes',
  'timeout',
  'vary',
  'head',
  'etag',
  'compress',
];
const BEHAVIOUR = [
  'maxPayloadLength',
  'idleTimeout',
  'compression',
  'maxBackpressure',
  'closeOnBackpressureLimit',
  'maxLifetime',
  'sendPingsAutomatically',
  'resetIdleTimeoutOnSend',
];

const PLAUSIBLE = {
  app: {
    ...Object.fromEntries(ROUTES.map((name) => [name, () => [pattern(), handlerOf()]])),
    get: () => (chance(0.5) ? [pattern(), handlerOf()] : [pattern(), cachedHandler(), cacheOptions()]),
    invalidate: () => [pick(['*', '/a*', '/a', '/x/y/z', text()])],
    ws: () => [pattern(), chance(0.05) ? null : behaviour()],
    publish: () => [topic(), data(), bool(), bool()],
    numSubscribers: () => [topic()],
    filter: () => [callback()],
    addServerName: () => [
      pick(['a.example', '*.example', text()]),
      chance(0.7) ? certificate : values.options(Object.keys(certificate)),
    ],
    removeServerName: () => [pick(['a.example', '*.example'])],
    missingServerName: () => [callback()],
    domain: () => [pick(['a.example', 'b.example'])],
    setIdleTimeout: () => [number()],
    setResponseTimeout: () => [number()],
    addChildAppDescriptor: () => [chance(0.5) ? any('descriptor') : number()],
    removeChildAppDescriptor: () => [chance(0.5) ? any('descriptor') : number()],
  },
  res: {
    writeStatus: () => [text()],
    writeHeader: () => [text(), text()],
    write: () => [data()],
    end: () => [data(), bool()],
    tryEnd: () => [data(), number(), bool()],
    endWithoutBody: () => [number(), bool()],
    onWritable: () => [callback()],
    onAborted: () => [callback()],
    onData: () => [callback()],
    onDataV2: () => [callback()],
    collectBody: () => [number(), callback()],
    cork: () => [callback()],
    collect: () => [callback()],
    upgrade: () => [
      chance(0.7) ? { a: 1 } : values.options(['a', 'b']),
      text(),
      text(),
      text(),
      any('context'),
    ],
  },
  cached: {
    writeStatus: () => [text()],
    writeHeader: () => [pick(['Set-Cookie', 'ETag', 'Vary', 'Cache-Control', text()]), text()],
    end: () => [data(), bool()],
    cork: () => [callback()],
    onAborted: () => [callback()],
  },
  ws: {
    send: () => [data(), bool(), bool()],
    sendFirstFragment: () => [data(), bool(), bool()],
    sendFragment: () => [data(), bool()],
    sendLastFragment: () => [data(), bool()],
    ping: () => [data()],
    end: () => [number(), data()],
    cork: () => [callback()],
    subscribe: () => [topic()],
    unsubscribe: () => [topic()],
    isSubscribed: () => [topic()],
    publish: () => [topic(), data(), bool(), bool()],
  },
  req: {
    getHeader: () => [pick(['host', 'a', 'content-length', text()])],
    getParameter: () => [chance(0.5) ? number() : pick(['a', 'b'])],
    getQuery: () => [pick(['a', text()])],
    forEach: () => [callback()],
    setYield: () => [bool()],
  },
};

/** Methods whose arguments are always plausible: others would wait for name servers, or touch other files. */
const CURATED = {
  listen: () =>
    pick([
      () => [values.host(), pick([0, '0', 65536, -1, NaN]), listened],
      () => [values.host(), 0, number(), listened],
      () => ['127.0.0.1', 0, values.converting(), listened],
      () => ['127.0.0.1', 0, values.any()],
    ])(),
  listen_unix: () => [chance(0.9) ? listened : values.any(), values.socketPath()],
  // None of these numbers is that of a connection, since nobody knows whose it would be.
  adoptSocket: () => [
    pick([-1, 1, 2, 0.5, NaN, 2 ** 31 - 1, 2 ** 31, 999983, null, {}, text(), new net.Socket()]),
    chance(0.5) ? data() : values.any(),
  ],
  SSLApp: () => [chance(0.7) ? certificate : values.options(Object.keys(certificate))],
};

function argumentsOf(kind, name) {
  if (CURATED[name]) return CURATED[name]();
  const list = PLAUSIBLE[kind]?.[name]?.() ?? [];
  if (chance(0.3)) list[below(list.length + 1)] = values.any();
  if (chance(0.05)) list.length = below(list.length + 1);
  if (chance(0.05)) list.push(values.any());
  return list;
}

// ---- what programs do with what they are given

function listened(token) {
  if (!token) return;
  remember('token', token);
  const port = uWS.us_socket_local_port(token);
  if (port > 0) tell({ port, tls: token.tlsForFuzz === true });
  fuzz.step();
}

/** Makes calls now and at some later moments. */
function act(times = 2) {
  const soon = [
    () => fuzz.step(),
    () => fuzz.step(),
    () => void Promise.resolve().then(fuzz.step),
    () => process.nextTick(fuzz.step),
    () => void setImmediate(fuzz.step),
    () => void setTimeout(fuzz.step, below(30)),
  ];
  for (let i = below(times + 1); i > 0; i--) pick(soon)();
  if (chance(0.02)) throw new Thrown('of a handler');
}

function handler() {
  const kind = below(5);
  return (res, req) => {
    remember('res', res);
    remember('req', req);
    const life = new Life();
    if (kind > 0 || chance(0.8)) {
      res.onAborted(() => {
        if (++life.aborted > 1) found('onAborted was called twice');
        act();
      });
    }
    if (kind === 1) res.end('ok');
    if (kind === 2) res.onData((chunk) => (fuzz.keep([chunk]), act()));
    if (kind === 3) res.collectBody(1e6, (body) => (fuzz.keep([body]), act(), fuzz.chance(0.5) && end(res)));
    within({ res, req }, act);
    if (kind === 4) setTimeout(() => end(res), below(50));
  };
}

function cacheOptions() {
  const plausible = {
    lowerExpiry: below(3),
    upperExpiry: below(60),
    timeout: 1 + below(2),
    vary: pick([undefined, ['a'], ['x', 'host']]),
    head: bool(),
    etag: bool(),
    compress: bool(),
  };
  return chance(0.3) ? { ...plausible, ...values.options(CACHE_OPTIONS) } : plausible;
}

/** The handler of a cached route, whose answer may come at any time, or never. */
function cachedHandler() {
  const kind = below(5);
  return (res, req) => {
    remember('cached', res);
    remember('req', req);
    if (kind === 1) res.end(pick(['ok', 'x'.repeat(5000), '']));
    if (kind === 2) res.writeHeader('Set-Cookie', 'a=b').end('mine');
    within({ cached: res, req }, act);
    if (kind > 2) setTimeout(() => end(res), below(50));
  };
}

function end(res) {
  try {
    res.end('late');
  } catch (error) {
    judge(error, 'res.end');
  }
}

function behaviour() {
  const handlers = {
    upgrade: chance(0.5)
      ? undefined
      : (res, req, context) => {
          remember('res', res);
          remember('req', req);
          remember('context', context);
          res.onAborted(() => act());
          if (chance(0.3)) within({ res, req, context }, act);
          try {
            res.upgrade(
              { some: 1 },
              req.getHeader('sec-websocket-key'),
              '',
              req.getHeader('sec-websocket-extensions'),
              context,
            );
          } catch (error) {
            judge(error, 'res.upgrade');
          }
        },
    open(ws) {
      if (opened.has(ws)) found('open was called twice');
      opened.set(ws, 0);
      remember('ws', ws);
      within({ ws }, act);
    },
    close(ws, code, reason) {
      if (!opened.has(ws))
        return found(`close was called without open: ${code} ${Buffer.from(reason)} ${new Error().stack}`);
      opened.set(ws, opened.get(ws) + 1);
      if (opened.get(ws) !== 1) found(`close was called ${opened.get(ws)} times for one open`);
      fuzz.keep([reason]);
      within({ ws }, act);
    },
  };
  for (const name of ['message', 'dropped', 'drain', 'ping', 'pong', 'subscription']) {
    if (chance(0.2)) continue;
    handlers[name] = (ws, ...given) => {
      if (opened.get(ws) > 0) found(`${name} was called after close`);
      fuzz.keep(given);
      within({ ws }, act);
    };
  }
  return { ...values.options(BEHAVIOUR), ...handlers };
}

// ---- errors

const KINDS = ['Error', 'TypeError', 'RangeError', 'SyntaxError'];
/** Texts that no error for a program may have. */
const INTERNAL = /panick|unreachable|internal error|index out of|overflow|unwrap|napi|event loop of uws-rs/i;
/** Codes of N-API's own errors, which no argument may reach. */
const CODES = [
  'InvalidArg',
  'PendingException',
  'HandleScopeMismatch',
  'Unknown',
  'StringExpected',
  'ObjectExpected',
  'FunctionExpected',
  'NumberExpected',
  'BooleanExpected',
  'ArrayBufferExpected',
];

function judge(error, what) {
  if (error instanceof Thrown) return;
  const { name, message, code } = Object(error);
  if (!KINDS.includes(name) || typeof message !== 'string' || message === '') {
    if (error === undefined || !/realm/.test(message))
      found(`${what} threw ${String(name)}: ${String(message)}`);
  } else if (INTERNAL.test(message) || CODES.includes(code))
    found(`${what} threw ${error.stack} (code ${code})`);
}

// ---- steps

const namesOf = new Map();

/** The methods of an object, with those of its prototypes. */
function methodsOf(object) {
  const prototype = Object.getPrototypeOf(object);
  if (!namesOf.has(prototype)) {
    const names = new Set();
    for (let at = prototype; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
      for (const name of Object.getOwnPropertyNames(at)) if (name !== 'constructor') names.add(name);
    }
    namesOf.set(prototype, [...names]);
  }
  return namesOf.get(prototype);
}

const ENDS = new Set([
  'app.close',
  'res.close',
  'res.end',
  'res.endWithoutBody',
  'cached.end',
  'cached.close',
  'ws.end',
  'ws.close',
  'res.upgrade',
]);

function callMethod(kind) {
  const object = any(kind);
  if (object === undefined) return;
  const names = methodsOf(object);
  if (names.length === 0) return;
  const name = pick(names);
  // Objects would be gone too soon.
  if (ENDS.has(`${kind}.${name}`) && chance(kind === 'app' ? 0.95 : 0.7)) return;
  call(`${kind}.${name}`, () => {
    const list = argumentsOf(kind, name);
    const self = chance(0.02) ? fuzz.own() : object;
    const method = object[name];
    const result = Reflect.apply(method, self, list);
    if (name === 'getDescriptor') remember('descriptor', result);
    return result;
  });
}

function call(what, action) {
  calls++;
  try {
    const result = action();
    if (result instanceof ArrayBuffer) remember('buffer', result);
    if (result instanceof Promise) result.catch(() => {});
  } catch (error) {
    judge(error, what);
  }
}

function callModule() {
  const names = Object.keys(uWS).filter(
    (name) => typeof uWS[name] === 'function' && !['App', 'SSLApp', 'lock', 'unlock'].includes(name),
  );
  const name = pick(names);
  const store = {
    getString: [text()],
    setString: [text(), data()],
    incInteger: [text(), number()],
    getParts: [data(), pick(['multipart/form-data; boundary=x', text()])],
  };
  call(name, () => {
    if (name.startsWith('us_'))
      return uWS[name](chance(0.1) || name.endsWith('port') ? (any('token') ?? 1) : values.any());
    const list = store[name] ?? [];
    if (chance(0.4)) list[below(3)] = values.any();
    if (name === 'DeclarativeResponse') return declare();
    return uWS[name](...list);
  });
}

function declare() {
  const program = new uWS.DeclarativeResponse();
  for (let i = below(6); i > 0; i--) {
    const name = pick(methodsOf(program));
    const result = program[name](
      ...(chance(0.8) ? [pick(['a', 'x', 'key']), 'value'] : [values.any(), values.any()]),
    );
    if (result instanceof ArrayBuffer) return void remember('program', result);
  }
  remember('program', program.end('!'));
}

function newApp() {
  call('App', () => {
    const tls = chance(0.3);
    const app = tls ? uWS.SSLApp(...CURATED.SSLApp()) : uWS.App(...(chance(0.8) ? [] : [values.any()]));
    app.any('/*', handler()).ws('/ws', behaviour());
    app.listen('127.0.0.1', 0, (token) => {
      if (!token) return;
      remember('token', token);
      tell({ port: uWS.us_socket_local_port(token), tls });
    });
    if (pool.app.length > 5) closeApp(pool.app.shift());
    remember('app', app);
  });
}

const everyApp = new Set();

function closeApp(app) {
  call('app.close', () => app.close());
}

/** Uses a buffer that was lent, now or later. */
function useBuffer() {
  const buffer = any('buffer');
  if (!(buffer instanceof ArrayBuffer)) return;
  call('buffer', () => {
    const use = pick([
      () => new Uint8Array(buffer).reduce((sum, byte) => sum + byte, 0),
      () => buffer.slice(0),
      () => structuredClone(buffer, { transfer: [buffer] }),
      () => buffer.transfer?.(),
      () => workers.forEach((worker) => worker.postMessage(buffer, [buffer])),
      () => parentPort?.postMessage({ buffer }, [buffer]),
      () => new Uint8Array(buffer).fill(1),
    ]);
    try {
      return use();
    } catch (error) {
      if (error.name !== 'DataCloneError' && !/detached/i.test(error.message)) throw error;
    }
  });
}

function step() {
  const kind = below(100);
  if (pool.app.length === 0 || (kind < 1 && chance(0.2))) newApp();
  else if (kind < 8) callMethod('app');
  else if (kind < 40) callMethod('res');
  else if (kind < 45) callMethod('cached');
  else if (kind < 55) callMethod('req');
  else if (kind < 85) callMethod('ws');
  else if (kind < 92) callModule();
  else useBuffer();
}

// ---- workers

const workers = new Set();

function startWorker() {
  const worker = new Worker(__filename, {
    workerData: { seed: seed * 31 + below(1e6), steps: steps / 2, certificate },
  });
  workers.add(worker);
  worker.on('message', (message) => {
    if (message.buffer) return remember('buffer', message.buffer);
    if (message.descriptor) return remember('descriptor', message.descriptor);
    tell(message);
  });
  worker.on('error', (error) => judge(error, 'worker'));
  worker.on('exit', () => workers.delete(worker));
  setTimeout(() => worker.terminate(), 200 + below(1500));
}

// ---- the run

process.on('uncaughtException', (error) => {
  judge(error, 'uncaught');
});
process.on('unhandledRejection', () => {});
process.on('warning', () => {});

let clean;
function turn() {
  if (stopped || calls >= steps) return done();
  for (let i = below(AT_ONCE); i > 0; i--) fuzz.step();
  if (isMainThread && chance(0.003) && workers.size < 2) startWorker();
  if (chance(0.3)) setImmediate(turn);
  else setTimeout(turn, below(3));
}

let told = false;
function done() {
  if (told) return;
  told = true;
  tell({ done: calls });
}

/** Serves a clean request in the middle of all. */
function serveClean() {
  clean = uWS.App().get('/clean', (res) => res.end('clean'));
  clean.listen('127.0.0.1', 0, (token) => tell({ clean: uWS.us_socket_local_port(token) }));
}

function stop({ how }) {
  stopped = true;
  for (const worker of workers) worker.terminate();
  process.on('exit', () => {
    for (let i = 0; i < 30; i++) fuzz.step();
  });
  if (how === 'exit') process.exit(0);
  for (const app of [...everyApp, clean]) closeApp(app);
  for (const [, times] of opened) if (times !== 1) found(`a WebSocket was closed ${times} times at the end`);
  process.disconnect();
  // Handlers that ran meanwhile may have made further apps.
  setInterval(() => everyApp.forEach(closeApp), 200).unref();
  // The process ends before, unless something of ours keeps it alive.
  setTimeout(() => console.error(`kept alive by ${process.getActiveResourcesInfo()}`), 5000).unref();
}

const make = (name) => {
  const original = uWS[name];
  return (...given) => {
    const app = original(...given);
    everyApp.add(app);
    return app;
  };
};
uWS.App = make('App');
uWS.SSLApp = make('SSLApp');

if (isMainThread) {
  process.on('message', stop);
  serveClean();
} else {
  parentPort.on('message', (buffer) => buffer instanceof ArrayBuffer && remember('buffer', buffer));
  parentPort.unref();
  const app = uWS.App();
  app.any('/*', handler()).ws('/ws', behaviour());
  remember('app', app);
  tell({ descriptor: app.getDescriptor() });
}
newApp();
turn();
