import { people } from '$live/rooms';
import { ROOMS } from '$lib/rooms';

export async function load({ platform, locals }) {
  const user = locals.visitor;
  const present = await Promise.all(
    ROOMS.map(({ id }): Promise<App.Person[]> => people.load(platform, { args: [id], user })),
  );
  return { rooms: ROOMS.map((room, i) => ({ ...room, people: present[i] })) };
}
