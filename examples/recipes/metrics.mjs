import { subscribe } from 'node:diagnostics_channel';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const metricsPort = Number(process.env.METRICS_PORT ?? 9464);

const app = uWS.App({ limits: { maxBodyLength: 1024 * 1024 } });
app.get('/', (res) => res.end('Hello\n'));
app.get('/block', (res) => {
  // A handler that computes: everything in JavaScript waits, while the loop goes on answering /metrics.
  for (const end = Date.now() + 300; Date.now() < end;);
  res.end('done\n');
});
app.ws('/echo', { message: (ws, message, isBinary) => ws.send(message, isBinary) });

// For Prometheus, on an address of its own: whoever reaches this port can read the figures.
uWS
  .App()
  .metrics('/metrics')
  .listen('127.0.0.1', metricsPort, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`Port ${metricsPort} is taken`);
    console.log(`Metrics on port ${uWS.us_socket_local_port(token)}`);
  });

// A line for each WebSocket that did not end as it should, and for each limit that was met.
subscribe('uws.close', ({ route, code, reason }) => {
  if (code !== 1000 && code !== 1001) console.log(`${route}: closed with ${code} ${reason}`);
});
subscribe('uws.drop', ({ route, of, bytes }) => console.log(`${route}: dropped a ${of} of ${bytes} bytes`));
subscribe('uws.limit', ({ limit, count }) => console.log(`The limit ${limit} was met (${count})`));

// A line when JavaScript, or the loop, has made others wait.
let last = 0;
setInterval(() => {
  const { loop, javaScript, connections, queues } = uWS.stats();
  const lag = Math.max(loop.lagSeconds, javaScript.lagSeconds);
  if (lag > 0.1 && lag !== last) {
    const [loopLag, jsLag] = [loop.lagSeconds, javaScript.lagSeconds].map(
      (each) => `${Math.round(each * 1000)} ms`,
    );
    console.log(
      `Slow: JavaScript ${jsLag}, loop ${loopLag}, ${queues.events} events wait,`,
      connections.plain,
    );
  }
  last = lag;
}, 1000).unref();

app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
