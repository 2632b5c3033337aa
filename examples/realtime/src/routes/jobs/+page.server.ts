import { action } from '$lib/server/forms';
import { jobs } from '$live/jobs';
import { cancelJob, removeJob, startJob } from '../../live/jobs';
import type { Actions } from './$types';

const STEPS = 30;

export async function load({ platform, locals }) {
  return { jobs: await jobs.load(platform, { user: locals.visitor }) };
}

export const actions: Actions = {
  start: action((ctx, field) => startJob(ctx, field('text').trim() || field('instead'), STEPS)),
  cancel: action((ctx, field) => cancelJob(ctx, field('id'))),
  remove: action((ctx, field) => removeJob(ctx, field('id'))),
};
