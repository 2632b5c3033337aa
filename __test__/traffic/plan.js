'use strict';
// Makes the plan of a run from one number: who connects when, what each writes, and what the server's
// handlers are told to do. The plan is plain data, so that it can be kept, reduced and run again.

const { random } = require('../robustness/program');
const { LEFT_OUT } = require('./settings');
const { TOPICS } = require('./ledger');

/** Milliseconds in which the connections of a run begin. */
const SPREAD_MS = 600;
const KINDS = ['mixed', 'memory', 'storm', 'slow', 'stopped'];

class Planner {
  constructor(seed, module_) {
    Object.assign(this, random(seed));
    this.module = module_;
    this.ids = 0;
  }

  /** Whether the module is asked for what a listed difference is about. */
  may(id) {
    if (!(id in LEFT_OUT)) throw new Error(`${id} is not listed`);
    return this.module === 'ours';
  }

  /** One of the values, each as often as its weight says. */
  weighted(table) {
    const entries = Object.entries(table).filter(([, weight]) => weight > 0);
    let at = this.below(entries.reduce((sum, [, weight]) => sum + weight, 0));
    return entries.find(([, weight]) => (at -= weight) < 0)[0];
  }

  chance(part) {
    return this.next() < part;
  }

  size() {
    const largest = Number(this.weighted({ 200: 50, 20000: 35, 150000: 12, 400000: 3 }));
    return this.below(largest);
  }

  via() {
    return this.pick(['timer', 'immediate', 'promise', 'tick', 'timer']);
  }

  connection(more) {
    return {
      id: this.ids++,
      at: this.below(SPREAD_MS),
      tls: this.chance(0.3) ? this.pick([{}, { maxVersion: 'TLSv1.2' }]) : null,
      slow: this.chance(0.1) ? { bytes: 1000 + this.below(50000), every: 1 + this.below(10) } : null,
      ...more,
    };
  }

  // ---- HTTP

  http() {
    const bursts = Array.from({ length: 1 + this.below(4) }, () => this.burst());
    const end = this.end(bursts);
    return this.connection({ type: 'http', bursts, end });
  }

  burst() {
    const free = this.may('pipelining-pending');
    const count = this.chance(0.5) ? 1 : 1 + this.below(this.chance(0.1) ? 40 : 8);
    return {
      requests: Array.from({ length: count }, (_, i) => this.request({ atOnce: !free && i < count - 1 })),
      pieces: this.chance(0.5) ? 1 : 1 + this.below(8),
      wait: !free || this.chance(0.7),
      pause: this.chance(0.2) ? this.below(20) : 0,
    };
  }

  request({ atOnce }) {
    const kind = this.weighted({ get: 50, body: 25, head: 6, bodyless: 6, declared: 5, page: 5, odd: 3 });
    return this[`${kind}Request`](atOnce);
  }

  getRequest(atOnce) {
    const a = atOnce ? 'end' : this.weighted({ end: 40, late: 30, write: 15, tryEnd: 15 });
    const request = {
      path: this.pick(['/get', '/any/x/y', '/twice/once', '/get']),
      a,
      n: atOnce ? this.below(1500) : 1 + this.size(),
      status: this.pick(['200 OK', '200 OK', '201 Created', '404 Not Found', '503 Busy']),
    };
    if (a === 'write') request.k = 1 + this.below(20);
    if (a !== 'end' && this.chance(0.6)) Object.assign(request, { via: this.via(), t: this.below(20) });
    if (this.chance(0.1)) request.headers = [`x-more: ${'m'.repeat(this.below(1000))}`];
    return request;
  }

  bodyRequest(atOnce) {
    const request = {
      method: this.pick(['POST', 'PUT', 'POST']),
      a: 'read',
      r: atOnce ? 'data' : this.pick(['data', 'v2', 'collect', 'data']),
      n: this.below(1000),
      body: {
        size: this.size() + (this.may('empty-body') ? 0 : 1),
        chunked: this.chance(0.4),
        pieces: 1 + this.below(6),
        extension: this.may('chunk-extension') && this.chance(0.1),
        trailer: this.may('trailer-field') && this.chance(0.1),
      },
    };
    request.path = request.method === 'POST' ? '/post/1' : '/put/a/b';
    if (!atOnce) {
      if (this.may('late-body-handler') && this.chance(0.2)) request.r = 'latelater';
      if (request.r === 'data' && this.chance(0.3)) request.pause = 1;
      if (this.chance(0.3)) Object.assign(request, { via: this.via(), t: this.below(20) });
    }
    if (this.chance(0.1)) request.headers = ['Expect: 100-continue'];
    return request;
  }

  headRequest(atOnce) {
    // There `endWithoutBody` does not count as a response.
    if (this.module === '20.30') return this.getRequest(atOnce);
    const request = { method: 'HEAD', path: '/head', a: 'end', n: this.size() };
    if (!atOnce && this.may('head-body') && this.chance(0.5)) {
      Object.assign(request, { a: this.pick(['write', 'tryEnd', 'late']), n: 1 + this.below(5000), k: 3 });
      if (request.a === 'write') request.a = 'late';
    }
    return request;
  }

  bodylessRequest() {
    const streamed = this.may('status-without-body') && this.chance(0.6);
    return {
      path: '/get',
      a: 'bodyless',
      status: this.pick(['204 No Content', '304 Not Modified']),
      n: streamed ? 1 + this.below(3000) : 0,
      k: streamed ? this.below(2) : 0,
    };
  }

  declaredRequest(atOnce) {
    if (this.module === '20.30') return this.getRequest(atOnce);
    return { path: '/declared/1', declared: `value${this.below(1000)}` };
  }

  pageRequest() {
    return { path: '/nothing', page: true, status: '404 File Not Found' };
  }

  oddRequest(atOnce) {
    const odd = this.weighted({
      publish: 3,
      forget: this.may('forgotten-response') ? 2 : 0,
      throw: this.may('throwing-handler') ? 2 : 0,
    });
    if (odd === 'publish') return { path: '/get', a: 'publish', k: this.below(5), n: 10 };
    if (atOnce) return this.getRequest(atOnce);
    return { path: '/get', a: odd, page: true, status: '500 Internal Server Error' };
  }

  /** How a connection ends; may add the request that makes it so. */
  end(bursts) {
    const how = this.weighted({ open: 25, close: 20, server: 20, reset: 15, half: 8, never: 12 });
    const last = bursts.at(-1);
    if (how === 'reset') return { how, part: this.next(), after: this.below(10) };
    if (how === 'never') {
      if (!this.may('pipelining-pending')) last.requests.splice(0);
      last.requests.push({ path: '/get', a: 'never', answered: false });
      return { how, after: this.below(200), reset: this.chance(0.5) };
    }
    if (how === 'server') return this.serverEnd(last);
    return { how };
  }

  serverEnd(last) {
    const old = this.may('http-1.0');
    const way = this.weighted({ argument: 30, header: 30, version: old ? 30 : 0, close: 15, short: 15 });
    const request = this.getRequest(false);
    if (!old) last.requests.splice(0);
    if (request.a === 'tryEnd' && !this.may('close-after-tryEnd')) request.a = 'end';
    if (way === 'argument') {
      if (request.a === 'write' && !this.may('late-connection-close')) request.a = 'end';
      request.x = 1;
    }
    if (way === 'header') request.headers = ['Connection: close'];
    if (way === 'version') request.version = '1.0';
    if (way === 'close') Object.assign(request, { a: 'close', answered: false });
    if (way === 'short') Object.assign(request, { a: 'short', n: 1000 + this.size(), t: 10, via: 'timer' });
    last.requests.push(request);
    const behind = this.may('close-before-more') && this.chance(0.4);
    return { how: 'server', behind, partial: way === 'short' || way === 'close' };
  }

  // ---- WebSocket

  ws(more = {}) {
    const kind = this.weighted({ plain: 40, deflate: 20, dedicated: 20, small: 10, strict: 5 });
    const plan = this.connection({
      type: 'ws',
      kind,
      via: this.chance(0.6) ? 'now' : this.via(),
      t: this.below(20),
      refuse: this.chance(0.03),
      deflate: kind === 'plain' || this.chance(0.2) ? null : this.offer(),
      pieces: this.chance(0.3) ? 1 + this.below(4) : 1,
      steps: [],
      ...more,
    });
    if (plan.refuse) return { ...plan, via: 'timer' };
    const pending = plan.via === 'now' ? 'handshake-segment' : 'early-frames';
    if (this.may(pending) && this.chance(0.3))
      plan.early = this.orders(plan, 3).map((order) => ({ ...order, compress: false }));
    if (this.may(pending) && this.chance(0.03))
      return { ...plan, early: [], foreign: true, steps: [{ do: 'ended' }] };
    for (let left = 1 + this.below(6); left > 0; left--) plan.steps.push(this.step(plan));
    const end = this.lastStep(plan);
    if (end) plan.steps.push(...end);
    return plan;
  }

  offer() {
    return this.pick([
      'permessage-deflate',
      'permessage-deflate; client_max_window_bits',
      'permessage-deflate; client_no_context_takeover; server_no_context_takeover',
      'permessage-deflate; server_max_window_bits=10; client_max_window_bits=12',
    ]);
  }

  step(plan) {
    const what = this.weighted({ send: 70, pause: 10, deafen: 10, sync: 10 });
    if (what === 'send')
      return { do: 'send', orders: this.orders(plan, 10), pieces: this.chance(0.5) ? 1 : 1 + this.below(6) };
    return { do: what, t: this.below(80) };
  }

  orders(plan, most) {
    return Array.from({ length: 1 + this.below(most) }, () => this.order(plan));
  }

  order(plan) {
    const op = this.weighted({
      echo: 40,
      many: 10,
      late: 10,
      fragments: plan.kind === 'small' || plan.kind === 'strict' ? 0 : 6,
      subscribe: 14,
      unsubscribe: 5,
      publish: 10,
      ping: 5,
    });
    const order = {
      op,
      pad: this.size(),
      bin: this.chance(0.5),
      compress: this.chance(0.5),
      fragments: this.chance(0.3) ? 1 + this.below(5) : 1,
      ping: this.chance(0.2),
      n: this.size(),
      comp: this.chance(0.5),
    };
    if (op === 'fragments' && !this.may('compressed-fragments')) order.comp = false;
    if (op === 'late') Object.assign(order, { via: this.via(), t: this.below(20) });
    if (op === 'many')
      Object.assign(order, {
        count: this.below(60),
        polite: plan.kind !== 'small' && this.chance(0.8),
        cork: this.chance(0.3),
        n: this.below(8000),
      });
    if (op === 'subscribe' || op === 'unsubscribe') order.topic = this.pick(TOPICS);
    if (op === 'publish')
      Object.assign(order, {
        topic: this.pick(TOPICS),
        count: 1 + this.below(6),
        own: this.chance(0.5),
        n: this.below(this.chance(0.1) ? 20000 : 1500),
      });
    if (op !== 'echo') order.pad = this.below(300);
    return order;
  }

  lastStep() {
    const how = this.weighted({ stay: 40, close: 20, end: 12, serverClose: 8, reset: 12, fin: 8 });
    if (how === 'close')
      return [
        {
          do: 'close',
          code: this.pick([1000, 1001, this.may('registered-close-codes') ? 3001 : 4001, 4321]),
          sync: this.chance(0.7),
        },
      ];
    if (how === 'end')
      return [this.lastOrder({ op: 'end', code: this.pick([1000, 1001, 4000]) }), { do: 'ended' }];
    if (how === 'serverClose') return [this.lastOrder({ op: 'close' }), { do: 'ended' }];
    if (how === 'reset') return [{ do: 'resetNow', after: this.below(20) }];
    if (how === 'fin') return [{ do: 'fin' }];
    return null;
  }

  /** The end in the same segment as messages before it. */
  lastOrder(order) {
    const before = Array.from({ length: this.below(4) }, () => ({
      op: 'echo',
      pad: 10,
      n: this.size(),
      bin: false,
    }));
    return { do: 'send', orders: [...before, { pad: 0, ...order }], pieces: 1 };
  }

  mixture(count) {
    return Array.from({ length: count }, () => (this.chance(0.55) ? this.http() : this.ws()));
  }

  // ---- kinds of runs

  mixed() {
    const connections = this.mixture(60 + this.below(240));
    const reopenAt = this.chance(0.4) ? 200 + this.below(900) : null;
    if (reopenAt !== null) for (const each of connections) each.phase = this.below(2);
    return { connections, reopenAt };
  }

  plainWs(kind, steps, more) {
    return this.connection({
      type: 'ws',
      kind,
      via: 'now',
      t: 0,
      tls: null,
      slow: null,
      deflate: null,
      steps,
      ...more,
    });
  }

  /** A load that must not take memory without bound. `memory`: the most that the server may take, in MiB. */
  memory() {
    const load = this.pick(['pings', 'partial', 'pile', 'dropped']);
    const { memory, connections } = this[load]();
    return { load, memory, connections: [...this.mixture(10), ...connections] };
  }

  /** Pings of clients that do not read. */
  pings() {
    const flood = () => this.plainWs('plain', [{ do: 'flood', count: 1500, size: 120 }]);
    return { memory: 90, connections: Array.from({ length: 2 }, flood) };
  }

  /** Connections that hold one byte of a frame. */
  partial() {
    const hold = () => this.plainWs('plain', [{ do: 'partial', t: 2500 }]);
    return { memory: 60, connections: Array.from({ length: 700 }, hold) };
  }

  /** Many subscribers, and publishes of a size below which the loop copies. */
  pile() {
    const wait = [this.subscribeTo('red'), { do: 'pause', t: 4000 }];
    const publish = [{ do: 'pause', t: 3000 }, this.publishTo('red', 12, 7900), { do: 'sync' }];
    return {
      memory: 90,
      connections: [
        ...Array.from({ length: 2000 }, () => this.plainWs('plain', wait)),
        this.plainWs('plain', publish, { at: 600 }),
      ],
    };
  }

  /** A subscriber that does not read. */
  dropped() {
    const publish = [{ do: 'pause', t: 1000 }, this.publishTo('green', 40000, 6000), { do: 'sync' }];
    return {
      memory: 120,
      connections: [
        this.plainWs('small', [this.subscribeTo('green'), { do: 'deafen', t: 2500 }], { at: 0 }),
        this.plainWs('plain', publish, { at: 600 }),
      ],
    };
  }

  subscribeTo(topic) {
    return { do: 'send', orders: [{ op: 'subscribe', topic, pad: 0, n: 0 }], pieces: 1 };
  }

  publishTo(topic, count, n) {
    const order = { op: 'publish', topic, count, n, pad: 0, own: false, same: true };
    return { do: 'send', orders: [order], pieces: 1 };
  }

  /** Much to do in each turn of the loop, which serves others nevertheless within `latency` milliseconds. */
  storm() {
    const connections = this.mixture(20);
    const storm = (count, n) => ({
      do: 'send',
      orders: [{ op: 'storm', count, n, t: 5000, comp: true, pad: 0, bin: false }],
      pieces: 1,
    });
    for (let i = 0; i < 20; i++) {
      connections.push(
        this.plainWs('small', [storm(5, 7900), { do: 'pause', t: 5500 }], { deflate: 'permessage-deflate' }),
      );
    }
    return { connections, latency: 4500 };
  }

  /** Large responses to slow readers that end with the connection. */
  slow() {
    const connections = this.mixture(20);
    const large = { path: '/get', a: 'end', n: 20 << 20 };
    const ways = [{ x: 1 }, { headers: ['Connection: close'] }];
    if (this.may('http-1.0'))
      ways.push({ version: '1.0' }, { a: 'write', k: 400, headers: ['Connection: close'] });
    for (const way of ways) {
      for (const dribble of this.may('close-before-more') ? [0, 50] : [0]) {
        connections.push(
          this.connection({
            type: 'http',
            at: 0,
            tls: this.chance(0.3) ? {} : null,
            slow: { bytes: 60000, every: 20 },
            bursts: [{ requests: [{ ...large, ...way }], pieces: 1 }],
            end: { how: 'server', behind: dribble > 0, dribble },
          }),
        );
      }
    }
    const order = (op) => ({ op, n: 900000, pad: 0, bin: true, count: 9, polite: false });
    connections.push(
      this.plainWs(
        'plain',
        [
          { do: 'send', orders: [order('many'), { op: 'end', code: 1000, pad: 0 }], pieces: 1 },
          { do: 'ended' },
        ],
        {
          slow: { bytes: 30000, every: 20 },
        },
      ),
    );
    return { connections };
  }

  /** The process is stopped for longer than the timeouts, while its clients go on. */
  stopped() {
    const connections = this.mixture(20);
    const echo = { do: 'send', orders: [{ op: 'echo', pad: 5, n: 5, bin: false }], pieces: 1 };
    const steps = Array.from({ length: 17 }, () => [echo, { do: 'pause', t: 1000 }]).flat();
    for (let i = 0; i < 20; i++)
      connections.push(this.plainWs('plain', [...steps, { do: 'sync' }], { stays: true }));
    return { connections, stop: { at: 1500, for: 14000 }, idle: 8 };
  }
}

function planOf({ seed, module: module_, kind }) {
  const planner = new Planner(seed, module_);
  const careless = module_ === 'ours' && planner.chance(0.5);
  const chosen = kind ?? 'mixed';
  return { seed, module: module_, kind: chosen, careless, ...planner[chosen]() };
}

module.exports = { planOf, KINDS };
