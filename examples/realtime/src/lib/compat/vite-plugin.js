// COMPATIBILITY, see adapter-client.js: decides at build time whether it is needed.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const CLIENT = 'svelte-adapter-uws/client';
const ORIGINAL = 'virtual:svelte-adapter-uws-client';

/**
 * Where the installed adapter's client lacks a name that svelte-realtime imports, the import finds our module
 * instead.
 *
 * @param {string} root the app's folder
 * @returns {import('vite').Plugin}
 */
export function adapterClient(root) {
  const { original, lacking } = installed(root);
  return {
    name: 'adapter-client-compatibility',
    enforce: 'pre',
    // Both are compiled along with the app: a prebundled copy would have its own connection.
    config: () => ({
      optimizeDeps: { exclude: ['svelte-adapter-uws', 'svelte-realtime'] },
      ...(lacking ? { ssr: { noExternal: ['svelte-realtime', 'svelte-adapter-uws'] } } : {}),
    }),
    resolveId(id) {
      if (id === ORIGINAL) return original;
      if (lacking && id === CLIENT) return path.join(root, 'src/lib/compat/adapter-client.js');
      return null;
    },
  };
}

/**
 * The adapter's option for the WebSocket hooks that it knows.
 *
 * @param {string} root the app's folder
 */
export function knownHooks(root) {
  return installed(root).lacking ? { handler: 'src/lib/compat/hooks.ws.ts' } : {};
}

/** @param {string} root */
function installed(root) {
  const original = createRequire(path.join(root, 'package.json')).resolve(CLIENT);
  const lacking = !/export (const|let|function) denials\b/.test(readFileSync(original, 'utf8'));
  return { original, lacking };
}
