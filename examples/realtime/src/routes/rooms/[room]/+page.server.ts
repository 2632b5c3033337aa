import { randomUUID } from 'node:crypto';
import { error } from '@sveltejs/kit';
import { messages, people } from '$live/rooms';
import { ROOM_ID } from '$lib/rooms';
import { action } from '$lib/server/forms';
import { say } from '../../../live/rooms';
import type { Actions, RequestEvent } from './$types';

export async function load({ params, platform, locals }) {
  if (!ROOM_ID.test(params.room)) error(404, 'There is no such room');
  const options = { args: [params.room], user: locals.visitor };
  const [said, present] = await Promise.all([
    messages.load(platform, options),
    people.load(platform, options),
  ]);
  return { room: params.room, messages: said, people: present };
}

export const actions: Actions = {
  say: action<RequestEvent>((ctx, field, { params }) => say(ctx, params.room, randomUUID(), field('text'))),
};
