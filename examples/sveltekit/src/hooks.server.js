import { randomUUID } from 'node:crypto';
import { building } from '$app/environment';
import { guest } from '$lib/guest.js';

const MONTH_S = 30 * 86400;

/** Every visitor has an id in a cookie, which the WebSocket upgrade reads too. */
export async function handle({ event, resolve }) {
  if (!building) {
    event.locals.guest = guest(event.cookies.get('guest')) ?? welcome(event);
  }
  return resolve(event);
}

function welcome({ cookies, url }) {
  const id = randomUUID();
  cookies.set('guest', id, { path: '/', secure: url.protocol === 'https:', maxAge: MONTH_S });
  return guest(id);
}
