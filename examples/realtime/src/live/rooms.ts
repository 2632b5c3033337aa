import { LiveError, guard, live } from 'svelte-realtime/server';
import { itemId, limited, person, text, visitorsOnly, type Context } from '$lib/server/context';
import { cursors } from '$lib/server/cursors';
import { stores } from '$lib/server/stores';
import { presenceTopic } from '$lib/server/stores/topics';
import { ROOM_ID } from '$lib/rooms';

const TEXT_MAX = 500;
const ROOMS_MAX = 20;

/** The rate limit of a visitor's messages: 20 at once, then two a second. */
const MESSAGES = { points: 20, intervalMs: 10_000 };

export const _guard = guard(visitorsOnly);

export const messages = live.stream(
  (ctx: Context, room: string) => messagesOf(room),
  async (ctx: Context, room: string): Promise<App.Message[]> => stores.log.items(messagesOf(room)),
  { merge: 'crud', key: 'id', replay: true },
);

export const say = live(
  async (ctx: Context, room: string, id: string, words: string): Promise<App.Message> => {
    const message = { id: itemId(id), text: text(words, TEXT_MAX), at: Date.now(), from: person(ctx) };
    await limited(ctx, 'say', MESSAGES);
    await stores.log.append(ctx.platform, messagesOf(room), 'created', message);
    return message;
  },
);

/**
 * A visitor who listens is present, until the connection ends or says otherwise. A page rendered on the
 * server only looks.
 */
export const people = live.stream(
  (ctx: Context, room: string) => presenceTopic(known(room)),
  async (ctx: Context, room: string): Promise<App.Person[]> => {
    if (ctx.ws) {
      enter(ctx, room);
      cursors.watch(ctx.ws, room);
      await stores.presence.join(room, ctx.user.connection, person(ctx));
    }
    return stores.presence.list(known(room));
  },
  { merge: 'presence' },
);

/** The same for visitors who only look from outside. */
export const present = live.stream(
  (ctx: Context, room: string) => presenceTopic(known(room)),
  async (ctx: Context, room: string): Promise<App.Person[]> => stores.presence.list(known(room)),
  { merge: 'presence' },
);

export const leaveRoom = live(async (ctx: Context, room: string): Promise<void> => {
  await stores.presence.leave(known(room), ctx.user.connection);
  ctx.user.rooms.delete(room);
  cursors.unwatch(ctx.ws, room);
  cursors.remove(ctx.ws, ctx.platform);
});

/** The place of the pointer, in fractions of the room's width and height. */
export const moveCursor = live((ctx: Context, room: string, x: number, y: number): void => {
  if (!within(x) || !within(y)) throw new LiveError('VALIDATION', 'Outside of the room');
  enter(ctx, known(room));
  cursors.update(ctx.ws, room, { x, y }, ctx.platform);
});

/** The pointer has left the room. */
export const hideCursor = live((ctx: Context): void => {
  cursors.remove(ctx.ws, ctx.platform);
});

/** Tells who is writing; this is not kept. */
export const typing = live.channel((ctx: Context, room: string) => typingIn(room), { merge: 'presence' });

export const setTyping = live((ctx: Context, room: string, on: boolean): void => {
  const { key, name } = person(ctx);
  if (on) ctx.publish(typingIn(room), 'join', { key, name, at: Date.now() });
  else ctx.publish(typingIn(room), 'leave', { key });
});

function messagesOf(room: string): string {
  return `room:${known(room)}`;
}

function typingIn(room: string): string {
  return `typing:${known(room)}`;
}

function known(room: unknown): string {
  if (typeof room !== 'string' || !ROOM_ID.test(room))
    throw new LiveError('NOT_FOUND', 'There is no such room');
  return room;
}

/** A connection is in few rooms at once, since their names are its own to choose. */
function enter({ user: { rooms } }: Context, room: string): void {
  if (!rooms.has(room) && rooms.size >= ROOMS_MAX)
    throw new LiveError('OVERLOADED', `At most ${ROOMS_MAX} rooms at once`);
  rooms.add(room);
}

function within(fraction: unknown): boolean {
  return typeof fraction === 'number' && fraction >= 0 && fraction <= 1;
}
