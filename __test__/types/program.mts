// A program written for the original, which imports it by its name as an ES module. It uses only what the
// types of all releases have, so that it compiles against those as well as against ours (types.spec.js).

import uWS, { App, us_listen_socket_close } from 'uWebSockets.js';
import type {
  AppOptions,
  CompressOptions,
  HttpRequest,
  HttpResponse,
  MultipartField,
  RecognizedString,
  TemplatedApp,
  WebSocket,
  WebSocketBehavior,
  us_listen_socket,
  us_socket_context_t,
} from 'uWebSockets.js';

interface Player {
  name: string;
  joined: Date;
}

let listening: us_listen_socket;
const sockets = new Map<string, WebSocket<Player>>();

function text(data: ArrayBuffer): string {
  return Buffer.from(data).toString();
}

function readJson(res: HttpResponse, then: (value: unknown) => void): void {
  let buffer = Buffer.alloc(0);
  res.onData((chunk, isLast) => {
    buffer = Buffer.concat([buffer, Buffer.from(chunk)]);
    if (isLast) then(JSON.parse(buffer.toString()));
  });
}

function upgrade(res: HttpResponse, req: HttpRequest, context: us_socket_context_t): void {
  const [key, protocol, extensions] = ['key', 'protocol', 'extensions'].map((name) =>
    req.getHeader(`sec-websocket-${name}`),
  ) as [string, string, string];
  const player: Player = { name: req.getQuery('name') ?? 'guest', joined: new Date() };
  let gone = false;
  res.onAborted(() => {
    gone = true;
  });
  setTimeout(() => {
    if (!gone) res.cork(() => res.upgrade<Player>(player, key, protocol, extensions, context));
  }, 10);
}

const compression: CompressOptions = uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR_2KB;

const behavior: WebSocketBehavior<Player> = {
  compression,
  maxPayloadLength: 64 * 1024,
  maxBackpressure: 1 << 20,
  maxLifetime: 60,
  idleTimeout: 32,
  upgrade,
  open: (ws) => {
    sockets.set(ws.getUserData().name, ws);
    ws.subscribe('room');
  },
  message: async (ws, message, isBinary) => {
    const status: number = ws.send(message, isBinary, true);
    if (status !== 1 && ws.getBufferedAmount() > 1024) ws.end(1013, 'too slow');
    const reached: boolean = ws.publish('room', `${ws.getUserData().name}: ${text(message)}`);
    if (!reached) await Promise.resolve();
  },
  drain: (ws) => void ws.ping('still there?'),
  close: (ws, code, reason) => {
    sockets.delete(ws.getUserData().name);
    console.log(code, text(reason));
  },
  ping: (ws, message) => console.log(ws.isSubscribed('room'), message.byteLength),
  pong: (ws) => console.log(ws.getTopics().join()),
  subscription: (_ws, topic, now: number, before: number) => console.log(text(topic), now - before),
};

const options: AppOptions = { key_file_name: 'key.pem', cert_file_name: 'cert.pem', passphrase: '1234' };
const secure: TemplatedApp = uWS.SSLApp(options);

function routes(app: TemplatedApp): TemplatedApp {
  return app
    .get('/files/:name', (res, req) => {
      const body: RecognizedString = new Uint8Array(1 << 20);
      const [ok, done] = res.tryEnd(body, body.byteLength);
      if (!ok && !done) {
        res.onAborted(() => {}).onWritable((offset) => res.tryEnd(body.subarray(offset), body.byteLength)[1]);
      }
      console.log(req.getParameter(0)?.toUpperCase(), req.getMethod());
    })
    .post('/form', (res, req) => {
      const type = req.getHeader('content-type');
      res.onAborted(() => console.log('gone'));
      res.onData((chunk) => {
        const parts: MultipartField[] | undefined = uWS.getParts(chunk, type);
        for (const { name, filename, data } of parts ?? [])
          console.log(name, filename?.length, data.byteLength);
        res.writeStatus('201 Created').writeHeader('Location', '/').end();
      });
    })
    .put('/json', (res) => {
      res.onAborted(() => {});
      readJson(res, (value) => res.cork(() => res.end(JSON.stringify(value))));
    })
    .any('/*', async (res, req) => {
      res['aborted'] = false;
      res.onAborted(() => {
        res['aborted'] = true;
      });
      req.forEach((name, value) => console.log(name, value));
      await Promise.resolve();
      if (!res['aborted']) res.writeStatus('404 Not Found').endWithoutBody(0, true);
    })
    .ws<Player>('/play', behavior);
}

routes(secure)
  .addServerName('*.example.org', options)
  .domain('*.example.org')
  .get('/', (res) => void res.end());
secure.missingServerName((hostname) => void secure.addServerName(hostname, options)).removeServerName('a.b');

routes(App()).listen(9001, (token) => {
  if (token) listening = token;
});
App().listen('127.0.0.1', 0, (token) => console.log(token && uWS.us_socket_local_port(token)));
App().listen_unix((token) => us_listen_socket_close(token), '/tmp/program.sock');

process.on('SIGTERM', () => {
  us_listen_socket_close(listening);
  secure.publish('room', Buffer.from('bye'), false, true);
  console.log(secure.numSubscribers('room'));
  for (const ws of sockets.values()) ws.close();
});
