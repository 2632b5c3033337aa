import { present } from '$live/rooms';
import { ROOMS } from '$lib/rooms';

export async function load({ platform, locals }) {
  const user = locals.visitor;
  const people = await Promise.all(
    ROOMS.map(({ id }): Promise<App.Person[]> => present.load(platform, { args: [id], user })),
  );
  return { rooms: ROOMS.map((room, i) => ({ ...room, people: people[i] })) };
}
