import { randomUUID } from 'node:crypto';
import { LiveError, guard, live } from 'svelte-realtime/server';
import { text, visitorsOnly, type Context } from '$lib/server/context';
import { TOPIC, adopt, submit } from '$lib/server/jobs';
import { stores } from '$lib/server/stores';

const NAME_MAX = 60;
const STEPS_MAX = 200;

export const _guard = guard(visitorsOnly);

export const jobs = live.stream(
  TOPIC,
  async (ctx: Context): Promise<App.Job[]> => {
    if (ctx.platform) adopt(ctx.platform);
    return stores.log.items(TOPIC);
  },
  { merge: 'crud', key: 'id', replay: true },
);

/** Jobs run one at a time and in order. The call returns at once, progress comes by the stream. */
export const startJob = live(async (ctx: Context, name: string, steps: number = 20): Promise<App.Job> => {
  if (!Number.isInteger(steps) || steps < 1 || steps > STEPS_MAX)
    throw new LiveError('VALIDATION', `1 to ${STEPS_MAX} steps`);
  const wanted = { id: randomUUID(), name: text(name, NAME_MAX), by: ctx.user.name, steps };
  const job = await submit(ctx.platform, wanted);
  if (!job) throw new LiveError('OVERLOADED', 'The queue is full');
  return job;
});

export const cancelJob = live(async (ctx: Context, id: string): Promise<void> => {
  const job = await find(id);
  if (job.state !== 'waiting' && job.state !== 'running') throw new LiveError('CONFLICT', 'It is over');
  await stores.log.append(ctx.platform, TOPIC, 'updated', { ...job, state: 'cancelled' });
});

export const removeJob = live(async (ctx: Context, id: string): Promise<void> => {
  const job = await find(id);
  await stores.log.append(ctx.platform, TOPIC, 'deleted', job);
});

async function find(id: string): Promise<App.Job> {
  const job = (await stores.log.items<App.Job>(TOPIC)).find((one) => one.id === id);
  if (!job) throw new LiveError('NOT_FOUND', 'There is no such job');
  return job;
}
