/**
 * COMPATIBILITY. svelte-realtime 0.5 needs svelte-adapter-uws 0.5, but the npm registry has 0.3.4. Its client
 * lacks four names, `denials`, `onRequest`, `onDerived` and `failure`, and says `closed` where later releases
 * say `disconnected`.
 *
 * `vite-plugin.js` replaces `svelte-adapter-uws/client` by this module, only where the names are missing.
 * Delete the folder (and its lines in vite.config.ts and svelte.config.js) once the registry has adapter 0.5.
 */
import * as client from 'virtual:svelte-adapter-uws-client';
import { derived, readable } from 'svelte/store';

export * from 'virtual:svelte-adapter-uws-client';

/** The server of 0.3.4 does not say when it refuses a topic. */
export const denials = readable(null);

/** It does not say either why a connection ended. */
export const failure = readable(null);

/** It never sends requests to its clients. */
export const onRequest = () => () => {};

export const status = derived(client.status, (/** @type {string} */ value) =>
  value === 'closed' ? 'disconnected' : value,
);

/**
 * The events of the topic that a store's value names; none while it names none.
 *
 * @template T
 * @param {(value: T) => string} topicOf
 * @param {import('svelte/store').Readable<T>} store
 * @returns {import('svelte/store').Readable<import('svelte-adapter-uws/client').WSEvent | null>}
 */
export function onDerived(topicOf, store) {
  return derived(
    store,
    (value, /** @type {(event: import('svelte-adapter-uws/client').WSEvent | null) => void} */ set) => {
      const topic = value === undefined || value === null ? undefined : topicOf(value);
      if (!topic) return set(null);
      return client.on(topic).subscribe(set);
    },
    /** @type {import('svelte-adapter-uws/client').WSEvent | null} */ (null),
  );
}
