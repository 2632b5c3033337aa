import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const app = uWS.App({
  // Only these are believed about their clients, and may send a PROXY header; without this, anybody may.
  trustedProxies: ['127.0.0.1', '::1'],
  limits: {
    maxRequestsPerAddress: { count: 20, seconds: 10 }, // by the client's address, as the proxy tells it
    keepAliveTimeout: 75, // seconds; longer than the proxy keeps its connections (nginx: 60)
  },
});

app.get('/whoami', (res, req) => {
  const address = req.getClientAddress();
  const secure = req.getHeader('x-forwarded-proto') === 'https';
  res.writeHeader('content-type', 'application/json').end(JSON.stringify({ address, secure }));
});
app.ws('/echo', {
  upgrade: (res, req, context) => {
    const [key, protocol] = [req.getHeader('sec-websocket-key'), req.getHeader('sec-websocket-protocol')];
    const extensions = req.getHeader('sec-websocket-extensions');
    res.upgrade({ address: req.getClientAddress() }, key, protocol, extensions, context);
  },
  open: (ws) => ws.send(ws.getUserData().address),
  message: (ws, message, isBinary) => ws.send(message, isBinary),
});

// Nobody but the proxies on this machine can connect.
app.listen('127.0.0.1', port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
