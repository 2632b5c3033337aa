'use strict';

// A client of the adapter's and svelte-realtime's JSON protocol, frame by frame, for tests of the wire:
//
//   const client = await Client.open(server, { cookie: 'guest=ann' });
//   await client.call('chat/send', 'hello');                    // the data, or throws CallError
//   const { response, events } = await client.stream('chat/messages');
//   await events.when((list) => list.length === 3);
//   await client.subscribe('todos');                            // acknowledged or refused: throws Denied
//
// Everything received is kept in its order: `frames` (parsed), and by topic in `topic(name)`.

const { WebSocket } = require('ws');
const { since } = require('./build.js');

const TIMEOUT_MS = 30000;

/** A list that a test can wait for. */
class Log extends Array {
  #waiting = new Set();

  static get [Symbol.species]() {
    return Array;
  }

  add(item) {
    this.push(item);
    this.#wake();
  }

  /**
   * Resolves with the first truthy value of `check(list)`; rejects when the connection has ended or time is
   * up.
   */
  when(check, what = 'what was waited for') {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(attempt);
        settle(value);
      };
      const fail = (reason) =>
        finish(reject, new Error(`${reason} before ${what}; the last of ${this.length}: ${tail(this)}`));
      const attempt = () => {
        const value = check(this);
        if (value) finish(resolve, value);
        else if (this.over) fail('the connection ended');
      };
      const timer = setTimeout(() => fail(`${TIMEOUT_MS / 1000} s went by`), TIMEOUT_MS);
      this.#waiting.add(attempt);
      attempt();
    });
  }

  /** Resolves once there are that many. */
  count(number) {
    return this.when((list) => list.length >= number && list, `there were ${number}`);
  }

  end() {
    this.over = true;
    this.#wake();
  }

  #wake() {
    for (const attempt of [...this.#waiting]) attempt();
  }
}

class CallError extends Error {
  constructor(path, { code, error, ...rest }) {
    super(`${path}: ${code}: ${error}`);
    Object.assign(this, rest, { code, error });
  }
}

class Denied extends Error {
  constructor(topic, reason) {
    super(`subscribe to ${topic}: ${reason}`);
    Object.assign(this, { topic, reason });
  }
}

/** The upgrade was not answered with 101. */
class Refused extends Error {
  constructor(status, body) {
    super(`upgrade refused: ${status} ${body}`);
    Object.assign(this, { status, body });
  }
}

class Client {
  frames = new Log();
  /** Frames with a type: messages of newer adapters about the connection and its subscriptions. */
  control = new Log();
  /** { code, reason } once the connection has ended. */
  closed;
  #topics = new Map();
  #calls = new Map();
  #next = 1;

  /** `target` is a server or a url; throws Refused where the upgrade is not granted. */
  static async open(target, { cookie, headers = {}, path = '/ws', origin, ...options } = {}) {
    const base = target.url ?? target;
    const socket = new WebSocket(`${base.replace(/^http/, 'ws')}${path}`, {
      perMessageDeflate: false,
      headers: { origin: origin ?? base, ...(cookie ? { cookie } : {}), ...headers },
      ...options,
    });
    const client = new Client(socket);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
      socket.once('unexpected-response', async (request, response) => {
        const chunks = await response.toArray();
        reject(new Refused(response.statusCode, Buffer.concat(chunks).toString()));
        request.destroy();
      });
    });
    return client;
  }

  constructor(socket) {
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      socket.once('close', (code, reason) => {
        this.closed = { code, reason: String(reason) };
        this.#end();
        resolve(this.closed);
      });
    });
    socket.on('message', (data, binary) => !binary && this.#receive(JSON.parse(data)));
    socket.on('error', () => {});
  }

  /** Everything published to the topic that has reached this client, and that will. */
  topic(name) {
    if (!this.#topics.has(name)) this.#topics.set(name, new Log());
    return this.#topics.get(name);
  }

  send(value) {
    this.socket.send(typeof value === 'string' ? value : JSON.stringify(value));
  }

  /** Returns the whole answer to an RPC: { id, ok, data } or { id, ok, code, error }. */
  ask(rpc, args = [], extra = {}) {
    const id = `c${this.#next++}`;
    const answer = this.#answer(id);
    this.send({ rpc, id, args, ...extra });
    return answer;
  }

  /** Returns the data of the answer to an RPC. */
  async call(rpc, ...args) {
    return unwrap(rpc, await this.ask(rpc, args));
  }

  /** Makes calls in one frame: `[[path, ...args], …]`; resolves with the answers in their order. */
  async batch(calls, { sequential = false } = {}) {
    const batch = calls.map(([rpc, ...args]) => ({ rpc, id: `c${this.#next++}`, args }));
    const answer = this.#answer('__batch');
    this.send({ batch, ...(sequential ? { sequential } : {}) });
    return (await answer).batch;
  }

  /** Subscribes to a stream; `resume` is { seq, version } of an earlier answer. */
  async stream(rpc, args = [], resume = {}) {
    const response = unwrap(rpc, await this.ask(rpc, args, { stream: true, ...resume }), true);
    return { response, events: this.topic(response.topic) };
  }

  /**
   * Resolves when the server has subscribed this client; throws Denied where it refuses (adapter 0.3 says
   * nothing).
   */
  async subscribe(topic) {
    const ref = this.#next++;
    this.send({ type: 'subscribe', topic, ref });
    if (!since('svelte-adapter-uws', '0.4.0')) return this.settled();
    const said = await this.control.when(
      (list) => list.find((frame) => frame.ref === ref && /^subscribe/.test(frame.type)),
      `the subscription to ${topic} was answered`,
    );
    if (said.type !== 'subscribed') throw new Denied(topic, said.reason);
  }

  async unsubscribe(topic) {
    this.send({ type: 'unsubscribe', topic });
    await this.settled();
  }

  /** Resolves when the server has handled the data sent before: it answers pings after it. */
  async settled() {
    await this.ask('__none__/settled');
  }

  /** Stops reading from the socket, so that the server's buffers fill. */
  pause() {
    this.socket.pause();
  }

  resume() {
    this.socket.resume();
  }

  /** Closes as a browser does and resolves when it is done. */
  close(code = 1000, reason = '') {
    this.socket.close(code, reason);
    return this.ended;
  }

  /** Ends the connection without a close frame. */
  drop() {
    this.socket.terminate();
    return this.ended;
  }

  #answer(id) {
    const waiting = this.#calls.get(id) ?? [];
    this.#calls.set(id, waiting);
    return new Promise((resolve, reject) => {
      const entry = { resolve, reject };
      const timer = setTimeout(() => reject(new Error(`no answer to ${id}`)), TIMEOUT_MS);
      entry.done = () => clearTimeout(timer);
      waiting.push(entry);
    });
  }

  #receive(frame) {
    this.frames.add(frame);
    if (frame.topic === '__rpc') {
      const entry = this.#calls.get(frame.event)?.shift();
      entry?.done();
      entry?.resolve(frame.data);
    } else if (frame.type === 'batch') for (const event of frame.events) this.topic(event.topic).add(event);
    else if (frame.type !== undefined) this.control.add(frame);
    else this.topic(frame.topic).add(frame);
  }

  #end() {
    for (const log of [this.frames, this.control, ...this.#topics.values()]) log.end();
    for (const waiting of this.#calls.values())
      for (const { done, reject } of waiting) {
        done();
        reject(new Error(`the connection ended: ${JSON.stringify(this.closed)}`));
      }
  }
}

function unwrap(rpc, answer, whole = false) {
  if (!answer.ok) throw new CallError(rpc, answer);
  return whole ? answer : answer.data;
}

function tail(list) {
  return JSON.stringify(list.slice(-3)).slice(0, 600);
}

module.exports = { CallError, Client, Denied, Refused };
