import { guard, live } from 'svelte-realtime/server';
import { visitorsOnly, type Context } from '$lib/server/context';
import { stores } from '$lib/server/stores';

export const _guard = guard(visitorsOnly);

/** Returns at once: the client measures how long that takes. */
export const ping = live((): number => Date.now());

/** The store behind this connection, and its state. Every instance tells its own clients. */
export const status = live.stream(
  'status',
  async (ctx: Context): Promise<App.Status> => {
    if (ctx.ws) tell(ctx);
    return stores.status();
  },
  { merge: 'set' },
);

let telling = false;

function tell({ platform }: Context): void {
  if (telling) return;
  telling = true;
  stores.onStatus((now) => platform.publish('status', 'set', now, { relay: false }));
}
