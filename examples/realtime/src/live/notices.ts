import { LiveError, guard, live } from 'svelte-realtime/server';
import { text, visitorsOnly, type Context } from '$lib/server/context';
import { notices } from '$lib/server/notices';

export const _guard = guard(visitorsOnly);

/** The channel checks its messages: an event that it does not know, or data of another shape, is refused. */
export const post = live((ctx: Context, kind: 'info' | 'warning', words: string): void => {
  publish(ctx, kind, { text: text(words, 140), from: ctx.user.name, at: Date.now() });
});

/** For tests: publishes anything, to see it refused. */
export const postRaw = live((ctx: Context, kind: string, data: unknown): void => {
  publish(ctx, kind, data);
});

function publish(ctx: Context, kind: string, data: unknown): void {
  try {
    notices.publish(ctx.platform, kind as 'info', data);
  } catch (error) {
    throw new LiveError('VALIDATION', (error as Error).message);
  }
}
