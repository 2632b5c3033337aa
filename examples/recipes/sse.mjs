import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const KEPT = 100; // events for clients that are slow or come back
const events = [];
const clients = new Set();
let newest = 0;

/** Sends the events that the client has not got yet, as long as it takes them. */
function catchUp(res) {
  if (res.isFull) return;
  const missing = res.last > newest ? Infinity : newest - res.last; // it may know an earlier run's numbers
  res.cork(() => {
    if (missing > events.length) {
      res.write('event: gap\ndata: {}\n\n'); // the page should load anew what it shows
      res.last = newest - events.length;
    }
    for (const { id, text } of events.slice(events.length - (newest - res.last))) {
      res.last = id;
      if (!res.write(text)) return (res.isFull = true); // accepted, but the next waits for `onWritable`
    }
  });
}

function publish(event, data) {
  newest += 1;
  events.push({ id: newest, text: `id: ${newest}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n` });
  if (events.length > KEPT) events.shift();
  clients.forEach(catchUp);
}

function subscribe(res, req) {
  const last = req.getHeader('last-event-id'); // from a browser that comes back
  Object.assign(res, { isFull: false, last: /^\d{1,15}$/.test(last) ? Number(last) : newest });
  res.onAborted(() => clients.delete(res));
  res.onWritable(() => ((res.isFull = false), catchUp(res), true));
  res.writeHeader('content-type', 'text/event-stream').writeHeader('cache-control', 'no-store');
  res.write('retry: 2000\n\n'); // milliseconds until the browser comes back
  clients.add(res);
  if (res.last !== newest) catchUp(res);
}

function post(res) {
  res.onAborted(() => {});
  res.collectBody(64 * 1024, (body) => {
    if (!body) return res.writeStatus('413 Content Too Large').end();
    publish('message', { text: Buffer.from(body).toString(), clients: clients.size });
    res.writeStatus('204 No Content').end();
  });
}

// A comment now and then: proxies see that the connection is used, and we that the client is there.
setInterval(() => clients.forEach((res) => res.isFull || (res.isFull = !res.write(':\n\n'))), 15000);

const app = uWS.App().get('/events', subscribe).post('/messages', post);
app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
