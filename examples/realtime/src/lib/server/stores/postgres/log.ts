/**
 * Kept topics in PostgreSQL. Events that are written while a query is on its way go with the next one, all in
 * one transaction.
 */
import type { Draft, Kept, Shelf } from '../shared-log';
import { ITEMS } from '../topics';
import type { Item, LogEventName } from '../types';
import type { PostgresClient } from './client';

const BATCH_MAX = 100;

interface Waiting {
  draft: Draft & { again: boolean };
  resolve(seq: number): void;
  reject(error: unknown): void;
}

type Event = { seq: string; event: LogEventName; data: Item; ref: string | null; by: string | null };

export class PostgresShelf implements Shelf {
  #postgres: PostgresClient;
  #waiting: Waiting[] = [];
  #writing = false;

  constructor(postgres: PostgresClient) {
    this.#postgres = postgres;
  }

  write(draft: Draft, again: boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ draft: { ...draft, again }, resolve, reject });
      if (!this.#writing) void this.#writeAll();
    });
  }

  async since(topic: string, since: number): Promise<{ seq: number; events: Kept[] | null }> {
    const [{ seq, first, events }] = await this.#postgres.query<{
      seq: string | null;
      first: string | null;
      events: (Omit<Event, 'seq'> & { seq: number })[] | null;
    }>(
      `SELECT (SELECT seq FROM live_topics WHERE topic = $1) AS seq, min(seq) AS first,
         json_agg(json_build_object('seq', seq, 'event', event, 'data', data, 'ref', ref, 'by', by) ORDER BY seq)
           FILTER (WHERE seq > $2) AS events
       FROM live_events WHERE topic = $1`,
      [topic, since],
    );
    const last = Number(seq ?? 0);
    if (since > last || since < Number(first ?? last + 1) - 1) return { seq: last, events: null };
    return { seq: last, events: (events ?? []).map((event) => ({ topic, ...event })) };
  }

  async items(topic: string): Promise<{ seq: number; items: Item[] }> {
    const [{ seq, items }] = await this.#postgres.query<{ seq: string | null; items: Item[] | null }>(
      `SELECT (SELECT seq FROM live_topics WHERE topic = $1) AS seq,
         json_agg(data || jsonb_build_object('id', id) ORDER BY position) AS items
       FROM (SELECT * FROM live_items WHERE topic = $1 ORDER BY position DESC LIMIT $2) newest`,
      [topic, ITEMS],
    );
    return { seq: Number(seq ?? 0), items: items ?? [] };
  }

  async seq(topic: string): Promise<number> {
    const rows = await this.#postgres.query<{ seq: string }>('SELECT seq FROM live_topics WHERE topic = $1', [
      topic,
    ]);
    return Number(rows[0]?.seq ?? 0);
  }

  /** Only a new database has forgotten anything. */
  async restore(topic: string, seq: number, items: Item[], events: Kept[]): Promise<void> {
    await this.#postgres.query(
      `WITH topic AS (
         INSERT INTO live_topics VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING topic
       ), events AS (
         INSERT INTO live_events (topic, seq, event, data, ref)
         SELECT topic, seq, event, data, ref
         FROM topic, jsonb_to_recordset($4) AS e(seq bigint, event text, data jsonb, ref text)
       ), quiet AS MATERIALIZED (
         SELECT set_config('live.quiet', 'on', true)
       )
       INSERT INTO live_items (topic, id, data)
       SELECT topic, data->>'id', data FROM quiet, topic, jsonb_array_elements($3) AS data`,
      [topic, seq, JSON.stringify(items), JSON.stringify(events)],
    );
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#writeSome(this.#waiting.splice(0, BATCH_MAX));
    this.#writing = false;
  }

  async #writeSome(batch: Waiting[]): Promise<void> {
    try {
      const drafts = JSON.stringify(batch.map(({ draft }) => draft));
      const rows = await this.#postgres.circuit.run(() =>
        this.#postgres.query<{ seq: string }>('SELECT live_write($1) AS seq', [drafts]),
      );
      batch.forEach(({ resolve }, index) => resolve(Number(rows[index].seq)));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
