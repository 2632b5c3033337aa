// Starts the production build. The environment configures the adapter: HOST, PORT, CLUSTER_WORKERS, …
import process from 'node:process';

// svelte-realtime gives warnings that matter only during development.
process.env.NODE_ENV ??= 'production';

await import('./build/index.js');
