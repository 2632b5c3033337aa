/**
 * Three simulated sensors: waves of the clock, so that every instance reads the same, and that what they
 * were at any time before is known. Readings are taken while somebody listens here, and sent to the clients
 * of this instance only, through the adapter's throttle.
 */
import type { Platform } from 'svelte-adapter-uws';
import { throttle } from 'svelte-adapter-uws/plugins/throttle';
import { shared } from './shared';

const TOPIC = 'readings';

const TAKEN_EVERY_MS = 10;
const SENT_EVERY_MS = 100;
const KEPT = 120;

const state = shared('readings', () => ({
  limiter: throttle(SENT_EVERY_MS),
  taken: 0,
  sent: 0,
  timer: undefined as NodeJS.Timeout | undefined,
}));

/** The readings of the last twelve seconds, as if somebody had listened. */
export function recent(): App.Reading[] {
  const { taken, sent } = state;
  const now = Date.now();
  const times = Array.from({ length: KEPT }, (_, i) => now - (KEPT - 1 - i) * SENT_EVERY_MS);
  return times.map((t) => ({ t, values: valuesAt(t), taken, sent }));
}

export function listen(platform: Platform): void {
  state.timer ??= setInterval(() => take(platform), TAKEN_EVERY_MS);
}

function take(platform: Platform): void {
  if (platform.subscribers(TOPIC) === 0) {
    clearInterval(state.timer);
    state.timer = undefined;
    state.limiter.cancel(TOPIC);
    return;
  }
  state.taken++;
  const t = Date.now();
  const { taken, sent } = state;
  state.limiter.publish(here(platform), TOPIC, 'reading', { t, values: valuesAt(t), taken, sent });
}

/** Publishes to the clients of this instance. */
function here(platform: Platform): Platform {
  const publish: Platform['publish'] = (topic, event, data) => {
    const reading = { ...(data as App.Reading), sent: ++state.sent };
    return platform.publish(topic, event, reading, { relay: false });
  };
  return Object.assign(Object.create(platform) as Platform, { publish });
}

function valuesAt(t: number): number[] {
  const s = t / 1000;
  return [
    50 + 30 * Math.sin(s * 0.9) + 8 * Math.sin(s * 5.3),
    45 + 22 * Math.sin(s * 0.6 + 2) + 12 * Math.sin(s * 2.1),
    55 + 18 * Math.cos(s * 1.4) + 10 * Math.sin(s * 3.7 + 1),
  ];
}
