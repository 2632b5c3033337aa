import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const keys = new Set((process.env.API_KEYS ?? '').split(',').filter(Boolean));

/** So many in so many seconds for each key: all at once, then one each `seconds / count`. */
class Rate {
  #fullAt = new Map();
  constructor(count, seconds, room = 100_000) {
    Object.assign(this, { seconds, each: seconds / count, room });
  }
  /** Takes one and returns 0, or takes none and returns the seconds to wait. */
  take(key) {
    const now = performance.now() / 1000;
    const fullAt = Math.max(this.#fullAt.get(key) ?? now, now) + this.each;
    const wait = fullAt - now - this.seconds;
    if (wait > 1e-9) return wait;
    this.forget(key);
    this.#fullAt.set(key, fullAt); // the one used last is last
    if (this.#fullAt.size > this.room) this.#fullAt.delete(this.#fullAt.keys().next().value);
    return 0;
  }
  forget = (key) => this.#fullAt.delete(key);
}
const reports = new Rate(3, 60);
const messages = new Rate(10, 1);

const app = uWS.App({
  // These hold while JavaScript is busy, too. A request beyond them never reaches a handler.
  limits: {
    maxConnectionsPerAddress: 50,
    maxRequestsPerAddress: { count: 20, seconds: 10 },
    maxBodyLength: 16 * 1024, // bytes
    headTimeout: 5, // seconds
    requestTimeout: 30,
  },
});
app.post('/echo', (res) => {
  res.onAborted(() => {});
  res.collectBody(16 * 1024, (body) => res.end(body));
});
app.get('/report', (res, req) => {
  const key = req.getHeader('x-api-key');
  if (!keys.has(key)) return res.writeStatus('401 Unauthorized').end();
  const wait = reports.take(key);
  if (wait === 0) return res.end('A report\n');
  res
    .writeStatus('429 Too Many Requests')
    .writeHeader('retry-after', `${Math.ceil(wait)}`)
    .end();
});
app.ws('/chat', {
  message: (ws, message) => (messages.take(ws) === 0 ? ws.send(message) : ws.end(1008, 'Too many messages')),
  close: (ws) => messages.forget(ws),
});
app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
