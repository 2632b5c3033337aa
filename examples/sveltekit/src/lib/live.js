import { browser } from '$app/environment';
import { connect, status } from 'svelte-adapter-uws/client';

// Before anything else touches the connection: its options are those of the first call.
if (browser) connect({ reconnectInterval: 500, maxReconnectInterval: 5000 });

export { connect, status };

/** 0.5 of the adapter's client calls an open connection of a hidden tab `suspended`. */
export function isOpen(state) {
  return state === 'open' || state === 'suspended';
}
