'use strict';
// Servers to compare, and how each of them divides a stream of bytes into requests.

const net = require('net');
const path = require('path');
const tls = require('tls');
const { spawn } = require('child_process');

/** Tells where a server believes that the request before it ends. It is the last one of its connection. */
const MARKER = 'GET /marker HTTP/1.1\r\nHost: marker\r\nConnection: close\r\n\r\n';

const names = () => ['http', ...(process.env.UWS_2057 ? ['20.57'] : [])];

/** Starts a server in a process of its own: `http`, `20.57`, `ours` or `ours-tls`. */
function startPeer(name) {
  const program = name === '20.57' ? process.env.UWS_2057 : name;
  const child = spawn(process.execPath, [path.join(__dirname, 'server.js'), program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, UWS_TLS: '' },
  });
  return new Promise((resolve, reject) => {
    const ended = new Promise((done) => child.once('exit', done));
    child.once('exit', (code, signal) => reject(new Error(`${name} ended: ${signal ?? code}`)));
    child.stdout.once('data', (data) =>
      resolve({
        name,
        port: Number(data),
        tls: name.endsWith('-tls'),
        stop: () => (child.stdin.end(), ended),
      }),
    );
  });
}

/**
 * Sends bytes over a connection of their own and resolves with { events, requests, responses, end, status
 * }: the events are the requests that were answered and, as { refused: status }, the refusals between them.
 * The server ends the connection by itself (`closed`, or `refused` with an error status), or has nothing to
 * say for `quiet` milliseconds (`waits`); then the client ends it.
 * @param {string[]} pieces the bytes, each piece sent once the server may have seen the one before
 */
function observe({ port, tls: secure }, pieces, { quiet = 40, pause = 1 } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true };
    const socket = secure ? tls.connect({ ...options, rejectUnauthorized: false }) : net.connect(options);
    const received = [];
    let [waits, timer, finished] = [false, null, false];
    const restart = () => {
      clearTimeout(timer);
      timer = setTimeout(rest, quiet);
    };
    const rest = () => {
      waits = true;
      socket.end();
      timer = setTimeout(() => socket.destroy(), 2000);
    };
    socket.on('data', (data) => {
      received.push(data);
      if (finished && !waits) restart();
    });
    // Bytes that the server did not read reset the connection when it closes it.
    socket.on('error', (error) => error.code === 'ECONNREFUSED' && reject(error));
    socket.on('end', () => {
      clearTimeout(timer);
      socket.destroy();
    });
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(understand(Buffer.concat(received).toString('latin1'), waits));
    });
    socket.once(secure ? 'secureConnect' : 'connect', async () => {
      for (const piece of pieces.slice(0, -1)) {
        socket.write(piece, 'latin1');
        await new Promise((next) => (pause ? setTimeout(next, pause) : setImmediate(next)));
      }
      finished = true;
      socket.write(pieces.at(-1), 'latin1');
      restart();
    });
  });
}

/** Reads the responses of a connection; `waits` when the client had to end it. */
function understand(text, waits) {
  const responses = text
    .split(/(?=HTTP\/1\.[01] \d{3} )/)
    .filter((response) => /^HTTP\/1\.[01] [2-9]/.test(response))
    .map((response) => ({
      status: Number(response.slice(9, 12)),
      sent: /^x-proxy-sent: *(\S*)/im.exec(response)?.[1],
      seen: seenIn(response),
    }));
  const events = responses.map(({ seen, status }) =>
    seen || status === 404 ? plain(seen) : { refused: status },
  );
  const status = events.at(-1)?.refused ?? 0;
  const end = status ? 'refused' : waits ? 'waits' : 'closed';
  return { events, requests: events.filter((event) => !event.refused), responses, end, status };
}

function seenIn(response) {
  const field = /^x-seen: *(\S*)/im.exec(response);
  return field && JSON.parse(Buffer.from(field[1], 'base64url'));
}

/** A request without the mark; one that was answered 404 is known to have ended, and no more. */
function plain(seen) {
  if (!seen) return { method: '', target: '', body: '' };
  const { method, target, body } = seen;
  return { method, target, body };
}

module.exports = { MARKER, names, startPeer, observe };
