import { guard, live } from 'svelte-realtime/server';
import { visitorsOnly, type Context } from '$lib/server/context';
import { engine } from '$lib/server/engine/engine';

export const _guard = guard(visitorsOnly);

/** Returns at once: the page measures how long that takes. Reports come as events of the topic `engine`. */
export const probe = live((ctx: Context): number => engine.probe(ctx.platform));

/** Blocks the JavaScript of the server for two seconds, at most once in five. */
export const block = live((_ctx: Context): void => engine.block());

/** A client that does not read its feed, beside two that do, for 20 s at most. */
export const slowClient = live((_ctx: Context, on: boolean): void => engine.turn('feed', on === true));

/** Clients that publish, for 20 s at most. */
export const load = live((_ctx: Context, on: boolean): void => engine.turn('load', on === true));
