/**
 * Reactions arrive as plain messages of the adapter's protocol, { topic, event, data }, and pass the
 * adapter's middleware before they are published. They are not kept and not answered.
 */
import { createMiddleware } from 'svelte-adapter-uws/plugins/middleware';
import type { Platform } from 'svelte-adapter-uws';
import type { WebSocket } from 'uWebSockets.js';
import { ROOM_ID } from '$lib/rooms';
import { isReaction } from '$lib/reactions';
import type { Connection } from './connection';
import { stores } from './stores';

const TOPIC = /^reactions:(.+)$/;
const RATE = { points: 30, intervalMs: 5000 };

const pipeline = createMiddleware(
  async ({ topic, event, data }, next) => {
    const room = TOPIC.exec(topic)?.[1];
    if (room && ROOM_ID.test(room) && event === 'reaction' && isReaction(data)) await next();
  },
  async ({ ws }, next) => {
    const { id } = (ws as WebSocket<Connection>).getUserData();
    if ((await stores.rateLimit.take(`react:${id}`, RATE)).allowed) await next();
  },
  async (ctx, next) => {
    const { id, name, hue } = (ctx.ws as WebSocket<Connection>).getUserData();
    ctx.locals.from = { key: id, name, hue };
    await next();
  },
);

/** Publishes the message if it is a reaction. Returns whether it was published. */
export async function react(
  ws: WebSocket<Connection>,
  data: ArrayBuffer,
  platform: Platform,
): Promise<boolean> {
  const message = parse(data);
  if (!message) return false;
  const passed = await pipeline.run(ws, message, platform);
  if (passed) platform.publish(passed.topic, 'reaction', { reaction: passed.data, from: passed.locals.from });
  return passed !== null;
}

function parse(data: ArrayBuffer): { topic: string; event: string; data?: unknown } | undefined {
  try {
    const message = JSON.parse(new TextDecoder().decode(data));
    return typeof message?.topic === 'string' && typeof message.event === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}
