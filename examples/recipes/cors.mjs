import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const ORIGINS = new Set((process.env.ORIGINS ?? 'https://app.example.com').split(','));

/** Writes the fields that let a page of another origin see the response; call it behind `writeStatus`. */
function allow(res, origin) {
  res.writeHeader('vary', 'Origin'); // caches must not give one origin's answer to another
  if (!ORIGINS.has(origin)) return;
  res.writeHeader('access-control-allow-origin', origin);
  res.writeHeader('access-control-allow-credentials', 'true');
}

uWS
  .App()
  // The preflight request of the browser (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
  .options('/api/*', (res, req) => {
    const origin = req.getHeader('origin');
    res.writeStatus('204 No Content');
    allow(res, origin);
    if (ORIGINS.has(origin)) {
      res.writeHeader('access-control-allow-methods', 'GET, PUT, DELETE');
      res.writeHeader('access-control-allow-headers', 'content-type, authorization');
      res.writeHeader('access-control-max-age', '7200'); // seconds; Chromium takes no more
    }
    res.endWithoutBody();
  })
  .get('/api/time', (res, req) => {
    res.writeStatus('200 OK');
    allow(res, req.getHeader('origin'));
    res.writeHeader('content-type', 'application/json').end(JSON.stringify({ now: Date.now() }));
  })
  // CORS hides responses; it does not stop requests. Those that change something have to be refused.
  .put('/api/name', (res, req) => {
    const origin = req.getHeader('origin');
    const refused = origin !== '' && !ORIGINS.has(origin);
    res.writeStatus(refused ? '403 Forbidden' : '204 No Content');
    allow(res, origin);
    res.endWithoutBody(refused ? 0 : undefined);
  })
  .listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`Port ${port} is taken`);
    console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
  });
