import { LiveError, type LiveContext } from 'svelte-realtime/server';
import type { Connection } from './connection';

/** For `_guard` of a live module: pages rendered on the server call its streams too, and pass the visitor along. */
export function visitorsOnly(ctx: LiveContext<Connection>): void {
  if (!ctx.user?.id) throw new LiveError('UNAUTHORIZED', 'Load a page first');
}
