import { randomUUID } from 'node:crypto';
import { LiveError, guard, live } from 'svelte-realtime/server';
import { person, text, visitorsOnly, type Context } from '$lib/server/context';
import { stores } from '$lib/server/stores';
import { presenceTopic } from '$lib/server/stores/topics';
import { ROLES, type Role } from '$lib/visitor';

/** A topic for each role, to which only that role may subscribe (hooks.ws.ts checks it as well). */
const HEARD_BY: Record<App.Audience, readonly Role[]> = {
  everyone: ROLES,
  members: ['member', 'admin'],
  admins: ['admin'],
};
const ROOM = 'stage';
const TEXT_MAX = 200;

export const _guard = guard(visitorsOnly);

export const broadcasts = live.stream(
  (ctx: Context, role: string) => heardBy(ctx, role),
  async (ctx: Context, role: string): Promise<App.Broadcast[]> => stores.log.items(heardBy(ctx, role)),
  { merge: 'crud', key: 'id', replay: true },
);

/** A viewer listens, a member speaks to all and to members, an admin to admins as well. */
export const speak = live(
  async (ctx: Context, audience: App.Audience, words: string): Promise<App.Broadcast> => {
    const roles = typeof audience === 'string' && Object.hasOwn(HEARD_BY, audience) && HEARD_BY[audience];
    if (!roles) throw new LiveError('VALIDATION', 'Speak to everyone, members or admins');
    if (ctx.user.role === 'viewer') throw new LiveError('FORBIDDEN', 'Viewers listen');
    if (!roles.includes(ctx.user.role)) throw new LiveError('FORBIDDEN', 'Only admins speak to admins');
    const said = {
      id: randomUUID(),
      text: text(words, TEXT_MAX),
      audience,
      from: person(ctx),
      at: Date.now(),
    };
    for (const role of roles) await stores.log.append(ctx.platform, topicOf(role), 'created', said);
    return said;
  },
);

export const audience = live.stream(
  presenceTopic(ROOM),
  async (ctx: Context): Promise<App.Person[]> => {
    if (ctx.ws) await stores.presence.join(ROOM, ctx.user.connection, person(ctx));
    return stores.presence.list(ROOM);
  },
  { merge: 'presence' },
);

export const leaveStage = live(async (ctx: Context): Promise<void> => {
  await stores.presence.leave(ROOM, ctx.user.connection);
});

function heardBy(ctx: Context, role: string): string {
  if (role !== ctx.user.role) throw new LiveError('FORBIDDEN', `You are ${ctx.user.role}`);
  return topicOf(ctx.user.role);
}

function topicOf(role: Role): string {
  return `stage:${role}`;
}
