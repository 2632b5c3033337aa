// Starts the production build. The environment configures the adapter: HOST, PORT, CLUSTER_WORKERS, …
import process from 'node:process';

// The adapter's own limit of 512K is too small for the upload page.
process.env.BODY_SIZE_LIMIT ??= '32M';

await import('./build/index.js');
