import uWS, { type HttpResponse } from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const LIMIT = 64 * 1024; // bytes of a body

interface Todo {
  title: string;
  done: boolean;
}
const todos: Todo[] = [];

function json(res: HttpResponse, status: string, value: unknown): void {
  res.writeStatus(status).writeHeader('content-type', 'application/json').end(JSON.stringify(value));
}

/** A todo, or undefined where the text is not JSON of one. */
function parse(body: ArrayBuffer): Todo | undefined {
  try {
    const { title, done = false } = JSON.parse(Buffer.from(body).toString());
    if (typeof title === 'string' && title.length <= 200 && typeof done === 'boolean') return { title, done };
  } catch {
    // Answered like any other value that is none.
  }
  return undefined;
}

uWS
  .App()
  .post('/todos', (res, req) => {
    if (!/^application\/json\s*(;|$)/i.test(req.getHeader('content-type'))) {
      return json(res, '415 Unsupported Media Type', { error: 'Send application/json' });
    }
    res.onAborted(() => {}); // nothing is to be undone; without it the handler would have to answer at once
    res.collectBody(LIMIT, (body) => {
      if (!body) return json(res, '413 Content Too Large', { error: `More than ${LIMIT} bytes` });
      const todo = parse(body);
      if (!todo) return json(res, '400 Bad Request', { error: 'Send {"title": "…", "done": false}' });
      todos.push(todo);
      json(res, '201 Created', todo);
    });
  })
  .get('/todos', (res) => json(res, '200 OK', todos))
  .listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`Port ${port} is taken`);
    console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
  });
