/**
 * Kept topics in Redis: a counter, a sorted set of the latest events, a hash of items, and the order in which
 * they were created.
 */
import { ITEMS, REPLAYED } from '../topics';
import type { Item } from '../types';
import type { Draft, Kept, Shelf } from '../shared-log';
import { PREFIX, type RedisClient } from './client';

export class RedisShelf implements Shelf {
  #redis: RedisClient;

  constructor(redis: RedisClient) {
    this.#redis = redis;
  }

  async write(draft: Draft, again: boolean): Promise<number> {
    const { topic, event, data, ref } = draft;
    const { seq, events, items, order } = keys(topic);
    const kept = [REPLAYED, ITEMS, this.#redis.channel];
    const args = [body(draft), event, data.id, JSON.stringify(data), ...kept, again ? ref : ''];
    const write = () => this.#redis.script('logWrite', [seq, events, items, order], args);
    return (await this.#redis.circuit.run(write)) as number;
  }

  async since(topic: string, since: number): Promise<{ seq: number; events: Kept[] | null }> {
    const { seq, events } = keys(topic);
    const found = (await this.#redis.script('logSince', [seq, events], [since])) as [
      number,
      0 | 1,
      ...string[],
    ];
    const [last, complete, ...lines] = found;
    return { seq: last, events: complete ? lines.map((line) => JSON.parse(line) as Kept) : null };
  }

  async items(topic: string): Promise<{ seq: number; items: Item[] }> {
    const { seq, items, order } = keys(topic);
    const found = (await this.#redis.script('logItems', [seq, items, order], [])) as [
      number,
      ...(string | null)[],
    ];
    const [last, ...lines] = found;
    return { seq: last, items: lines.flatMap((line) => (line ? [JSON.parse(line) as Item] : [])) };
  }

  async seq(topic: string): Promise<number> {
    const redis = await this.#redis.commands();
    return Number((await redis.get(keys(topic).seq)) ?? 0);
  }

  async restore(topic: string, last: number, list: Item[], kept: Kept[]): Promise<void> {
    const { seq, events, items, order } = keys(topic);
    const args: (string | number)[] = [last, list.length];
    for (const item of list) args.push(item.id, JSON.stringify(item));
    for (const entry of kept) args.push(entry.seq, JSON.stringify({ kind: 'log', ...entry }));
    await this.#redis.script('logRestore', [seq, events, items, order], args);
  }
}

/** The event without its number, which the script puts in front. */
function body({ topic, event, data, ref, by }: Draft): string {
  return JSON.stringify({ kind: 'log', topic, event, data, ref, by });
}

function keys(topic: string) {
  const of = (what: string) => `${PREFIX}log:{${topic}}:${what}`;
  return { seq: of('seq'), events: of('events'), items: of('items'), order: of('order') };
}
