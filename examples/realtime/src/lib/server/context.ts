import { LiveError, type LiveContext } from 'svelte-realtime/server';
import type { Connection } from './connection';
import { stores, type RateLimitRule } from './stores';

export type Context = LiveContext<Connection>;

/**
 * For `_guard` of a live module: pages rendered on the server call its streams too, and pass the visitor
 * along.
 */
export function visitorsOnly(ctx: Context): void {
  if (!ctx.user?.id) throw new LiveError('UNAUTHORIZED', 'Load a page first');
}

export function person({ user }: Context): App.Person {
  return { key: user.id, name: user.name, hue: user.hue, role: user.role };
}

/** Reads a text from a client, trimmed. */
export function text(value: unknown, max: number): string {
  const trimmed = typeof value === 'string' ? value.trim() : '';
  if (!trimmed) throw new LiveError('VALIDATION', 'There is nothing in it');
  if (trimmed.length > max) throw new LiveError('VALIDATION', `At most ${max} characters`);
  return trimmed;
}

/** Reads an id that the client has chosen, so that it can show the item before the server knows it. */
export function itemId(value: unknown): string {
  if (typeof value !== 'string' || !/^[\w-]{8,64}$/.test(value))
    throw new LiveError('VALIDATION', 'Not an id');
  return value;
}

/** Takes one call from the visitor's rate limit, or throws. All instances count together. */
export async function limited(ctx: Context, what: string, rule: RateLimitRule): Promise<void> {
  const { allowed, resetMs } = await stores.rateLimit.take(`${what}:${ctx.user.id}`, rule);
  if (!allowed) throw new LiveError('RATE_LIMITED', `Not so fast: again in ${Math.ceil(resetMs / 1000)} s`);
}
