// Starts the production build. The environment configures the adapter: HOST, PORT, CLUSTER_WORKERS, …
import process from 'node:process';
import uWS from 'uWebSockets.js';

// svelte-realtime gives warnings that matter only during development.
process.env.NODE_ENV ??= 'production';

// The adapter lets processes share its port, and one that was forgotten would get half of the clients.
for (const kind of ['App', 'SSLApp']) {
  const create = uWS[kind];
  uWS[kind] = (...options) => {
    const app = create(...options);
    const { listen } = app;
    app.listen = (host, port, ...rest) => {
      if (rest.length !== 1) return listen.call(app, host, port, ...rest);
      return listen.call(app, host, port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
        if (!token) console.error(`Port ${port} is taken, or may not be used: PORT names another one`);
        rest[0](token);
      });
    };
    return app;
  };
}

await import('./build/index.js');
