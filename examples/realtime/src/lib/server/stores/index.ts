/**
 * Selects the store behind the app: Redis where REDIS_URL is set, PostgreSQL where DATABASE_URL is, memory
 * otherwise. Where both are set, the kept topics are in PostgreSQL and everything else in Redis. The store is
 * on `globalThis`, because the server and its WebSocket hooks may be bundled separately.
 */
import { building } from '$app/environment';
import { memoryStores } from './memory';
import { postgresStores } from './postgres';
import { redisStores } from './redis';
import { checkUrl } from './settings';
import type { Circuit, Stores } from './types';

export type * from './types';

const KEY = Symbol.for('uws-rs-example.stores');
const anchor = globalThis as { [KEY]?: Stores };

export const stores: Stores = (anchor[KEY] ??= choose(process.env.REDIS_URL, process.env.DATABASE_URL));

function choose(redis?: string, postgres?: string): Stores {
  if (!building) {
    if (redis) checkUrl('REDIS_URL', redis, ['redis:', 'rediss:']);
    if (postgres) checkUrl('DATABASE_URL', postgres, ['postgres:', 'postgresql:']);
  }
  if (redis && postgres) return both(redis, postgresStores(postgres));
  if (redis) return redisStores(redis);
  return postgres ? postgresStores(postgres) : memoryStores();
}

function both(url: string, postgres: Stores): Stores {
  const redis = redisStores(url, postgres.log);
  const status = () => ({
    ...redis.status(),
    kind: 'redis+postgres' as const,
    circuit: worse(redis.status().circuit, postgres.status().circuit),
  });
  return {
    ...redis,
    kind: 'redis+postgres',
    bridge: {
      wrap: redis.bridge.wrap,
      activate(platform) {
        postgres.bridge.activate(platform);
        redis.bridge.activate(platform);
      },
    },
    status,
    ailments: () => [...redis.ailments(), ...postgres.ailments()],
    onStatus(listener) {
      for (const store of [redis, postgres]) store.onStatus(() => listener(status()));
    },
    async close() {
      await Promise.all([redis.close(), postgres.close()]);
    },
  };
}

function worse(one: Circuit, other: Circuit): Circuit {
  return (['open', 'half-open'] as const).find((state) => one === state || other === state) ?? 'closed';
}
