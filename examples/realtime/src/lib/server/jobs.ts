/**
 * The adapter's queue: this instance runs its jobs one after the other. A job is in the kept list with its
 * owner, the instance in whose queue it is. Where an instance is gone, another takes its jobs over, or it
 * does so itself when it starts again; the jobs go on where they were.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Platform } from 'svelte-adapter-uws';
import { createQueue } from 'svelte-adapter-uws/plugins/queue';
import { shared } from './shared';
import { stores, type LogEventName } from './stores';
import { PROCESS } from './stores/instance';

export const TOPIC = 'jobs';

const QUEUED_MAX = 20;
const STEP_MS = 100;
/** While an instance has jobs, one of them changes every STEP_MS. Without a change for so long it is gone. */
const GONE_MS = 5000;
const LOOK_EVERY_MS = 500;

const state = shared('jobs', () => ({
  queue: createQueue({ concurrency: 1 }),
  /** The jobs in the queue and those that are about to be. */
  accepted: 0,
  looking: undefined as NodeJS.Timeout | undefined,
  /** The jobs of each other instance as they were last seen, and since when they have been so. */
  others: new Map<string, { jobs: string; since: number }>(),
}));

const owner = () => `${PROCESS}.${stores.status().instance}`;

/** Returns undefined where too many jobs wait already. */
export async function submit(
  platform: Platform,
  wanted: Pick<App.Job, 'id' | 'name' | 'by' | 'steps'>,
): Promise<App.Job | undefined> {
  if (state.accepted >= QUEUED_MAX) return undefined;
  state.accepted++;
  const job: App.Job = { ...wanted, state: 'waiting', step: 0, owner: owner() };
  try {
    await append(platform, 'created', job);
  } catch (error) {
    state.accepted--;
    throw error;
  }
  enqueue(platform, job);
  return job;
}

/** Looks for jobs that nobody runs, until none is left that could become one. */
export function adopt(platform: Platform): void {
  if (state.looking) return;
  state.looking = setInterval(() => void look(platform), LOOK_EVERY_MS).unref();
  void look(platform);
}

async function look(platform: Platform): Promise<void> {
  try {
    const others = new Map<string, App.Job[]>();
    for (const job of await unfinished()) {
      const name = job.owner ?? '';
      if (name !== owner()) others.set(name, [...(others.get(name) ?? []), job]);
    }
    for (const name of state.others.keys()) if (!others.has(name)) state.others.delete(name);
    for (const [name, jobs] of others) if (isGone(name, jobs)) await takeOver(platform, jobs);
    if (others.size > 0) return;
    clearInterval(state.looking);
    state.looking = undefined;
  } catch (error) {
    console.error('Looking for jobs that were left failed:', error);
  }
}

function isGone(name: string, jobs: App.Job[]): boolean {
  // The embedded store has one process at a time.
  if (stores.kind === 'memory' && !name.startsWith(PROCESS)) return true;
  const now = JSON.stringify(jobs);
  const seen = state.others.get(name);
  if (seen?.jobs === now) return Date.now() - seen.since > GONE_MS;
  state.others.set(name, { jobs: now, since: Date.now() });
  return false;
}

/** Several instances may do so at once: the last one has the job, and the others see that they have not. */
async function takeOver(platform: Platform, jobs: App.Job[]): Promise<void> {
  for (const left of jobs) {
    const job: App.Job = { ...left, state: 'waiting', owner: owner() };
    state.accepted++;
    try {
      await append(platform, 'updated', job);
    } catch (error) {
      state.accepted--;
      throw error;
    }
    enqueue(platform, job);
  }
}

function enqueue(platform: Platform, job: App.Job): void {
  void state.queue
    .push('jobs', () => work(platform, job))
    .catch((error) => console.error('A job failed:', error))
    .finally(() => state.accepted--);
}

async function work(platform: Platform, job: App.Job): Promise<void> {
  for (let { step } = job; step < job.steps; step++) {
    if (!(await isMine(job))) return;
    await append(platform, 'updated', { ...job, state: 'running', step });
    await delay(STEP_MS);
  }
  if (await isMine(job)) await append(platform, 'updated', { ...job, state: 'done', step: job.steps });
}

/** Not if it is cancelled, removed, or taken over. */
async function isMine({ id }: App.Job): Promise<boolean> {
  return (await unfinished()).some((job) => job.id === id && job.owner === owner());
}

async function unfinished(): Promise<App.Job[]> {
  const jobs = await stores.log.items<App.Job>(TOPIC);
  return jobs.filter((job) => job.state === 'waiting' || job.state === 'running');
}

function append(platform: Platform, event: LogEventName, job: App.Job) {
  return stores.log.append(stores.bridge.wrap(platform), TOPIC, event, job);
}
