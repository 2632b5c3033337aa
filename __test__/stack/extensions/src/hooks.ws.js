// The real svelte-adapter-uws-extensions. Plain messages use each of its parts: { id, do, …arguments }. They
// are answered on the topic `answer` with the id as event and { value } or { error } as data.

import { createCircuitBreaker } from 'svelte-adapter-uws-extensions/breaker';
import { createPgClient } from 'svelte-adapter-uws-extensions/postgres';
import { createNotifyBridge } from 'svelte-adapter-uws-extensions/postgres/notify';
import { createReplay as createPgReplay } from 'svelte-adapter-uws-extensions/postgres/replay';
import { createRedisClient } from 'svelte-adapter-uws-extensions/redis';
import { createCursor } from 'svelte-adapter-uws-extensions/redis/cursor';
import { createGroup } from 'svelte-adapter-uws-extensions/redis/groups';
import { createPresence } from 'svelte-adapter-uws-extensions/redis/presence';
import { createPubSubBus } from 'svelte-adapter-uws-extensions/redis/pubsub';
import { createRateLimit } from 'svelte-adapter-uws-extensions/redis/ratelimit';
import { createReplay } from 'svelte-adapter-uws-extensions/redis/replay';

const decoder = new TextDecoder();
const select = ({ id }) => ({ id });
let parts;
let active;

/** The first connection creates them, so that a build connects to nothing. */
function start() {
  const breaker = createCircuitBreaker({ failureThreshold: 1, resetTimeout: 500 });
  const redis = createRedisClient({
    url: process.env.REDIS_URL,
    // Without a limit commands wait for Redis forever, and the breaker never hears of it.
    options: { commandTimeout: 3000, retryStrategy: () => 200 },
  });
  redis.redis.on('error', () => {});
  const pg = createPgClient({ connectionString: process.env.DATABASE_URL });
  return {
    breaker,
    bus: createPubSubBus(redis, { breaker }),
    replay: createReplay(redis, { size: 20, breaker, localFanoutOnStorageFailure: true }),
    presence: createPresence(redis, { key: 'id', select, heartbeat: 1000, ttl: 4 }),
    limit: createRateLimit(redis, {
      points: 5,
      interval: 3600000,
      keyBy: (ws) => ws.getUserData().id,
      breaker,
    }),
    group: createGroup(redis, 'crew'),
    cursor: createCursor(redis, { select }),
    pgReplay: createPgReplay(pg, { size: 20 }),
    bridge: createNotifyBridge(pg, { channel: 'changes' }),
  };
}

export function upgrade({ cookies }) {
  return cookies.user ? { id: cookies.user } : false;
}

export function open(ws, { platform }) {
  parts ??= start();
  active = Promise.all([parts.bus.hooks.open(ws, { platform }), parts.bridge.activate(platform)]);
  active.catch(() => {});
}

export async function message(ws, { data, platform }) {
  const asked = JSON.parse(decoder.decode(data));
  const answer = (result) => platform.send(ws, 'answer', String(asked.id), result);
  try {
    answer({ value: (await ACTIONS[asked.do]?.(ws, asked, platform)) ?? null });
  } catch (error) {
    answer({ error: error.message });
  }
}

export async function close(ws, { platform }) {
  await parts.presence.leave(ws, platform).catch(() => {});
  await parts.group.leave(ws, platform).catch(() => {});
  await parts.cursor.remove(ws, platform).catch(() => {});
}

const ACTIONS = {
  ready: () => active.then(() => true),
  state: () => parts.breaker.state,
  publish: (ws, { topic, data }, platform) => parts.bus.wrap(platform).publish(topic, 'said', data),
  batch: (ws, { topic, list }, platform) =>
    parts.bus.wrap(platform).publishBatched(list.map((data) => ({ topic, event: 'said', data }))),
  keep: (ws, { topic, data }, platform) =>
    parts.replay.publish(parts.bus.wrap(platform), topic, 'kept', data),
  seq: (ws, { topic }) => parts.replay.seq(topic),
  since: (ws, { topic, seq }) => parts.replay.since(topic, seq),
  replay: (ws, { topic, seq }, platform) => parts.replay.replay(ws, topic, seq, platform, 'asked'),
  keepInTable: (ws, { topic, data }, platform) => parts.pgReplay.publish(platform, topic, 'kept', data),
  sinceInTable: (ws, { topic, seq }) => parts.pgReplay.since(topic, seq),
  take: (ws) => parts.limit.consume(ws),
  join: (ws, { topic }, platform) => parts.presence.join(ws, topic, platform),
  people: (ws, { topic }) => parts.presence.list(topic),
  enter: (ws, asked, platform) => parts.group.join(ws, platform),
  members: () => parts.group.count(),
  tell: (ws, { data }, platform) => parts.group.publish(platform, 'told', data),
  watch: (ws, { topic }, platform) => parts.cursor.attach(ws, topic, platform),
  move: (ws, { topic, data }, platform) => parts.cursor.update(ws, topic, data, platform),
};
