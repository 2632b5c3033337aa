'use strict';
// Mixed traffic for as long as you like: `npm run test:soak -- --minutes 30`. Every byte is checked; after
// the warm-up the server's memory and descriptors must not grow.
//
//   --seconds N, --minutes N    how long; default: 60 s
//   --seed N                    another course of the traffic

const path = require('node:path');
const { optionsOf } = require('../../scripts/options');
const { Remote, sleep } = require('./support');
const certificates = require('../tls/certificates');

const CLIENTS = 2;
const SAMPLE_MS = 1000;

/** The server, in a process of its own. */
function serve({ uWS }, tls) {
  const { createHash } = require('node:crypto');
  const counts = { requests: 0, answered: 0, aborted: 0, opened: 0, closed: 0, messages: 0, dropped: 0 };
  const pattern = Buffer.alloc(1 << 20, 'abcdefghijklmnopqrstuvwxyz');
  let accepted = 0;
  const respond = (res, run) => {
    counts.requests++;
    let isOver = false;
    res.onAborted(() => {
      isOver = true;
      counts.aborted++;
    });
    run((finish) => {
      if (isOver) return false;
      finish();
      return true;
    });
  };
  const end = (res, body) => {
    counts.answered++;
    res.end(body);
  };
  const behaviour = (compression) => ({
    compression,
    idleTimeout: 60,
    maxPayloadLength: 1 << 20,
    maxBackpressure: 4 << 20,
    open: () => counts.opened++,
    message(ws, data, isBinary) {
      counts.messages++;
      if (data.byteLength === 5 && Buffer.from(data).toString() === 'ticks') ws.subscribe('ticks');
      else ws.send(data, isBinary, compression !== 0);
    },
    dropped: () => counts.dropped++,
    close: () => counts.closed++,
  });
  const apps = [uWS.App(), uWS.SSLApp(tls)];
  const ports = apps.map((app) => {
    let port;
    // A client that the machine does not let run for a while is not to be timed out.
    app
      .setIdleTimeout(120)
      .setResponseTimeout(120)
      .filter((res, count) => (accepted += count))
      .get('/echo/*', (res, req) => {
        const url = req.getUrl();
        respond(res, () => end(res, url));
      })
      .get('/later/*', (res, req) => {
        const url = req.getUrl();
        respond(res, (live) => setTimeout(() => live(() => end(res, url)), Math.random() * 20));
      })
      .post('/hash', (res) =>
        respond(res, (live) => {
          const hash = createHash('sha1');
          res.onData((chunk, isLast) => {
            hash.update(Buffer.from(chunk));
            if (isLast) live(() => end(res, hash.digest('hex')));
          });
        }),
      )
      .get('/stream/:chunks', (res, req) => {
        const chunks = Number(req.getParameter(0));
        respond(res, (live) => {
          const next = (n) =>
            live(() => {
              if (n === chunks) return void end(res, 'end');
              res.write(`chunk ${n};`);
              setImmediate(next, n + 1);
            });
          next(0);
        });
      })
      .get('/large/:bytes', (res, req) => {
        const total = Number(req.getParameter(0));
        respond(res, (live) => {
          const go = () => {
            const [, isDone] = res.tryEnd(pattern.subarray(res.getWriteOffset(), total), total);
            if (isDone) counts.answered++;
            return isDone;
          };
          res.onWritable(() => {
            live(go);
            return true;
          });
          go();
        });
      })
      .get(
        '/declared/:name',
        new uWS.DeclarativeResponse().write('hello ').writeParameterValue('name').end('!'),
      )
      .ws('/plain', behaviour(uWS.DISABLED))
      .ws('/shared', behaviour(uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR))
      .ws('/own', behaviour(uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR))
      .listen(0, (token) => (port = uWS.us_socket_local_port(token)));
    return port;
  });
  let tick = 0;
  setInterval(() => {
    tick++;
    for (const app of apps)
      app.publish('ticks', `tick ${tick} ${'t'.repeat(tick % 700)}`, false, tick % 2 === 0);
  }, 20);
  return {
    ports: () => ports,
    sample() {
      // Garbage does not count.
      globalThis.gc?.();
      const { rss, heapUsed, external } = process.memoryUsage();
      return { rss, heapUsed, external, accepted };
    },
    counts: () => ({ ...counts, handshakeTimeouts: uWS.stats().timeouts.handshake }),
  };
}

/** A process of clients: many actors that do something whole, again and again. */
function traffic(support, { ports, seed, actors }) {
  const { Peer, WsPeer, get, post, request, frame } = support;
  const { createHash } = require('node:crypto');
  const WebSocket = require('ws');
  const { random } = require('./__test__/robustness/program');
  const counts = { connections: 0, requests: 0, messages: 0, ticks: 0, misuses: 0, errors: [] };
  const pattern = Buffer.alloc(1 << 20, 'abcdefghijklmnopqrstuvwxyz');
  let isStopped = false;
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const check = (condition, text) => {
    if (!condition) throw new Error(text);
  };

  async function connect({ pick }) {
    counts.connections++;
    const secure = pick([false, false, true]);
    return Peer.connect(ports[secure ? 1 : 0], { tls: secure });
  }

  const asks = {
    async echo(peer, { below, pick }, name) {
      const target = `/${pick(['echo', 'later'])}/${name}/${below(1e9)}`;
      const { body } = await peer.request(get(target));
      check(body === target, `${target}: ${body.slice(0, 80)}`);
    },
    async pipeline(peer, { below, pick }, name) {
      const targets = Array.from(
        { length: 2 + below(40) },
        () => `/${pick(['echo', 'later'])}/${name}/${below(1e9)}`,
      );
      await peer.send(targets.map((target) => get(target)).join(''));
      for (const target of targets) {
        const { body } = await peer.response();
        check(body === target, `${target}: ${body.slice(0, 80)}`);
      }
    },
    async post(peer, { below, pick }) {
      const body = 'b'.repeat(below(pick([10, 1000, 20000, 200000])));
      const hash = createHash('sha1').update(body).digest('hex');
      const chunk = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;
      const half = body.length >> 1;
      const chunks = [body.slice(0, half), body.slice(half)].filter((text) => text !== '');
      const chunked = request(
        'POST',
        '/hash',
        ['Transfer-Encoding: chunked'],
        chunks.map(chunk).join('') + '0\r\n\r\n',
      );
      const answer = await peer.request(pick([post('/hash', body), chunked]));
      check(answer.body === hash, `hash of ${body.length} bytes: ${answer.status}`);
    },
    async stream(peer, { below }) {
      const chunks = below(30);
      const { body } = await peer.request(get(`/stream/${chunks}`));
      const expected = `${Array.from({ length: chunks }, (unused, n) => `chunk ${n};`).join('')}end`;
      check(body === expected, `stream of ${chunks}: ${body.slice(0, 80)}`);
    },
    async large(peer, { below, pick }) {
      const bytes = below(pick([1000, 100000, 1000000]));
      const { raw } = await peer.request(get(`/large/${bytes}`));
      check(raw.equals(pattern.subarray(0, bytes)), `large of ${bytes}: ${raw.length}`);
    },
    async declared(peer, { below }) {
      const name = `n${below(1e9)}`;
      const { body } = await peer.request(get(`/declared/${name}`));
      check(body === `hello ${name}!`, `declared: ${body}`);
    },
    async missing(peer) {
      check((await peer.request(get('/nowhere'))).code === 404, 'no route, but no 404');
    },
  };

  async function http(chance, name) {
    const peer = await connect(chance);
    for (let left = chance.below(20); left >= 0; left--) {
      counts.requests++;
      await chance.pick(Object.values(asks))(peer, chance, name);
    }
    check(peer.size === 0, `${peer.size} bytes too many`);
    await leave(peer, chance);
  }

  async function leave(peer, { pick }) {
    const way = pick(['destroy', 'half', 'reset']);
    if (way === 'half') {
      peer.halfClose();
      await peer.gone();
    }
    if (way === 'reset') peer.reset();
    else peer.destroy();
  }

  /** A client that breaks off, breaks the rules, or reads slowly; only others must not notice. */
  async function misuse(chance) {
    counts.misuses++;
    const peer = await connect(chance);
    const text = chance.pick([
      'GET /later/x HTTP/1.1\r\nHost: a\r\n\r\n',
      'GET /large/900000 HTTP/1.1\r\nHost: a\r\n\r\n',
      'POST /hash HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc',
      'POST /hash HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n',
      'GET /ec',
      '\x16\x03\x01nonsense\r\n\r\n',
      support.upgradeRequest('/plain') + frame({ opcode: 3, payload: 'x' }).toString('latin1'),
      support.upgradeRequest('/plain') + frame({ payload: 'x'.repeat(500), length: 600 }).toString('latin1'),
    ]);
    peer.pause();
    await peer.send(text);
    await sleep(chance.below(200));
    peer.resume();
    await sleep(chance.below(20));
    peer.reset();
  }

  async function websocket(chance, name) {
    counts.connections++;
    const secure = chance.pick([false, false, true]);
    const peer = await WsPeer.open(ports[secure ? 1 : 0], '/plain', { tls: secure });
    for (let left = chance.below(60); left >= 0; left--) {
      counts.messages++;
      const payload = `${name} ${chance.below(1e9)} ${'w'.repeat(chance.below(chance.pick([20, 2000, 90000])))}`;
      if (chance.below(5) === 0) {
        const cut = chance.below(payload.length);
        await peer.sendFrame({ payload: payload.slice(0, cut), fin: false });
        await peer.ping('between');
        await peer.sendFrame({ opcode: 0, payload: payload.slice(cut) });
        const pong = await peer.frame();
        check(pong.opcode === 10 && pong.text === 'between', `pong: ${pong.text.slice(0, 60)}`);
      } else await peer.text(payload);
      const { text } = await peer.frame();
      check(text === payload, `echo of ${payload.length}: ${text.slice(0, 60)}`);
    }
    if (chance.below(2) === 0) {
      await peer.close(1000, 'bye');
      check((await peer.frame()).code === 1000, 'no answer to a close frame');
    }
    await leave(peer, chance);
  }

  /** With compression, by a client that others wrote, and publishes without gaps. */
  function library(chance, name) {
    counts.connections++;
    const secure = chance.pick([false, false, true]);
    const target = `ws${secure ? 's' : ''}://127.0.0.1:${ports[secure ? 1 : 0]}/${chance.pick(['shared', 'own', 'plain'])}`;
    const socket = new WebSocket(target, { rejectUnauthorized: false, perMessageDeflate: true });
    return new Promise((resolve, reject) => {
      let [left, payload, last] = [chance.below(40), '', 0];
      const next = () => {
        if (left-- === 0) return void (chance.below(2) ? socket.close(1000) : socket.terminate());
        counts.messages++;
        payload = `${name} ${chance.below(1e9)} ${'compressible '.repeat(chance.below(chance.pick([3, 300, 5000])))}`;
        socket.send(payload);
      };
      socket.on('open', () => {
        if (chance.below(2) === 0) socket.send('ticks');
        next();
      });
      socket.on('message', (data) => {
        const text = data.toString();
        if (text.startsWith('tick ')) {
          const number = Number(text.split(' ')[1]);
          if (last !== 0 && number !== last + 1) reject(new Error(`tick ${number} behind ${last}`));
          last = number;
          counts.ticks++;
          return;
        }
        if (text !== payload) return void reject(new Error(`echo: ${text.slice(0, 60)}`));
        setTimeout(next, chance.below(10));
      });
      socket.on('close', resolve);
      socket.on('error', reject);
    });
  }

  async function actor(number) {
    const chance = random(seed * 1000 + number);
    for (let turn = 0; !isStopped; turn++) {
      const run = chance.pick([http, http, websocket, library, misuse]);
      try {
        await run(chance, `${seed}-${number}-${turn}`);
      } catch (error) {
        counts.errors.push(`${run.name}, actor ${number}, turn ${turn}: ${error.message}`);
      }
      await sleep(chance.below(50));
    }
  }

  const all = Array.from({ length: actors }, (unused, number) => actor(number));
  return {
    counts: () => counts,
    async stop() {
      isStopped = true;
      await Promise.all(all);
      return counts;
    },
  };
}

function mean(list) {
  return list.reduce((sum, value) => sum + value, 0) / list.length;
}

/** Returns what is wrong, and prints the figures. */
async function soak({ seconds, seed, actors = 30 }) {
  const ended = [];
  const t = { after: (end) => ended.push(end) };
  const MiB = 1 << 20;
  try {
    const server = await Remote.start(t, serve, certificates.shared(), {
      env: { NODE_OPTIONS: '--expose-gc' },
    });
    const ports = await server.call('ports');
    const idle = server.descriptors();
    const crowds = [];
    for (let n = 0; n < CLIENTS; n++) {
      crowds.push(await Remote.start(t, traffic, { ports, seed: seed + n, actors }));
    }
    const samples = [];
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(SAMPLE_MS)) {
      samples.push({ ...(await server.call('sample')), descriptors: server.descriptors() });
    }
    const results = await Promise.all(crowds.map((crowd) => crowd.call('stop')));
    await sleep(6000);
    const last = { ...(await server.call('sample')), descriptors: server.descriptors() };
    const counts = await server.call('counts');
    const sum = (name) => results.reduce((total, each) => total + each[name], 0);
    // Handshakes have 10 s, which is little for clients of a machine with much other work.
    const late = (error) => error.includes('before secure TLS connection was established');
    const all = results.flatMap((each) => each.errors);
    const timedOut = all.filter(late).slice(0, counts.handshakeTimeouts);
    const errors = all.filter((error) => !timedOut.includes(error));
    // After the warm-up: the first half of the rest against the second.
    const warm = samples.slice(Math.floor(samples.length / 5));
    const rss = warm.map((sample) => sample.rss / MiB);
    const [first, second] = [rss.slice(0, rss.length >> 1), rss.slice(rss.length >> 1)].map(mean);
    const fifths = [0, 1, 2, 3, 4].map((n) =>
      mean(rss.slice((n * rss.length) / 5, ((n + 1) * rss.length) / 5)).toFixed(1),
    );
    const wrong = [];
    if (errors.length > 0)
      wrong.push(`${errors.length} errors, the first: ${errors.slice(0, 5).join(' | ')}`);
    // The heaps of V8 need that much to settle; a leak that matters is far above it in half an hour.
    if (second > first * 1.05 + 6)
      wrong.push(`memory grows: ${first.toFixed(1)}, then ${second.toFixed(1)} MiB`);
    if (last.descriptors > idle + 8) wrong.push(`descriptors: ${idle} before, ${last.descriptors} after`);
    if (last.accepted !== 0) wrong.push(`${last.accepted} connections are left`);
    if (counts.opened !== counts.closed) wrong.push(`${counts.opened} opened, ${counts.closed} closed`);
    if (counts.requests !== counts.answered + counts.aborted)
      wrong.push(`requests: ${JSON.stringify(counts)}`);
    if (sum('requests') === 0 || sum('messages') === 0 || sum('ticks') === 0)
      wrong.push('there was no traffic');
    const figures = [
      `${(seconds / 60).toFixed(1)} minutes of mixed traffic: ${sum('connections')} connections, ${sum('requests')} requests and pipelines,`,
      `${sum('messages')} messages, ${sum('ticks')} publishes received, ${sum('misuses')} clients that misbehave;`,
      `${errors.length} errors; resident after the warm-up, on average of each fifth of the time: ${fifths.join(', ')} MiB;`,
      `${idle} descriptors before, ${last.descriptors} after; ${counts.opened} \`open\`, ${counts.closed} \`close\``,
    ].join(' ');
    return { figures, wrong };
  } finally {
    await Promise.all(ended.map((end) => end()));
  }
}

if (require.main === module) {
  process.chdir(path.join(__dirname, '../..'));
  const given = optionsOf({ seconds: 'number', minutes: 'number', seed: 'whole' });
  const { seconds = (given.minutes ?? 1) * 60, seed = 1 } = given;
  soak({ seconds, seed }).then(({ figures, wrong }) => {
    console.log(`figure: ${figures}`);
    for (const line of wrong) console.error(`soak, seed ${seed}: ${line}`);
    process.exitCode = wrong.length > 0 ? 1 : 0;
  });
}
