import { fileURLToPath } from 'node:url';
import { sveltekit } from '@sveltejs/kit/vite';
import uws from 'svelte-adapter-uws/vite';
import realtime from 'svelte-realtime/vite';
import { defineConfig } from 'vite';
import { adapterClient } from './src/lib/compat/vite-plugin.js';

export default defineConfig({
  plugins: [adapterClient(fileURLToPath(new URL('.', import.meta.url))), sveltekit(), uws(), realtime()],
  // Vite bundles packages that are linked, as this one is here. A native addon has to stay where it is.
  ssr: { external: ['uWebSockets.js'] },
});
