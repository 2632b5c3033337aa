import { readings } from '$live/chart';

export async function load({ platform, locals }) {
  return { readings: await readings.load(platform, { user: locals.visitor }) };
}
