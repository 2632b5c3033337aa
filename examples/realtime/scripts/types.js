// Lets svelte-realtime's Vite plugin write the types of `$live/*`, which it does at the start of every build.
import { resolveConfig } from 'vite';

const config = await resolveConfig({ logLevel: 'warn' }, 'build');
config.plugins.find(({ name }) => name === 'svelte-realtime').buildStart();
