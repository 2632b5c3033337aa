/**
 * The switches of the engine's page, and the thread with the clients that they need (`clients.js`). That
 * thread runs while a page asks for it: `probe` gives it another ten seconds. Each switch ends by itself.
 *
 * With CLUSTER_WORKERS each thread has its own, and a page that of the thread its WebSocket came to.
 */
import { Worker } from 'node:worker_threads';
import type { Platform } from 'svelte-adapter-uws';
import { LiveError } from 'svelte-realtime/server';
import uWS from 'uWebSockets.js';
import { shared } from '../shared';
import clients from './clients.js?raw';
import { FEED, native } from './routes';

const TOPIC = 'engine';
const BLOCK_MS = 2000;
const BLOCKS_APART_MS = 5000;
/** So long until the block begins that everybody's page hears of it first. */
const BLOCK_AFTER_MS = 50;
const SWITCH_MS = 20_000;
/** Each start makes its clients connect anew. */
const SWITCHED_ON_APART_MS = 1000;
const LEASE_MS = 10_000;
const STARTS_APART_MS = 3000;
const READERS = 2;
const CLIENTS = 16;
const FEED_EVERY_MS = 8;
const FEED_BYTES = 16 * 1024;

type Kind = 'feed' | 'load';

/** A message of the thread: its regular report, or that all clients of a feed are connected. */
interface Message {
  opened?: number;
  sentAt: number;
  pings: App.EngineReport['pings'];
  feed?: { run: number; readers: App.EngineReader[]; latency: number | null };
  load?: { run: number; sent: number; received: number; latency: number | null };
}

class Engine {
  #platform?: Platform;
  #worker?: Worker;
  /** No thread is started before: not while the port is on its way, nor at once after a failure. */
  #nextStart = 0;
  #wantedUntil = 0;
  #nextBlock = 0;
  #nextOn: { [kind in Kind]: number } = { feed: 0, load: 0 };
  /** The timers that end the switches that are on. */
  #running: { [kind in Kind]?: NodeJS.Timeout } = {};
  /** The number of the last run of each: what is told of an earlier one is late. */
  #last: { [kind in Kind]: number } = { feed: 0, load: 0 };
  #publishing?: NodeJS.Timeout;
  #payload = Buffer.alloc(FEED_BYTES);

  #block: App.EngineState['block'];
  #slow: App.EngineState['slow'] = { on: false, published: 0, dropped: 0, readers: [], latency: null };
  #load: App.EngineState['load'] = { on: false, clients: CLIENTS, sent: 0, received: 0, latency: null };

  get state(): App.EngineState {
    return {
      missing: native.app
        ? undefined
        : 'This page shows uws-rs at work. Build the app and run it: npm start.',
      refused: process.env.ENGINE === 'off' ? 'The switches are off on this server (ENGINE=off).' : undefined,
      block: this.#block,
      slow: { ...this.#slow, dropped: native.dropped },
      load: this.#load,
    };
  }

  /** Keeps the clients running for a page that watches, and answers at once. */
  probe(platform: Platform): number {
    this.#platform = platform;
    this.#wantedUntil = Date.now() + LEASE_MS;
    const now = Date.now();
    if (!this.#worker && now >= this.#nextStart && native.app) this.#start(native.app);
    return now;
  }

  /** Keeps this thread busy, as a handler does that computes for too long. */
  block(): void {
    this.#check();
    const now = notBefore(this.#nextBlock);
    this.#nextBlock = now + BLOCKS_APART_MS;
    setTimeout(() => {
      const until = performance.now() + BLOCK_MS;
      while (performance.now() < until);
    }, BLOCK_AFTER_MS);
    this.#block = { from: now + BLOCK_AFTER_MS, ms: BLOCK_MS };
    this.#tell();
  }

  /** A switch that is on already stays as it is, and so does one that is off. */
  turn(kind: Kind, on: boolean): void {
    if (!on) return this.#end(kind);
    this.#check();
    if (this.#running[kind]) return;
    if (!this.#worker) throw new LiveError('UNAVAILABLE', 'The clients are not running');
    this.#nextOn[kind] = notBefore(this.#nextOn[kind]) + SWITCHED_ON_APART_MS;
    const run = ++this.#last[kind];
    this.#running[kind] = setTimeout(() => this.#end(kind), SWITCH_MS);
    if (kind === 'feed') {
      native.dropped = 0;
      this.#slow = { on: true, published: 0, dropped: 0, readers: [], latency: null };
    } else {
      this.#load = { on: true, clients: CLIENTS, sent: 0, received: 0, latency: null };
    }
    this.#worker.postMessage({ kind, run });
    this.#tell();
  }

  #check(): void {
    const why = this.state.missing ?? this.state.refused;
    if (why) throw new LiveError('FORBIDDEN', why);
  }

  #end(kind: Kind): void {
    if (!this.#running[kind]) return;
    clearTimeout(this.#running[kind]);
    delete this.#running[kind];
    if (kind === 'feed') {
      clearInterval(this.#publishing);
      this.#slow = { ...this.#slow, on: false };
    } else {
      this.#load = { ...this.#load, on: false };
    }
    this.#worker?.postMessage({ kind, run: 0 });
    this.#tell();
  }

  /** The clients come by a port of their own on the loopback interface, wherever the app itself listens. */
  #start(app: NonNullable<typeof native.app>): void {
    this.#nextStart = Date.now() + STARTS_APART_MS;
    app.listen('127.0.0.1', 0, (listener) => {
      if (!listener) return console.error('There is no port for the clients of the engine.');
      const port = uWS.us_socket_local_port(listener);
      const secure = Boolean(process.env.SSL_CERT);
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(clients)}`), {
        workerData: { port, secure, inner: native.inner, readers: READERS, clients: CLIENTS },
      });
      this.#worker = worker;
      worker.unref();
      worker.on('message', (message: Message) => this.#take(worker, message));
      worker.on('error', (error) => console.error('The clients of the engine ended:', error));
      worker.on('exit', () => {
        this.#worker = undefined;
        uWS.us_listen_socket_close(listener);
        for (const kind of ['feed', 'load'] as const) this.#end(kind);
      });
    });
  }

  #take(worker: Worker, { opened, feed, load, pings, sentAt }: Message): void {
    if (opened !== undefined) {
      if (this.#running.feed && this.#last.feed === opened) this.#publish();
      return;
    }
    if (feed && feed.run === this.#last.feed) {
      this.#slow = { ...this.#slow, readers: feed.readers, latency: feed.latency };
    }
    if (load && load.run === this.#last.load) {
      this.#load = { ...this.#load, sent: load.sent, received: load.received, latency: load.latency };
    }
    this.#tell(pings, sentAt);
    if (Date.now() > this.#wantedUntil && Object.keys(this.#running).length === 0) void worker.terminate();
  }

  /** The feed: numbered messages, for the readers to see that none is missing, with the time in each. */
  #publish(): void {
    this.#publishing = setInterval(() => {
      this.#payload.writeUInt32LE(this.#slow.published++, 0);
      this.#payload.writeDoubleLE(performance.timeOrigin + performance.now(), 8);
      native.app?.publish(FEED, this.#payload, true);
    }, FEED_EVERY_MS);
  }

  /** The pages at this thread are told; others have an engine of their own. */
  #tell(pings: App.EngineReport['pings'] = [], sentAt = performance.timeOrigin + performance.now()): void {
    const report: App.EngineReport = { sentAt, state: this.state, pings };
    this.#platform?.publish(TOPIC, 'report', report, { relay: false });
  }
}

/** Returns the time, if it has come. */
function notBefore(time: number): number {
  const now = Date.now();
  if (now < time) throw new LiveError('RATE_LIMITED', `Again in ${Math.ceil((time - now) / 1000)} s`);
  return now;
}

export const engine = shared('engine', () => new Engine());
