import { fail } from '@sveltejs/kit';
import { count, say, snapshot } from '$lib/server/room.js';

export function load({ locals }) {
  return { room: snapshot(), guest: locals.guest };
}

export const actions = {
  say: async ({ locals, platform, request }) => {
    const text = (await request.formData()).get('text');
    if (typeof text !== 'string' || !say(platform, locals.guest, text)) {
      return fail(400, { error: 'Write something first.' });
    }
  },
  // The form action without JavaScript; with it the page counts over its WebSocket.
  count: async ({ platform, request }) => {
    count(platform, (await request.formData()).get('by') === '-1' ? -1 : 1);
  },
};
