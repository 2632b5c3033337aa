import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const prices = new Map();
let sequence = 0;

const app = uWS.App();
const snapshot = () => JSON.stringify({ sequence, all: Object.fromEntries(prices) });

/** Gives a client the whole state, and from then on what changes. */
function begin(ws) {
  ws.send(snapshot());
  ws.subscribe('prices');
}

function change(name, price) {
  sequence += 1;
  prices.set(name, price);
  // One call for all clients; the loop writes to them while this thread goes on.
  app.publish('prices', JSON.stringify({ sequence, name, price }));
}

app.ws('/prices', {
  maxBackpressure: 256 * 1024, // bytes that may wait for one client; a message behind more is dropped
  idleTimeout: 60, // seconds; those who answer no ping are closed
  open: begin,
  // A client that is too slow has missed a change: it gets no more of them …
  dropped: (ws) => ws.unsubscribe('prices'),
  // … until it has taken what waits. Then it begins anew: it may miss steps, but not the result.
  drain: (ws) => {
    if (ws.getBufferedAmount() === 0 && !ws.isSubscribed('prices')) begin(ws);
  },
});

app.post('/prices/:name', (res, req) => {
  const name = req.getParameter(0);
  res.onAborted(() => {});
  res.collectBody(64, (body) => {
    const price = Number(body && Buffer.from(body).toString());
    if (!(price > 0)) return res.writeStatus('400 Bad Request').end('Send a number\n');
    change(name, price);
    res.writeStatus('204 No Content').end();
  });
});

app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
