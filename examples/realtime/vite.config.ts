import { fileURLToPath } from 'node:url';
import { sveltekit } from '@sveltejs/kit/vite';
import uws from 'svelte-adapter-uws/vite';
import realtime from 'svelte-realtime/vite';
import { defineConfig } from 'vite';
import { adapterClient } from './src/lib/compat/vite-plugin.js';

export default defineConfig({
  plugins: [adapterClient(fileURLToPath(new URL('.', import.meta.url))), sveltekit(), uws(), realtime()],
});
