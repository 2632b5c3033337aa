import { present } from '$live/rooms';
import { ROOMS } from '$lib/rooms';
import { action } from '$lib/server/forms';
import { post } from '../live/notices';
import type { Actions } from './$types';

export async function load({ platform, locals }) {
  const user = locals.visitor;
  const people = await Promise.all(
    ROOMS.map(({ id }): Promise<App.Person[]> => present.load(platform, { args: [id], user })),
  );
  return { rooms: ROOMS.map((room, i) => ({ ...room, people: people[i] })) };
}

export const actions: Actions = {
  notice: action((ctx, field) => post(ctx, field('kind') as 'info', field('text'))),
};
