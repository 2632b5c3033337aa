/** The adapter's queue: this instance runs its jobs one after the other. */
import { setTimeout as delay } from 'node:timers/promises';
import { createQueue } from 'svelte-adapter-uws/plugins/queue';
import { shared } from './shared';
import { stores } from './stores';

const QUEUED_MAX = 20;
const STEP_MS = 100;

const queue = shared('jobs', () => createQueue({ concurrency: 1, maxSize: QUEUED_MAX }));

/** Returns false where too many jobs wait already. `report` is called for every change. */
export function enqueue(job: App.Job, report: (job: App.Job) => Promise<unknown>): boolean {
  if (queue.size('jobs') >= QUEUED_MAX) return false;
  void queue.push('jobs', () => work(job, report)).catch((error) => console.error('A job failed:', error));
  return true;
}

async function work(job: App.Job, report: (job: App.Job) => Promise<unknown>): Promise<void> {
  for (let step = 0; step < job.steps; step++) {
    if (await isCancelled(job.id)) return;
    await report({ ...job, state: 'running', step });
    await delay(STEP_MS);
  }
  if (!(await isCancelled(job.id))) await report({ ...job, state: 'done', step: job.steps });
}

async function isCancelled(id: string): Promise<boolean> {
  const job = (await stores.log.items<App.Job>('jobs')).find((one) => one.id === id);
  return job?.state === 'cancelled';
}
