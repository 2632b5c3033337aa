/**
 * The app's stores in PostgreSQL. Each instance keeps who is present at it, and tells the others by
 * notifications; rate limits stay in the process.
 */
import type { Platform } from 'svelte-adapter-uws';
import { INSTANCE } from '../instance';
import { LocalPresence, type Note } from '../local-presence';
import { replaySource } from '../memory';
import { SharedLog, type Kept } from '../shared-log';
import { TokenBuckets } from '../token-buckets';
import type { Status, Stores } from '../types';
import { deliver, wrapper, type Message } from '../wrap';
import { PostgresClient } from './client';
import { PostgresShelf } from './log';

type Told =
  | ({ kind: 'publish' } & Message)
  | ({ kind: 'log' } & (Kept | { topic: string; seq: number }))
  | { kind: 'presence'; note: Note };

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
    else if (told?.kind === 'presence') presence.hear(told.note);
  }

  function resync(): void {
    presence.greet();
    log.resync().catch((error: unknown) => console.error('postgres:', error));
  }

  const send = (told: Told) => postgres.publish(JSON.stringify(told));

  return {
    kind: 'postgres',
    bridge: {
      activate(adapter) {
        if (platform) return;
        platform = adapter;
        log.activate(adapter);
        presence.activate(adapter);
        postgres.start();
        presence.connect((note) => send({ kind: 'presence', note }));
      },
      wrap: wrapper((message) => send({ kind: 'publish', ...message }), replaySource(log)),
    },
    log,
    presence,
    rateLimit: new TokenBuckets(),
    status,
    ailments: () => (postgres.circuit.state === 'closed' ? [] : ['PostgreSQL is away']),
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
