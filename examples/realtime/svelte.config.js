import { fileURLToPath } from 'node:url';
import adapter from 'svelte-adapter-uws';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';
import { knownHooks } from './src/lib/compat/vite-plugin.js';

const root = fileURLToPath(new URL('.', import.meta.url));

export default {
  preprocess: vitePreprocess(),
  kit: {
    adapter: adapter({
      // src/routes/healthz knows more than that the server answers.
      healthCheckPath: false,
      websocket: {
        ...knownHooks(root),
        // The adapter's 10 upgrades in 10 s per address are too few for several tabs behind one router.
        upgradeRateLimit: 200,
        // 0.3 has 16 KiB, later releases 1 MiB. All get the same value, so that the app does not depend on
        // it.
        maxPayloadLength: 64 * 1024,
      },
    }),
  },
};
