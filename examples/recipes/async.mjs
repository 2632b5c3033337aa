import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const UPSTREAM = process.env.UPSTREAM ?? 'https://api.example.com';

/**
 * Makes a route of an async function. Its `signal` aborts when the client is gone; after that, and after
 * the response, nothing may touch `res`.
 */
function route(handler) {
  return async (res, req) => {
    const gone = new AbortController();
    res.onAborted(() => gone.abort()); // has to be set before the first await
    let answer;
    try {
      answer = await handler(req, gone.signal);
    } catch (error) {
      if (!gone.signal.aborted) console.error(error);
      answer = { status: '502 Bad Gateway', type: 'text/plain', body: 'The upstream does not answer\n' };
    }
    if (gone.signal.aborted) return;
    res.cork(() => {
      res.writeStatus(answer.status).writeHeader('content-type', answer.type).end(answer.body);
    });
  };
}

async function weather(req, signal) {
  // `req` is gone after the first await: read all that is needed of it now.
  const url = new URL('/weather', UPSTREAM);
  url.searchParams.set('city', req.getQuery('city') ?? '');
  const limit = AbortSignal.timeout(5000);
  const response = await fetch(url, { signal: AbortSignal.any([signal, limit]) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return { status: '200 OK', type: 'application/json', body: await response.text() };
}

uWS
  .App()
  .get('/weather', route(weather))
  .listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`Port ${port} is taken`);
    console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
  });
