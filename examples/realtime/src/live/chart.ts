import { guard, live } from 'svelte-realtime/server';
import { visitorsOnly, type Context } from '$lib/server/context';
import { listen, recent } from '$lib/server/readings';

export const _guard = guard(visitorsOnly);

/**
 * Readings are taken a hundred times a second and sent ten times: the adapter's throttle passes the latest
 * one.
 */
export const readings = live.stream(
  'readings',
  async (ctx: Context): Promise<App.Reading[]> => {
    if (ctx.ws) listen(ctx.platform);
    return recent();
  },
  { merge: 'latest', max: 120 },
);
