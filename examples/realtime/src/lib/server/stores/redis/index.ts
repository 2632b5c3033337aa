/** The app's stores in Redis. */
import { INSTANCE } from '../instance';
import { replaySource } from '../memory';
import { SharedLog, type Kept } from '../shared-log';
import type { Log, Status, Stores } from '../types';
import { deliver, wrapper, type Message } from '../wrap';
import type { Platform } from 'svelte-adapter-uws';
import { RedisClient } from './client';
import { RedisShelf } from './log';
import { RedisPresence, type PresenceMessage } from './presence';
import { RedisRateLimit } from './rate-limit';

type Told = ({ kind: 'publish' } & Message) | ({ kind: 'log' } & Kept) | PresenceMessage;

/** `elsewhere` is a log that another server keeps. */
export function redisStores(url: string, elsewhere?: Log): Stores {
  let platform: Platform | undefined;
  const redis = new RedisClient(url, receive, resync);
  const own = new SharedLog(redis.circuit, new RedisShelf(redis));
  const log = elsewhere ?? own;
  const presence = new RedisPresence(redis);
  const status = (): Status => ({ kind: 'redis', instance: INSTANCE, circuit: redis.circuit.state });

  function receive(text: string): void {
    const told = parse(text);
    if (told?.kind === 'publish') deliver(platform, told);
    else if (told?.kind === 'log') own.receive(told);
    else if (told?.kind === 'presence') presence.receive(told);
  }

  function resync(): void {
    void Promise.all([own.resync(), presence.resync()]).catch((error: unknown) =>
      console.error('redis:', error),
    );
  }

  return {
    kind: 'redis',
    bridge: {
      activate(adapter) {
        if (platform) return;
        platform = adapter;
        own.activate(adapter);
        presence.activate(adapter);
        void redis.start();
      },
      wrap: wrapper(
        (message) => redis.publish(JSON.stringify({ kind: 'publish', ...message })),
        replaySource(log),
      ),
    },
    log,
    presence,
    rateLimit: new RedisRateLimit(redis),
    status,
    ailments: () => (redis.circuit.state === 'closed' ? [] : ['Redis is away']),
    onStatus: (listener) => redis.circuit.onChange(() => listener(status())),
    async close() {
      await presence.close();
      await redis.close();
    },
  };
}

/** Other programs may write to the channel too. */
function parse(text: string): Told | undefined {
  try {
    return JSON.parse(text) as Told;
  } catch {
    return undefined;
  }
}
