import adapter from 'svelte-adapter-uws';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  kit: {
    adapter: adapter({
      websocket: {
        // The adapter's 10 upgrades in 10 s per address are few for several tabs behind one router.
        upgradeRateLimit: 200,
        // 0.3 has 16 KiB, the releases after it 1 MiB: the same for all, so that the app does not depend on it.
        maxPayloadLength: 64 * 1024,
      },
    }),
  },
};
