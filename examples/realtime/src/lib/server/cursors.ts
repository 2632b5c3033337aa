/**
 * The adapter's cursor plugin, with keys that no other worker thread or instance has; the plugin itself
 * counts connections.
 */
import { createCursor } from 'svelte-adapter-uws/plugins/cursor';
import type { Platform } from 'svelte-adapter-uws';
import type { WebSocket } from 'uWebSockets.js';
import type { Connection } from './connection';
import { shared } from './shared';
import { stores } from './stores';

const THROTTLE_MS = 50;

const tracker = shared('cursors', () =>
  createCursor<Connection, { id: string; name: string; hue: number }>({
    throttle: THROTTLE_MS,
    select: ({ id, name, hue }) => ({ id, name, hue }),
  }),
);

/** The server subscribes its clients to topics of plugins: adapter 0.5 refuses a client that asks. */
const topicOf = (room: string) => `__cursor:${room}`;

export const cursors = {
  watch: (ws: WebSocket<Connection>, room: string) => ws.subscribe(topicOf(room)),
  unwatch: (ws: WebSocket<Connection>, room: string) => ws.unsubscribe(topicOf(room)),
  update: (ws: WebSocket<Connection>, room: string, at: { x: number; y: number }, platform: Platform) =>
    tracker.update(ws, room, at, renaming(platform)),
  remove: (ws: WebSocket<Connection>, platform: Platform) => tracker.remove(ws, renaming(platform)),
};

function renaming(platform: Platform): Platform {
  const { instance } = stores.status();
  const publish: Platform['publish'] = (topic, event, data) => {
    const entry = data as { key: string };
    return platform.publish(topic, event, { ...entry, key: `${instance}.${entry.key}` });
  };
  return Object.assign(Object.create(platform) as Platform, { publish });
}
