import { jobs } from '$live/jobs';

export async function load({ platform, locals }) {
  return { jobs: await jobs.load(platform, { user: locals.visitor }) };
}
