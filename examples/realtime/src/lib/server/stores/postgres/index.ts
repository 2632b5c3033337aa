/**
 * The app's stores in PostgreSQL. Presence and rate limits stay in the process: an instance alone needs no
 * more.
 */
import type { Platform } from 'svelte-adapter-uws';
import { INSTANCE } from '../instance';
import { LocalPresence } from '../local-presence';
import { replaySource } from '../memory';
import { SharedLog, type Kept } from '../shared-log';
import { TokenBuckets } from '../token-buckets';
import type { Status, Stores } from '../types';
import { deliver, wrapper, type Message } from '../wrap';
import { PostgresClient } from './client';
import { PostgresShelf } from './log';

type Told = ({ kind: 'publish' } & Message) | ({ kind: 'log' } & (Kept | { topic: string; seq: number }));

export function postgresStores(url: string): Stores {
  let platform: Platform | undefined;
  const postgres = new PostgresClient(url, receive, resync);
  const log = new SharedLog(postgres.circuit, new PostgresShelf(postgres));
  const presence = new LocalPresence(INSTANCE);
  const status = (): Status => ({ kind: 'postgres', instance: INSTANCE, circuit: postgres.circuit.state });

  function receive(text: string): void {
    const told = parse(text);
    if (told?.kind === 'publish') deliver(platform, told);
    else if (told?.kind === 'log') log.receive(told);
  }

  function resync(): void {
    log.resync().catch((error: unknown) => console.error('postgres:', error));
  }

  return {
    kind: 'postgres',
    bridge: {
      activate(adapter) {
        if (platform) return;
        platform = adapter;
        log.activate(adapter);
        presence.activate(adapter);
        postgres.start();
      },
      wrap: wrapper(
        (message) => postgres.publish(JSON.stringify({ kind: 'publish', ...message })),
        replaySource(log),
      ),
    },
    log,
    presence,
    rateLimit: new TokenBuckets(),
    status,
    onStatus: (listener) => postgres.circuit.onChange(() => listener(status())),
    async close() {
      presence.close();
      await postgres.close();
    },
  };
}

/** Other programs may notify the channel too. */
function parse(text: string): Told | undefined {
  try {
    return JSON.parse(text) as Told;
  } catch {
    return undefined;
  }
}
