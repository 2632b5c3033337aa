import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const KEY = `Bearer ${process.env.ADMIN_KEY ?? crypto.randomUUID()}`;
const users = new Map([
  ['ada', { name: 'Ada', born: 1815 }],
  ['zoë', { name: 'Zoë', born: 1990 }],
]);

function json(res, status, value) {
  res.writeStatus(status).writeHeader('content-type', 'application/json').end(JSON.stringify(value));
}

/** The text of a percent-encoded part of a path; undefined where the encoding is malformed. */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

/** Wraps a handler: only those who know the key get there. */
function guarded(handler) {
  return (res, req) => {
    if (req.getHeader('authorization') === KEY) return handler(res, req);
    res.writeStatus('401 Unauthorized').writeHeader('www-authenticate', 'Bearer').end();
  };
}

function getUser(res, req) {
  const user = users.get(decode(req.getParameter(0)));
  if (user) json(res, '200 OK', user);
  else json(res, '404 Not Found', { error: 'There is no such user' });
}

uWS
  .App()
  .get('/users/:id', getUser)
  // A literal segment is tried before `:id`, and that before `*`, in whatever order they are added.
  .get('/users/newest', (res) => json(res, '200 OK', [...users.values()].at(-1)))
  .get('/search', (res, req) => {
    const text = req.getQuery('q') ?? '';
    const found = [...users.values()].filter(({ name }) => name.includes(text));
    json(res, '200 OK', found);
  })
  .del(
    '/users/:id',
    guarded((res, req) => json(res, '200 OK', users.delete(decode(req.getParameter(0))))),
  )
  // `any` comes after the routes of the request's own method.
  .any('/users/:id', (res) =>
    res.writeStatus('405 Method Not Allowed').writeHeader('allow', 'GET, DELETE').end(),
  )
  .any('/*', (res, req) => json(res, '404 Not Found', { error: `There is no ${req.getUrl()}` }))
  .listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`Port ${port} is taken`);
    console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
  });
