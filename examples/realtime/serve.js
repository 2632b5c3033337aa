// Starts the production build. The adapter is set up by the environment: HOST, PORT, CLUSTER_WORKERS, …
import process from 'node:process';

// svelte-realtime warns of what is only worth a warning during development.
process.env.NODE_ENV ??= 'production';

await import('./build/index.js');
