import { browser } from '$app/environment';
import { connect, status } from 'svelte-adapter-uws/client';

// This comes before anything else uses the connection: its options are those of the first call.
if (browser) connect({ reconnectInterval: 500, maxReconnectInterval: 5000 });

export { connect, status };

/** The adapter's client 0.5 says `suspended` for an open connection of a hidden tab. */
export function isOpen(state) {
  return state === 'open' || state === 'suspended';
}
