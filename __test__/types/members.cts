// Every member, by the package's own name as CommonJS. types.spec.js checks that none is missing here.

import uWS = require('uws-rs');

interface Data {
  id: number;
}

const anyData: uWS.RecognizedString[] = [
  'text',
  new ArrayBuffer(1),
  new SharedArrayBuffer(1),
  new Uint8Array(1),
  new Uint8ClampedArray(1),
  new BigInt64Array(1),
  new Float64Array(1),
  new DataView(new ArrayBuffer(1)),
  Buffer.from('buffer'),
];

function request(req: uWS.HttpRequest): string {
  req.forEach((name: string, value: string) => console.log(name, value));
  const parameter: string | undefined = req.getParameter('id') ?? req.getParameter(0);
  const query: string | undefined = req.getQuery('key');
  const yielded: uWS.HttpRequest = req.setYield(true).setYield(false);
  const client: string = req.getClientAddress();
  return `${client} ${req.getCaseSensitiveMethod()} ${req.getMethod()} ${req.getUrl()} ${req.getQuery()} ${yielded.getHeader('host')} ${parameter} ${query}`;
}

function response(res: uWS.HttpResponse, data: uWS.RecognizedString): void {
  res.onAborted(() => {}).onWritable((offset: number) => offset > 0);
  res.onData((chunk: ArrayBuffer, isLast: boolean) => console.log(chunk.byteLength, isLast));
  res.onDataV2((chunk: ArrayBuffer, remaining: bigint) => console.log(chunk.byteLength, remaining === 0n));
  res.collectBody(1024, (body: ArrayBuffer | null) => console.log(body?.byteLength));
  res.pause().resume();
  const remaining: bigint = res.maxRemainingBodyLength();
  res.writeStatus('200 OK').writeHeader('x-remaining', String(remaining)).beginWrite();
  const goOn: boolean = res.write(data);
  const offset: number = res.getWriteOffset();
  const [ok, hasResponded]: [boolean, boolean] = res.tryEnd(data, 10);
  const [accepted] = res.tryEnd(data, 10, true);
  console.log(goOn, offset, ok, hasResponded, accepted);
  res.cork(() => res.end()).collect(() => res.end(data, true));
  res.endWithoutBody().endWithoutBody(5).endWithoutBody(5, true).close();
  const addresses: ArrayBuffer[] = [
    res.getRemoteAddress(),
    res.getRemoteAddressAsText(),
    res.getProxiedRemoteAddress(),
    res.getProxiedRemoteAddressAsText(),
  ];
  const ports: number[] = [res.getRemotePort(), res.getProxiedRemotePort()];
  const certificate: string | undefined = res.getX509Certificate?.();
  console.log(addresses, ports, certificate);
}

function websocket(ws: uWS.WebSocket<Data>, data: uWS.RecognizedString): void {
  const statuses: number[] = [
    ws.send(data),
    ws.send(data, true, false),
    ws.sendFirstFragment(data, true, true),
    ws.sendFragment(data, true),
    ws.sendLastFragment(data, true),
    ws.ping(),
    ws.ping(data),
    ws.getBufferedAmount(),
    ws.getRemotePort(),
  ];
  const answers: boolean[] = [
    ws.subscribe(data),
    ws.unsubscribe(data),
    ws.isSubscribed(data),
    ws.publish(data, data),
    ws.publish(data, data, true, true),
  ];
  const addresses: ArrayBuffer[] = [ws.getRemoteAddress(), ws.getRemoteAddressAsText()];
  const id: number = ws.getUserData().id;
  const topics: string[] = ws.getTopics();
  console.log(statuses, answers, addresses, id, topics);
  ws.cork(() => ws.end()).end(1000, data);
  ws.close();
}

const behavior: Required<uWS.WebSocketBehavior<Data>> = {
  compression: uWS.DISABLED,
  maxPayloadLength: 1,
  maxBackpressure: 0,
  closeOnBackpressureLimit: true,
  maxLifetime: 0,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  resetIdleTimeoutOnSend: true,
  upgrade: (res, req, context) => {
    const header = (name: string) => req.getHeader(`sec-websocket-${name}`);
    res.upgrade({ id: 1 }, header('key'), header('protocol'), header('extensions'), context);
  },
  open: async (ws) => websocket(ws, 'hello'),
  message: (ws, message, isBinary) => void ws.send(message, isBinary),
  dropped: (_ws, message, isBinary) => console.log(message.byteLength, isBinary),
  drain: (ws) => console.log(ws.getBufferedAmount()),
  close: (_ws, code, message) => console.log(code.toFixed(), message.byteLength),
  ping: null,
  pong: null,
  subscription: (_ws, topic, newCount, oldCount) => console.log(topic.byteLength, newCount - oldCount),
};

const handler: uWS.RouteHandler = (res, req) => response(res, request(req));

const declared: ArrayBuffer = new uWS.DeclarativeResponse()
  .writeStatus('201 Created')
  .writeHeader('x', 'y')
  .writeQueryValue('q')
  .writeHeaderValue('host')
  .writeParameterValue('id')
  .writeBody()
  .write('text')
  .end('end');

const everyLimit: Required<uWS.AppLimits> = {
  maxConnections: 1000,
  maxConnectionsPerAddress: 100,
  maxRequestsPerAddress: { count: 100, seconds: 10 },
  maxUpgradesPerAddress: { count: 10, seconds: 10 },
  headTimeout: 5,
  requestTimeout: 30,
  keepAliveTimeout: 20,
  minBodyRate: 1000,
  maxBodyLength: 1e6,
  maxRequestsPerConnection: 100,
  maxUnsentBytes: 1e5,
  maxTopicsPerConnection: 10,
  maxTopicLength: 100,
  maxSubscriptions: Infinity,
};

const everyCacheOption: Required<uWS.CacheOptions> = {
  lowerExpiry: 1,
  upperExpiry: 5,
  maxEntries: 1000,
  maxBytes: 1e6,
  timeout: 30,
  vary: ['accept-language'],
  head: true,
  etag: true,
  compress: true,
};

const cachedHandler = async (res: uWS.HttpCacheResponse, req: uWS.HttpRequest): Promise<void> => {
  const url: string = req.getUrl();
  await Promise.resolve();
  res
    .onAborted(() => {})
    .cork(() => {})
    .writeStatus('200 OK')
    .writeHeader('a', 'b');
  if (url === '/') res.end('body', true);
  else res.close();
};

const everyOption: Required<uWS.AppOptions> = {
  key_file_name: 'key',
  cert_file_name: 'cert',
  ca_file_name: 'ca',
  requireClientCertificate: true,
  passphrase: 'secret',
  dh_params_file_name: 'dh',
  ssl_ciphers: 'ECDHE',
  ssl_prefer_low_memory_usage: true,
  limits: everyLimit,
  trustedProxies: ['10.0.0.0/8', '::1', 'unix'],
};

const onListen = (token: uWS.us_listen_socket | false): void => {
  if (token) console.log(uWS.us_socket_local_port(token), uWS.us_listen_socket_close(token));
};

const app: uWS.TemplatedApp = uWS.SSLApp(everyOption);
app
  .get('/declared', declared)
  .get('/declared', null)
  .get('/*', handler)
  .get('/cached/*', cachedHandler, everyCacheOption)
  .get('/cached', (res) => void res.end('x'), {})
  .post('/*', handler)
  .options('/*', handler)
  .del('/*', handler)
  .patch('/*', handler)
  .put('/*', handler)
  .head('/*', handler)
  .connect('/*', handler)
  .trace('/*', handler)
  .any('/*', handler)
  .ws('/*', behavior)
  .ws('/none', {})
  .invalidate('/cached/*')
  .ws('/*', null)
  .listen(0, onListen)
  .listen('3000', onListen)
  .listen(0, uWS.ListenOptions.LIBUS_LISTEN_EXCLUSIVE_PORT, onListen)
  .listen(0, uWS.LIBUS_LISTEN_DEFAULT | uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, onListen)
  .listen('::1', 0, onListen)
  .listen('::1', 0, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, onListen)
  .listen_unix(onListen, './socket')
  .filter((res, count: number) => console.log(res.getRemotePort(), count))
  .addServerName('a.example', everyOption)
  .removeServerName('a.example')
  .missingServerName((hostname: string) => console.log(hostname))
  .domain('a.example')
  .close();
const ended: Promise<uWS.ShutdownResult> = uWS.App().shutdown();
void uWS
  .SSLApp({})
  .shutdown({ timeout: 5 })
  .then(({ cut }): number => cut);
void ended;
const reached: boolean = app.publish('topic', 'message', false, true);
const subscribers: number = app.numSubscribers('topic');
const descriptor: uWS.AppDescriptor = uWS.App(null).getDescriptor();
app.addChildAppDescriptor(descriptor).removeChildAppDescriptor(descriptor);
app.adoptSocket(3).adoptSocket(3, new Uint8Array(4));

const told: [uWS.UpgradeMessage?, uWS.CloseMessage?, uWS.DropMessage?, uWS.LimitMessage?] = [];
console.log(told[0]?.route, told[1]?.reason, told[2]?.of === 'send', told[3]?.limit);
const scope: uWS.MetricsOptions = { scope: 'app' };
app.metrics('/metrics').metrics('/own', scope);
const { budget, used }: uWS.MemoryBudget = uWS.memoryBudget();
void uWS.memoryBudget(budget - used);
void uWS.memoryBudget(Infinity);
const own: uWS.AppStats = app.stats();
const all: uWS.ProcessStats = uWS.stats();
const alerts: uWS.HandshakeAlerts = all.tls.failures.alertSent;
console.log(own.http.requests, all.loop.lagSeconds, alerts.unknownCa);

const parts: uWS.MultipartField[] | undefined = uWS.getParts('body', 'type');
for (const { name, type, filename, data } of parts ?? [])
  console.log(name, type, filename, data.byteLength, anyData);

uWS.lock();
uWS.setString('key', 'value', 'collection');
uWS.setInteger('key', 1);
const stored: [string, number, number] = [
  uWS.getString('key', 'collection'),
  uWS.getInteger('key'),
  uWS.incInteger('key', 2),
];
const keys: string[] = [...uWS.getStringKeys(), ...uWS.getIntegerKeys('collection')];
uWS.deleteString('key');
uWS.deleteInteger('key', 'collection');
uWS.deleteStringCollection('collection');
uWS.deleteIntegerCollection('collection');
uWS.unlock();
uWS._cfg('key');
const http3: () => never = () => uWS.H3App({});
const limits: number = uWS.App().setIdleTimeout(10).setResponseTimeout(20).getIdleTimeout();
const patience: number = uWS.App().getResponseTimeout();
void [http3, limits, patience];

const compression: uWS.CompressOptions[] = [
  uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR,
  uWS.DEDICATED_COMPRESSOR | uWS.DEDICATED_DECOMPRESSOR,
  uWS.DEDICATED_COMPRESSOR_3KB | uWS.DEDICATED_DECOMPRESSOR_512B,
  uWS.DEDICATED_COMPRESSOR_4KB | uWS.DEDICATED_DECOMPRESSOR_1KB,
  uWS.DEDICATED_COMPRESSOR_8KB | uWS.DEDICATED_DECOMPRESSOR_2KB,
  uWS.DEDICATED_COMPRESSOR_16KB | uWS.DEDICATED_DECOMPRESSOR_4KB,
  uWS.DEDICATED_COMPRESSOR_32KB | uWS.DEDICATED_DECOMPRESSOR_8KB,
  uWS.DEDICATED_COMPRESSOR_64KB | uWS.DEDICATED_DECOMPRESSOR_16KB,
  uWS.DEDICATED_COMPRESSOR_128KB | uWS.DEDICATED_DECOMPRESSOR_32KB,
  uWS.DEDICATED_COMPRESSOR_256KB,
];

export = { reached, subscribers, stored, keys, compression };
