'use strict';
// The server of the tests of overload; it counts the handlers that are called for each of its objects.

/** Runs in a process of its own: see `Remote`. */
function body({ uWS }, { secure = null, maxBackpressure = 64 * 1024, idleTimeout = 0 } = {}) {
  const counts = {
    opened: 0,
    closed: 0,
    twice: 0,
    codes: {},
    dropped: 0,
    messages: 0,
    warnings: 0,
    aborted: 0,
  };
  process.on('warning', () => counts.warnings++);
  const behaviour = (more) => ({
    idleTimeout,
    maxBackpressure,
    compression: uWS.DISABLED,
    sendPingsAutomatically: false,
    open(ws) {
      counts.opened++;
      ws.subscribe('all');
      more?.(ws);
    },
    message(ws, data, isBinary) {
      counts.messages++;
      ws.send(data, isBinary);
    },
    dropped: () => counts.dropped++,
    close(ws, code) {
      counts.closed++;
      counts.codes[code] = (counts.codes[code] ?? 0) + 1;
      if (ws.isOver) counts.twice++;
      ws.isOver = true;
    },
  });
  const apps = [uWS.App(), ...(secure === null ? [] : [uWS.SSLApp(secure)])];
  const ports = apps.map((app) => {
    let port;
    // A client that the machine does not let run for a while is not to be timed out.
    app
      .setIdleTimeout(120)
      .ws(
        '/bulk',
        behaviour((ws) => ws.subscribe('bulk')),
      )
      .ws('/*', behaviour())
      .get('/now/*', (res, req) => res.end(req.getUrl()))
      .get('/later/*', (res, req) => {
        const url = req.getUrl();
        let isOver = false;
        res.onAborted(() => (counts.aborted++, (isOver = true)));
        setTimeout(() => isOver || res.end(url), 5);
      })
      .get('/large/*', (res, req) => {
        res.onAborted(() => counts.aborted++);
        res.end(req.getUrl().padEnd(200000));
      })
      .listen(0, (token) => (port = uWS.us_socket_local_port(token)));
    return port;
  });
  let timer;
  return {
    ports: () => ports,
    counts: () => counts,
    publish: (topic, size) => apps[0].publish(topic, `${topic} `.padEnd(size, 'x')),
    /** Publishes from now on every so many milliseconds. */
    publishing(topic, size, every) {
      clearInterval(timer);
      timer = setInterval(() => apps[0].publish(topic, `${topic} `.padEnd(size, 'x')), every);
    },
    quiet: () => clearInterval(timer),
    block: (milliseconds) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds),
    async shutdown(timeout) {
      const began = Date.now();
      const results = await Promise.all(apps.map((app) => app.shutdown({ timeout })));
      return { cut: results.reduce((sum, { cut }) => sum + cut, 0), milliseconds: Date.now() - began };
    },
    panic: () => setImmediate(() => require('./lib/engine').start().panicForTest('on purpose')),
  };
}

module.exports = { body };
