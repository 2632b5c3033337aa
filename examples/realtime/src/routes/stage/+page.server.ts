import { fail, redirect } from '@sveltejs/kit';
import { audience, broadcasts } from '$live/stage';
import { action, formOf } from '$lib/server/forms';
import { ROLE_COOKIE, ROLES } from '$lib/visitor';
import { speak } from '../../live/stage';
import type { Actions } from './$types';

export async function load({ platform, locals }) {
  const user = locals.visitor;
  const [said, people] = await Promise.all([
    broadcasts.load(platform, { args: [user.role], user }),
    audience.load(platform, { user }),
  ]);
  return { broadcasts: said, people };
}

export const actions: Actions = {
  speak: action((ctx, field) => speak(ctx, field('audience') as App.Audience, field('text'))),
  /**
   * Visitors choose their role, since this is an example. The page is loaded anew, so that the WebSocket is
   * opened with it.
   */
  async role({ request, cookies, url }) {
    const wanted = (await formOf(request)).get('role');
    const role = ROLES.find((one) => one === wanted);
    if (!role) return fail(400);
    cookies.set(ROLE_COOKIE, role, { path: '/', secure: url.protocol === 'https:' });
    redirect(303, '/stage');
  },
};
