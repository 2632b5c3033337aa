/**
 * The embedded store: everything in this process. The kept topics are one append-only file, so that worker
 * threads see the same and a restart forgets nothing; workers exchange presence by a BroadcastChannel.
 */
import { randomUUID } from 'node:crypto';
import { building } from '$app/environment';
import type { Platform } from 'svelte-adapter-uws';
import { Journal } from './journal';
import { LocalPresence, connectThreads } from './local-presence';
import { refuse } from './settings';
import { TokenBuckets } from './token-buckets';
import type { Bridge, Log, LogEventName, ReplaySource, Status, Stores } from './types';

export function memoryStores(): Stores {
  const instance = randomUUID().slice(0, 8);
  const journal = openJournal(process.env.DATA_DIR ?? '.data');
  const log: Log = {
    async append(platform, topic, event, data) {
      const entry = journal.append(topic, event, data);
      platform.publish(topic, event, data);
      return entry;
    },
    items: async (topic) => journal.items(topic),
    seq: async (topic) => journal.seq(topic),
    since: async (topic, seq) => journal.since(topic, seq),
  };
  const presence = new LocalPresence(instance);
  const disconnect = connectThreads(presence);
  const status: Status = { kind: 'memory', instance, circuit: 'closed' };
  return {
    kind: 'memory',
    bridge: bridge(replaySource(log), presence),
    log,
    presence,
    rateLimit: new TokenBuckets(),
    status: () => status,
    ailments: () => (journal.isFailing ? ['the data folder cannot be written'] : []),
    onStatus() {},
    async close() {
      presence.close();
      disconnect();
      journal.close();
    },
  };
}

/** A folder that cannot be written is better known at the start than with the first message. */
function openJournal(folder: string): Journal {
  const journal = new Journal(folder);
  if (building) return journal;
  try {
    journal.open();
  } catch (error) {
    refuse(`DATA_DIR ${folder} cannot be used: ${(error as Error).message}`);
  }
  return journal;
}

/** The adapter's own publish reaches all worker threads. */
function bridge(replay: ReplaySource, presence: LocalPresence): Bridge {
  const wrapped = new WeakMap<Platform, Platform & { replay: ReplaySource }>();
  return {
    activate: (platform) => presence.activate(platform),
    wrap(platform) {
      let found = wrapped.get(platform);
      if (!found) {
        found = Object.assign(Object.create(platform) as Platform, { replay });
        wrapped.set(platform, found);
      }
      return found;
    },
  };
}

/** A log in the form that svelte-realtime expects. */
export function replaySource(log: Log): ReplaySource {
  return {
    async publish(platform, topic, event, data) {
      await log.append(platform, topic, event as LogEventName, data as { id: string });
      return true;
    },
    seq: (topic) => log.seq(topic),
    since: (topic, seq) => log.since(topic, seq),
  };
}
