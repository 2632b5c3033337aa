'use strict';
// The record of all that the server must have told each connection, kept beside the module under test.

const { To, describing, fault } = require('./bytes');
const { ours } = require('../support');

/** Topics that all connections share. One is not ASCII. */
const TOPICS = ['red', 'green', 'blué', 'own', 'x'.repeat(200)];

/** The least size of the head of a published message, so that one head can take the place of another. */
const HEAD = 80;

class Record {
  constructor(connection, app, kind) {
    this.connection = connection;
    this.app = app;
    this.kind = kind;
    this.name = `WebSocket ${connection}`;
    this.opened = false;
    this.refused = false;
    /** { code, reason } once `close` has been called. */
    this.closed = null;
    /** Whether the subscriptions end with the connection. */
    this.ending = false;
    this.topics = new Set();
    /** How many messages came from the client. */
    this.received = 0;
    this.sent = 0;
    /** All that the client must get, in order: publishes by number, direct messages as -1 - number. */
    this.expected = [];
    this.drains = [];
    this.pings = 0;
    this.sentPings = 0;
    this.pongs = 0;
  }
}

class Ledger {
  constructor(report) {
    this.wrong = (text) => void report(text);
    this.records = new Map();
    this.pending = new Set();
    this.publishes = 0;
    this.connections = [new Map(), new Map()];
  }

  // ---- HTTP

  began(exchange) {
    this.pending.add(exchange);
  }

  ended(exchange) {
    this.pending.delete(exchange);
  }

  /** A filter's count of connections, by port: a port may be in use twice for a moment. */
  filtered(app, count, port) {
    const ports = this.connections[app.index];
    const now = (ports.get(port) ?? 0) + count;
    if (now < 0) this.wrong(`filter: -1 for port ${port}, which has no connection`);
    if (now === 0) ports.delete(port);
    else ports.set(port, now);
  }

  // ---- WebSocket

  connection(connection, app, kind) {
    if (this.records.has(connection)) this.wrong(`connection ${connection} upgrades twice`);
    const record = new Record(connection, app, kind);
    this.records.set(connection, record);
    return record;
  }

  /** Checks a message of the client and returns its order. */
  received(record, message, isBinary) {
    const end = message.indexOf(10);
    let order;
    try {
      order = JSON.parse(message.toString('latin1', 0, end));
    } catch {
      return this.wrong(`${record.name}: a message that nobody sent: ${message.subarray(0, 80)}`);
    }
    const { c, q, pad, bin } = order;
    if (c !== record.connection) return this.wrong(`${record.name}: a message of connection ${c}`);
    if (q !== record.received) this.wrong(`${record.name}: message ${q} instead of ${record.received}`);
    if (bin !== isBinary) this.wrong(`${record.name}: message ${q} has the wrong type`);
    record.received = q + 1;
    const bad = fault(message.subarray(end + 1), To.SERVER, c, q, pad);
    if (bad) this.wrong(`${record.name}: message ${q}: ${bad}`);
    return order;
  }

  /** Sends a message of its own to one connection; returns the answer of `send`. */
  send(ws, { n, bin = false, comp = false, y }) {
    const { record } = ws;
    const number = record.sent;
    const message = this.direct(record, number, n, y);
    const result = ws.send(message, bin, comp);
    if (result === 2) return result;
    this.sent(record);
    return result;
  }

  direct(record, number, length, y) {
    const head = JSON.stringify({ c: record.connection, d: number, n: length, y });
    return Buffer.concat([
      Buffer.from(`${head}\n`),
      describing(To.CLIENT, record.connection, number, length),
    ]);
  }

  sent(record) {
    record.expected.push(-1 - record.sent++);
  }

  sendFragments(ws, { n, bin = false, comp = false }) {
    const { record } = ws;
    const message = this.direct(record, record.sent, n);
    const [a, b] = [Math.ceil(message.length / 3), Math.ceil((message.length * 2) / 3)];
    if (ws.getBufferedAmount() > 0) return; // one of the fragments could be dropped
    ws.sendFirstFragment(message.subarray(0, a), bin, comp);
    ws.sendFragment(message.subarray(a, b), comp);
    ws.sendLastFragment(message.subarray(b), comp);
    this.sent(record);
  }

  subscribe(ws, topic) {
    const { record } = ws;
    record.changing = topic;
    ws.subscribe(topic);
    record.changing = null;
    if (!record.topics.has(topic)) this.wrong(`${record.name}: subscribe did not call subscription`);
    if (!ws.isSubscribed(topic)) this.wrong(`${record.name}: not subscribed to ${topic}`);
  }

  unsubscribe(ws, topic) {
    const { record } = ws;
    const had = record.topics.has(topic);
    record.changing = topic;
    const result = ws.unsubscribe(topic);
    record.changing = null;
    if (result !== had) this.wrong(`${record.name}: unsubscribe(${topic}) is ${result}`);
    if (record.topics.has(topic)) this.wrong(`${record.name}: unsubscribe did not call subscription`);
  }

  /** The `subscription` handler: the one source of who is subscribed here. */
  subscription(record, latin1, now, before) {
    const topic = Buffer.from(latin1, 'latin1').toString();
    const joins = now > before;
    if (record.closed !== null) this.wrong(`${record.name}: subscription after close`);
    if (joins === record.topics.has(topic))
      this.wrong(`${record.name}: ${topic} ${joins ? 'joined' : 'left'} twice`);
    if (joins) record.topics.add(topic);
    else record.topics.delete(topic);
    if (record.changing !== topic) record.ending = true;
    const count = this.count(record.app, topic);
    if (count !== now || Math.abs(now - before) !== 1) {
      this.wrong(`${record.name}: ${topic} has ${count} subscribers, told ${before} to ${now}`);
    }
  }

  count(app, topic) {
    let count = 0;
    for (const record of this.records.values()) if (record.app === app && record.topics.has(topic)) count++;
    return count;
  }

  publish(app, from, topic, length, { bin = false, comp = false } = {}) {
    const number = this.publishes++;
    const message = this.publishMessage(app, topic, number, length, number);
    const others = [];
    for (const record of this.records.values()) {
      if (record.app === app && record !== from?.record && record.topics.has(topic)) others.push(record);
    }
    const silent = from !== null && from.record.topics.size === 0;
    if (!silent) for (const record of others) if (!record.ending) record.expected.push(number);
    const result = from
      ? from.publish(topic, message, bin, comp)
      : app.handler.publish(topic, message, bin, comp);
    const expected = others.length > 0 && !silent;
    // In the originals a socket whose `close` handler runs still counts.
    if (result !== expected && (ours || !result))
      this.wrong(`publish to ${topic} gave ${result} with ${others.length} others`);
  }

  publishMessage(app, topic, number, length, body) {
    const head = JSON.stringify({ p: number, t: topic, n: length, b: body }).padEnd(HEAD - 1);
    return Buffer.concat([Buffer.from(`${head}\n`), describing(To.SUBSCRIBERS, app.index, body, length)]);
  }

  /** Publishes as fast as can be. All bodies are that of the first message, and the memory is used again. */
  publishMany(app, topic, length, count) {
    const first = this.publishes;
    const message = this.publishMessage(app, topic, first, length, first);
    const heads = [];
    for (const { app: its, topics, ending, expected } of this.records.values()) {
      if (its !== app || !topics.has(topic) || ending) continue;
      for (let i = 0; i < count; i++) expected.push(first + i);
    }
    for (let i = 0; i < count; i++) {
      heads.push(JSON.stringify({ p: this.publishes++, t: topic, n: length, b: first }).padEnd(HEAD - 1));
    }
    for (const head of heads) {
      message.write(head);
      app.handler.publish(topic, message, true);
    }
  }

  dropped(record, message) {
    const end = message.indexOf(10);
    if (end < 0 && message.toString('latin1').startsWith(`${record.connection}.`)) return; // a ping
    const { p, c } = JSON.parse(message.toString('utf8', 0, end));
    if (p === undefined) {
      if (c !== record.connection) this.wrong(`${record.name}: dropped a message of ${c}`);
      return;
    }
    const at = record.expected.lastIndexOf(p);
    if (at < 0) return this.wrong(`${record.name}: dropped publish ${p}, which was not for it`);
    record.expected.splice(at, 1);
  }

  ping(ws) {
    const { record } = ws;
    if (ws.ping(`${record.connection}.${record.sentPings}`) !== 2) record.sentPings++;
  }

  pinged(record, text) {
    if (text.startsWith('flood')) return;
    if (text !== `${record.connection}.${record.pings++}`) this.wrong(`${record.name}: ping ${text}`);
  }

  ponged(record, text) {
    const [connection, number] = text.split('.').map(Number);
    if (connection !== record.connection || number < record.pongs || number >= record.sentPings) {
      this.wrong(`${record.name}: pong ${text}`);
    }
    record.pongs = number + 1;
  }

  closed(record, code, reason) {
    if (record.topics.size > 0) this.wrong(`${record.name}: closed with topics ${[...record.topics]}`);
    record.closed = { code, reason };
    record.drains = [];
  }

  // ---- the end

  /** After `app.close()` every object of the app has ended. */
  appClosed(app) {
    for (const exchange of [...this.pending]) {
      if (exchange.app !== app) continue;
      this.wrong(`${exchange.name}: not ended by app.close()`);
      this.pending.delete(exchange);
    }
    for (const record of this.records.values()) {
      if (record.app === app && record.opened && record.closed === null) {
        this.wrong(`${record.name}: not closed by app.close()`);
      }
    }
    for (const topic of TOPICS) {
      const left = app.handler.numSubscribers(topic);
      if (left !== 0) this.wrong(`${left} subscribers of ${topic} are left`);
    }
  }

  report() {
    return [...this.records.values()].map((record) => ({
      connection: record.connection,
      opened: record.opened,
      refused: record.refused,
      received: record.received,
      pings: record.pings,
      expected: record.expected,
      closed: record.closed,
    }));
  }

  finish(apps) {
    for (const app of apps) {
      const left = this.connections[app.index].size;
      if (ours && left > 0) this.wrong(`filter: ${left} connections of ${app.name} never ended`);
    }
  }
}

module.exports = { Ledger, TOPICS };
