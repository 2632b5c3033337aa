'use strict';

// The adapter with worker threads to which connections are handed (CLUSTER_MODE=acceptor, the only mode of
// 0.3). The threads end in every possible way while their sockets are busy, and are replaced.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { WebSocket } = require('ws');
const { shared } = require('../tls/certificates.js');
const { Deployment, onlyOurs } = require('./stack.js');
const { WAYS } = require('./ending.js');
const { Connection, request } = require('./http.js');

const PRELOAD = path.join(__dirname, 'ending.js');
const TEXT = '/generated/field-notes.txt';
const ONE_MIB = 1024 * 1024;
const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const { key_file_name: key, cert_file_name: cert } = shared();
const OVER = { TCP: {}, TLS: { SSL_CERT: cert, SSL_KEY: key } };

for (const [name, env] of Object.entries(OVER)) {
  test(
    `workers that end under load are replaced, and the service goes on, over ${name}`,
    { timeout: 180000, ...onlyOurs('ending a thread with connections crashes the process') },
    async (t) => {
      const deployment = new Deployment(t);
      const server = await deployment.start({
        workers: 2,
        env: { CLUSTER_MODE: 'acceptor', NODE_OPTIONS: `--require ${JSON.stringify(PRELOAD)}`, ...env },
      });
      const load = new Load(server, fs.readFileSync(path.join(deployment.folder, 'build/client', TEXT)));
      await load.further(50);
      for (const way of WAYS) {
        load.nobody = way === 'all';
        const gone = server.count(EXITED) + (way === 'all' ? 2 : 1);
        // One of two workers is certain: the one that registers first may cancel the start of the other.
        const ready = server.count(REGISTERED) + 1;
        server.process.kill('SIGUSR2');
        await server.until(() => server.count(EXITED) >= gone && server.count(REGISTERED) >= ready);
        await load.further(50);
        load.nobody = false;
      }
      const { wrong, cut } = await load.stop();
      assert.deepEqual(wrong, []);
      assert.ok(cut > 0, 'no connection was busy when its worker ended');
      assert.match(server.output, /ended by its test/);
      await bothHear(server);
      assert.equal(await server.stop('SIGTERM'), 0);
    },
  );
}

const REGISTERED = /Worker thread \d+ registered/g;
const EXITED = /Worker thread -?\d+ exited/g;

/** Clients that continue on another connection when theirs was cut. */
class Load {
  answers = 0;
  cut = 0;
  wrong = [];
  /**
   * All workers are gone or about to be: the acceptor refuses connections or, until it knows, has no routes.
   */
  nobody = false;
  #over = false;
  #clients;

  constructor(server, text) {
    this.server = server;
    const requests = {
      '/': (body) => body.includes('</html>'),
      [TEXT]: (body) => body.equals(text),
      '/download/1': (body) => body.length === ONE_MIB,
    };
    this.#clients = [
      ...[...Object.entries(requests), ...Object.entries(requests)].map((each) => this.#requests(...each)),
      ...[1, 2, 3, 4].map(() => this.#counts()),
    ];
  }

  /** Waits for the given number of further answers. */
  async further(count) {
    const enough = this.answers + count;
    await this.server.until(() => this.answers >= enough);
  }

  async stop() {
    this.#over = true;
    await Promise.all(this.#clients);
    return this;
  }

  async #requests(target, good) {
    while (!this.#over) {
      const connection = await this.#connection();
      try {
        for (let i = 0; i < 20 && !this.#over; i++) {
          const { status, body } = await connection.request('GET', target);
          if (status === 200 && good(body)) this.answers++;
          else if (status !== 404 || !this.nobody) this.wrong.push([target, status, body.length]);
        }
      } catch {
        this.cut++;
      }
      connection.destroy();
    }
  }

  async #connection() {
    for (;;) {
      try {
        return await Connection.open(this.server.port, this.server);
      } catch {
        await delay(20);
      }
    }
  }

  /** A visitor whose WebSocket is never silent. */
  async #counts() {
    while (!this.#over) {
      let socket;
      try {
        socket = await subscribed(this.server);
      } catch {
        await delay(20);
        continue;
      }
      const closed = new Promise((resolve) => socket.once('close', resolve));
      const timer = setInterval(() => {
        if (this.#over) socket.terminate();
        else socket.send('{"type":"count","by":1}', () => {});
      }, 20);
      await closed;
      clearInterval(timer);
    }
  }
}

/** A visitor's WebSocket with a subscription to the room. */
async function subscribed(server) {
  const page = await request(server.port, 'GET', '/live', {}, '', server);
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`, {
    headers: { cookie: page.header('set-cookie').split(';')[0] },
    origin: server.url,
    ca: server.ca,
    servername: 'localhost',
  });
  socket.heard = [];
  socket.on('message', (data) => socket.heard.push(data.toString()));
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
  socket.send('{"type":"subscribe","topic":"room"}');
  return socket;
}

/**
 * Connections are distributed to the workers in turn: each of these is with another worker, and receives the
 * messages of the others.
 */
async function bothHear(server) {
  const sockets = [await subscribed(server), await subscribed(server)];
  for (const speaker of sockets) {
    const before = sockets.map(({ heard }) => heard.length);
    speaker.send('{"type":"count","by":1}');
    const heard = () =>
      sockets.every((socket, i) => socket.heard.slice(before[i]).some((text) => text.includes('count')));
    await server.until(heard);
  }
  for (const socket of sockets) socket.terminate();
}
