/**
 * The calls of the WebSocket hooks, in order, for tests to read: kept only where LIFECYCLE_LOG is set, and
 * served by /lifecycle. The list is on `globalThis`, because the server and its WebSocket hooks may be
 * bundled separately.
 */
interface LifecycleEvent {
  hook: 'upgrade' | 'open' | 'message' | 'subscribe' | 'unsubscribe' | 'drain' | 'close';
  visitor?: string;
  topic?: string;
  detail?: string | number;
}

const KEPT = 10_000;
const KEY = Symbol.for('uws-rs-example.lifecycle');
const anchor = globalThis as { [KEY]?: LifecycleEvent[] };

export const recording = Boolean(process.env.LIFECYCLE_LOG);

export function record(event: LifecycleEvent): void {
  if (!recording) return;
  const events = recorded();
  events.push(event);
  if (events.length > KEPT) events.shift();
}

export function recorded(): LifecycleEvent[] {
  return (anchor[KEY] ??= []);
}
