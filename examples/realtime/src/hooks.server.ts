import { randomBytes } from 'node:crypto';
import type { Handle } from '@sveltejs/kit';
import { building } from '$app/environment';
import { begin } from '$lib/server/begin';
import { ROLE_COOKIE, VISITOR_COOKIE, visitorOf } from '$lib/visitor';

const MONTH_S = 30 * 86400;

/** Every visitor has an id in a cookie, which the WebSocket upgrade reads too. */
export const handle: Handle = async ({ event, resolve }) => {
  if (!building) {
    if (event.platform) begin(event.platform);
    event.locals.visitor = visitor(event);
  }
  return resolve(event);
};

function visitor({ cookies, url }: Parameters<Handle>[0]['event']) {
  const role = cookies.get(ROLE_COOKIE);
  const known = visitorOf(cookies.get(VISITOR_COOKIE), role);
  if (known) return known;
  const id = randomBytes(8).toString('hex');
  cookies.set(VISITOR_COOKIE, id, { path: '/', secure: url.protocol === 'https:', maxAge: MONTH_S });
  return visitorOf(id, role)!;
}
