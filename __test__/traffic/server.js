'use strict';
// The server of a run of traffic. Requests and messages say what its handlers are to do. It keeps a record of
// what each object and each connection must have seen, apart from the module under test, and tells the parent
// what was wrong.

const fs = require('fs');
const { To, describing, fault } = require('./bytes');
const { Ledger, TOPICS } = require('./ledger');
const { uWS, ours, v30 } = require('../support');

const options = JSON.parse(process.argv[2]);
const certificate = options.certificate;
const ledger = new Ledger((text) => process.send({ wrong: text }));
const { wrong } = ledger;

/** Errors that handlers throw because a request told them to. */
class Scripted extends Error {}

process.on('uncaughtException', (error) => {
  if (!(error instanceof Scripted)) wrong(`uncaught: ${error.stack}`);
});
/** Warnings about handlers that do what a request told them to. */
const EXPECTED = /^The handler of .* (returned without responding|threw;)/;
process.on('warning', (warning) => {
  if (warning.name !== 'UwsRsWarning' || !EXPECTED.test(warning.message)) {
    wrong(`warning: ${warning.message}`);
  }
});

/** Calls back at another time: `via` says by which of Node's queues. */
function later(via, milliseconds, callback) {
  if (via === 'timer') setTimeout(callback, milliseconds);
  else if (via === 'immediate') setImmediate(callback);
  else if (via === 'tick') process.nextTick(callback);
  else if (via === 'promise') Promise.resolve().then(callback);
  else callback();
}

/** Calls a method of an object that is over, as careless programs do. */
function expectThrow(what, call) {
  try {
    call();
  } catch (error) {
    if (/must not be accessed after|Invalid access of closed/.test(error.message)) return;
    return wrong(`${what}: threw ${error.stack}`);
  }
  wrong(`${what}: did not throw`);
}

// ---- HTTP

/** The task that a request gives, with the record of its response. */
class Exchange {
  constructor(res, req, app) {
    const script = new URLSearchParams(req.getQuery());
    const number = (name) => Number(script.get(name) ?? 0);
    this.res = res;
    this.app = app;
    this.connection = number('c');
    this.sequence = number('q');
    this.action = script.get('a');
    this.via = script.get('via') ?? 'now';
    this.after = number('t');
    this.length = number('n');
    this.pieces = number('k');
    this.status = script.get('s') ?? '200 OK';
    this.closes = script.get('x') === '1';
    this.announced = number('b');
    this.reading = script.get('r');
    this.collects = script.get('r') === 'collect';
    this.pauses = script.get('pause') === '1';
    this.over = null;
    this.isHead = req.getMethod() === 'head';
    this.port = Number(req.getHeader('x-port'));
    this.name = `response ${this.connection}.${this.sequence} (${this.action})`;
    ledger.began(this);
    this.checkPort();
  }

  get body() {
    return describing(To.CLIENT, this.connection, this.sequence, this.length);
  }

  checkPort() {
    if (!this.port || !this.res.getRemotePort) return;
    const port = this.res.getRemotePort();
    if (port !== this.port) wrong(`${this.name}: port ${port} is that of another client`);
  }

  onAborted() {
    this.res.onAborted(() => {
      if (this.over !== null) return wrong(`${this.name}: onAborted after ${this.over}`);
      this.finish('aborted');
      if (options.careless) expectThrow(this.name, () => this.res.writeStatus('200 OK'));
    });
    return this;
  }

  finish(how) {
    if (this.over !== null) return wrong(`${this.name}: ${how} after ${this.over}`);
    this.over = how;
    ledger.ended(this);
    return undefined;
  }

  head(more = '') {
    this.res.writeStatus(this.status);
    this.res.writeHeader('x-id', `${this.connection}.${this.sequence}${more}`);
  }

  /** Ends the response; in a careless server, twice. */
  end(body, more) {
    this.finish('ended');
    this.res.cork(() => {
      this.head(more);
      if (this.isHead && !ours) this.res.endWithoutBody(this.length, this.closes);
      else this.res.end(body, this.closes);
    });
    this.again();
  }

  again() {
    if (options.careless) expectThrow(this.name, () => this.res.end('twice'));
  }
}

/** Writes together what the callback writes, and returns its result. */
function corked(res, callback) {
  let result;
  res.cork(() => {
    result = callback();
  });
  return result;
}

const actions = {
  end: (exchange) => exchange.end(exchange.body),

  late(exchange) {
    exchange.onAborted();
    later(exchange.via, exchange.after, () => {
      if (exchange.over !== null) return;
      exchange.checkPort();
      exchange.end(exchange.body);
    });
  },

  /** In pieces, each as soon as the one before has gone. */
  write(exchange) {
    const { body, pieces, res } = exchange.onAborted();
    const size = Math.ceil(body.length / pieces);
    let at = 0;
    const go = () => {
      while (at + size < body.length) {
        const piece = body.subarray(at, at + size);
        at += size;
        if (!res.write(piece)) return false;
      }
      exchange.finish('ended');
      res.end(body.subarray(at), exchange.closes);
      exchange.again();
      return true;
    };
    later(exchange.via, exchange.after, () => {
      if (exchange.over !== null) return;
      res.cork(() => {
        exchange.head();
        if (!go()) res.onWritable(() => exchange.over === null && corked(res, go));
      });
    });
  },

  tryEnd(exchange) {
    const { body, res } = exchange.onAborted();
    const go = (offset) => {
      const [ok, done] = res.tryEnd(body.subarray(offset), body.length, exchange.closes);
      if (done) exchange.finish('ended');
      if (done) exchange.again();
      return ok;
    };
    later(exchange.via, exchange.after, () => {
      if (exchange.over !== null) return;
      let start;
      const whole = corked(res, () => {
        exchange.head();
        start = res.getWriteOffset();
        return go(0);
      });
      if (whole) return;
      let turns = 0;
      let last = -1;
      res.onWritable((offset) => {
        if (exchange.over !== null) return wrong(`${exchange.name}: onWritable after ${exchange.over}`);
        turns = offset === last ? turns + 1 : 0;
        last = offset;
        if (turns === 1000) wrong(`${exchange.name}: onWritable 1000 times at offset ${offset}`);
        return corked(res, () => go(offset - start));
      });
    });
  },

  /** The client ends it. */
  never: (exchange) => void exchange.onAborted(),

  close(exchange) {
    exchange.onAborted();
    later(exchange.via, exchange.after, () => {
      if (exchange.over !== null) return;
      exchange.res.close();
      if (exchange.over === null) wrong(`${exchange.name}: close() did not call onAborted`);
    });
  },

  throw(exchange) {
    exchange.onAborted().finish('thrown');
    throw new Scripted('scripted');
  },

  forget: (exchange) => exchange.finish('forgotten'),

  bodyless(exchange) {
    exchange.onAborted();
    exchange.head();
    if (exchange.pieces > 0) {
      exchange.res.write(exchange.body);
      exchange.finish('ended');
      exchange.res.end();
    } else {
      exchange.finish('ended');
      if (ours) exchange.res.end(exchange.body);
      else exchange.res.endWithoutBody();
    }
  },

  /** Less than was announced: the client sees the connection end (the program closes it). */
  short(exchange) {
    const { body, res } = exchange.onAborted();
    res.cork(() => {
      exchange.head();
      res.tryEnd(body.subarray(0, body.length >> 1), body.length);
    });
    later(exchange.via, exchange.after, () => {
      if (exchange.over === null) res.close();
    });
  },

  read(exchange) {
    const { res, announced, connection, sequence } = exchange.onAborted();
    let last = false;
    let paused = false;
    const resume = () => {
      if (paused && exchange.over === null) res.resume();
      paused = false;
    };
    const chunks = [];
    const whole = (body) => {
      if (exchange.over !== null) return wrong(`${exchange.name}: body after ${exchange.over}`);
      if (last) return wrong(`${exchange.name}: the end of the body came twice`);
      last = true;
      const bad = fault(body, To.SERVER, connection, sequence, announced);
      if (bad) wrong(`${exchange.name}: body: ${bad}`);
      later(exchange.via, exchange.after, () => {
        if (exchange.over === null) exchange.end(exchange.body, `.${body.length}`);
      });
    };
    const piece = (chunk, isLast) => {
      if (exchange.over !== null || last) return wrong(`${exchange.name}: body after the end`);
      chunks.push(Buffer.from(chunk.slice(0)));
      if (isLast) resume();
      else if (exchange.pauses && chunks.length % 4 === 1) {
        paused = true;
        res.pause();
        setTimeout(resume, 2);
      }
      if (isLast) whole(Buffer.concat(chunks));
    };
    const attach = () => {
      if (exchange.over !== null) return;
      if (exchange.collects && res.collectBody) {
        res.collectBody(1 << 26, (body) =>
          body === null ? wrong(`${exchange.name}: body is null`) : whole(Buffer.from(body)),
        );
      } else if (exchange.reading === 'v2' && res.onDataV2) {
        res.onDataV2((chunk, left) => piece(chunk, left === 0n));
      } else res.onData(piece);
    };
    if (exchange.reading === 'latelater') setTimeout(attach, 3);
    else attach();
  },

  publish(exchange) {
    for (let i = 0; i < exchange.pieces; i++)
      ledger.publish(exchange.app, null, TOPICS[i % TOPICS.length], 50);
    exchange.end(exchange.body);
  },
};

function handle(app, res, req) {
  const exchange = new Exchange(res, req, app);
  actions[exchange.action](exchange);
}

// ---- WebSocket

const behaviours = {
  plain: {},
  deflate: { compression: uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR },
  dedicated: { compression: uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR },
  small: { maxBackpressure: 32 * 1024, compression: uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR },
  strict: { maxBackpressure: 64 * 1024, closeOnBackpressureLimit: true },
};

/** Whether a handler may still be called for the socket. */
function live(ws, what) {
  const { record } = ws;
  if (record === undefined) return void wrong(`${what} of a WebSocket without user data`);
  if (record.closed !== null) return void wrong(`${what} after the close of ${record.name}`);
  if (!record.opened && what !== 'open') wrong(`${what} before the open of ${record.name}`);
  return record;
}

const orders = {
  echo: (ws, order) => ledger.send(ws, order),
  sync: (ws, order) => ledger.send(ws, { ...order, n: 0, y: order.q }),
  late(ws, order) {
    later(order.via, order.t, () => ws.record.closed === null && ledger.send(ws, order));
  },
  many(ws, order) {
    let left = order.count;
    const go = () => {
      while (left > 0 && ws.record.closed === null) {
        left--;
        if (ledger.send(ws, order) === 0 && order.polite && left > 0) return void ws.record.drains.push(go);
      }
    };
    if (order.cork) ws.cork(go);
    else go();
  },
  fragments: (ws, order) => ledger.sendFragments(ws, order),
  subscribe: (ws, order) => ledger.subscribe(ws, order.topic),
  unsubscribe: (ws, order) => ledger.unsubscribe(ws, order.topic),
  publish(ws, order) {
    const { app } = ws.record;
    if (order.same) return ledger.publishMany(app, order.topic, order.n, order.count);
    for (let i = 0; i < order.count; i++) {
      ledger.publish(app, order.own ? ws : null, order.topic, order.n, order);
    }
  },
  ping: (ws) => ledger.ping(ws),
  end: (ws, order) => ws.end(order.code, 'as told'),
  close: (ws) => ws.close(),
  /** Many compressed messages with every tick, for a while. */
  storm(ws, order) {
    const end = Date.now() + order.t;
    const timer = setInterval(() => {
      if (quiet || ws.record.closed !== null || Date.now() > end) return clearInterval(timer);
      for (let i = 0; i < order.count; i++) ledger.send(ws, order);
    }, 1);
  },
};

function upgrade(app, kind, res, req, context) {
  const script = new URLSearchParams(req.getQuery());
  const connection = Number(script.get('c'));
  const record = ledger.connection(connection, app, kind);
  record.port = Number(req.getHeader('x-port'));
  const [key, protocol, extensions] = ['key', 'protocol', 'extensions'].map((name) =>
    req.getHeader(`sec-websocket-${name}`),
  );
  let over = false;
  const open = () => {
    if (over) return;
    over = true;
    res.cork(() => res.upgrade({ record }, key, protocol, extensions, context));
    if (options.careless) expectThrow(record.name, () => res.writeStatus('200 OK'));
  };
  const via = script.get('via') ?? 'now';
  if (via === 'now') return open();
  res.onAborted(() => {
    if (over) return wrong(`${record.name}: onAborted after the upgrade`);
    over = true;
    record.refused = true;
  });
  if (script.get('refuse') === '1') {
    return later(via, 1, () => {
      if (over) return;
      over = true;
      record.refused = true;
      res.cork(() => res.writeStatus('403 Forbidden').end());
    });
  }
  later(via, Number(script.get('t')), open);
}

function behaviour(app, kind) {
  return {
    maxPayloadLength: 1 << 20,
    maxBackpressure: 8 << 20,
    idleTimeout: 60,
    ...behaviours[kind],
    ...(options.idle ? { idleTimeout: options.idle, sendPingsAutomatically: false } : {}),
    upgrade: (res, req, context) => upgrade(app, kind, res, req, context),
    open(ws) {
      const record = live(ws, 'open');
      if (!record) return;
      if (record.opened) wrong(`${record.name}: opened twice`);
      record.opened = true;
      record.ws = ws;
      if (ws.getRemotePort && record.port && ws.getRemotePort() !== record.port) {
        wrong(`${record.name}: port ${ws.getRemotePort()} is that of another client`);
      }
      ledger.subscribe(ws, `own ${record.connection}`);
    },
    message(ws, message, isBinary) {
      const record = live(ws, 'message');
      if (!record) return;
      const order = ledger.received(record, Buffer.from(message), isBinary);
      if (order) orders[order.op](ws, order);
    },
    dropped(ws, message) {
      const record = live(ws, 'dropped');
      if (record) ledger.dropped(record, Buffer.from(message));
    },
    drain(ws) {
      const record = live(ws, 'drain');
      if (record) for (const go of record.drains.splice(0)) go();
    },
    ping(ws, message) {
      const record = live(ws, 'ping');
      if (record) ledger.pinged(record, Buffer.from(message).toString('latin1'));
    },
    pong(ws, message) {
      const record = live(ws, 'pong');
      if (record) ledger.ponged(record, Buffer.from(message).toString('latin1'));
    },
    subscription(ws, topic, now, before) {
      ledger.subscription(ws.record, Buffer.from(topic).toString('latin1'), now, before);
      if (options.careless && now < before && ws.record.ending) careless(ws);
    },
    close(ws, code, reason) {
      const record = live(ws, 'close');
      if (!record) return;
      ledger.closed(record, code, Buffer.from(reason).toString('latin1'));
      for (let i = 0; i < record.connection % 3; i++) ledger.publish(app, null, TOPICS[i], 20);
      if (options.careless) expectThrow(record.name, () => ws.send('after the close'));
    },
  };
}

/** Whether the run is over: nothing more is sent that nobody asks for. */
let quiet = false;

/** A handler that changes and uses the socket while its subscriptions end. */
function careless(ws) {
  const { record } = ws;
  if (record.connection % 2) {
    for (const topic of [...record.topics]) ledger.unsubscribe(ws, topic);
  }
  ws.send('a message behind the end');
  if (ws.subscribe(TOPICS[0])) wrong(`${record.name}: subscribed while it ended`);
  ledger.publish(record.app, null, TOPICS[record.connection % TOPICS.length], 30);
}

// ---- apps

function configure(app) {
  const { handler } = app;
  const each = (res, req) => handle(app, res, req);
  handler.get('/get', each).post('/post/:connection', each).put('/put/*', each).any('/any/*', each);
  handler.head('/head', each).del('/del/:a/:b', each);
  handler.get('/twice/:once', (res, req) => void req.setYield(true));
  handler.get('/twice/*', each);
  if (uWS.DeclarativeResponse) {
    handler.get(
      '/declared/:id',
      new uWS.DeclarativeResponse().writeHeader('x-declared', 'yes').writeQueryValue('v').end('.'),
    );
  }
  for (const kind of Object.keys(behaviours)) handler.ws(`/ws/${kind}`, behaviour(app, kind));
  if (v30) handler.any('/*', (res) => res.writeStatus('404 File Not Found').end('not found'));
  if (ours) {
    handler.filter((res, count) => ledger.filtered(app, count, res.getRemotePort()));
  }
}

const apps = [
  { name: 'plain', index: 0, handler: uWS.App() },
  { name: 'tls', index: 1, handler: uWS.SSLApp(certificate) },
];
apps.forEach(configure);

function listen() {
  return apps.map(({ handler }) => {
    let port;
    handler.listen('127.0.0.1', 0, (token) => {
      if (!token) return wrong('listen failed');
      port = uWS.us_socket_local_port(token);
    });
    return port;
  });
}

/** Ends everything; nothing of it may be left or heard of afterwards. */
function closeAll() {
  for (const app of apps) {
    app.handler.close();
    ledger.appClosed(app);
  }
}

/** Routes are replaced and removed under traffic. */
function changeRoutes(round) {
  for (const app of apps) {
    const { handler } = app;
    handler.get(`/passing/${round}`, (res) => res.end());
    handler.get(`/passing/${round}`, null);
    handler.get('/get', (res, req) => handle(app, res, req));
    handler.put('/put/*', (res, req) => handle(app, res, req));
  }
}

/** Descriptors by kind. */
function descriptors() {
  const count = { sockets: 0, others: 0 };
  for (const name of fs.readdirSync('/proc/self/fd')) {
    try {
      count[fs.readlinkSync(`/proc/self/fd/${name}`).startsWith('socket:') ? 'sockets' : 'others']++;
    } catch {
      // The descriptor of the folder itself.
    }
  }
  return count;
}

let before;
let changing;
let isFinished = false;

const commands = {
  begin() {
    before = descriptors();
    let round = 0;
    // 20.30 ends the process with "Internal routing error" when a route is removed.
    if (!v30) changing = setInterval(() => changeRoutes(round++), 50);
    process.send({ ports: listen() });
  },
  reopen() {
    closeAll();
    process.send({ ports: listen() });
  },
  /** Nothing is sent any more that nobody asks for. */
  quiet() {
    quiet = true;
    process.send({ quiet });
  },
  /** Tells what the connections must have seen by now. */
  report: () => process.send({ report: ledger.report() }),
  async finish() {
    clearInterval(changing);
    closeAll();
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (let tries = 0; descriptors().sockets > before.sockets && tries < 100; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const after = descriptors();
    if (after.sockets !== before.sockets) wrong(`${after.sockets - before.sockets} sockets are left`);
    if (after.others > before.others + 12) wrong(`${after.others - before.others} descriptors are left`);
    ledger.finish(apps);
    isFinished = true;
    process.send({ finished: true }, () => process.disconnect());
  },
};

process.on('message', ({ command }) => commands[command]());
// A runner that was killed leaves no server behind.
process.on('disconnect', () => {
  if (!isFinished) process.exit(1);
});
process.send({ ready: true });
