/**
 * Connections to PostgreSQL: a pool for queries, one connection that listens to notifications, and the
 * circuit around the former. The first call connects, so that a build that merely loads the module does not.
 */
import pg from 'pg';
import { Circuit, TIMEOUT_MS } from '../circuit';
import { CHANNEL, SCHEMA, TOLD_MAX } from './schema';

const POOL = 4;
const CONNECT_MS = 5000;
const RETRY_MS = 500;
const MESSAGES_KEPT = '1 minute';

export class PostgresClient {
  readonly circuit: Circuit;
  #url: string;
  #pool: pg.Pool;
  #listener: pg.Client | undefined;
  #schema: Promise<unknown> | undefined;
  #outbox: string[] = [];
  #sending = false;
  #started = false;
  #closed = false;
  #onMessage: (message: string) => void;
  #onReady: () => void;

  /**
   * `onMessage` gets the notifications for all instances, `onReady` is called whenever some of them may have
   * been missed.
   */
  constructor(url: string, onMessage: (message: string) => void, onReady: () => void) {
    this.#url = url;
    this.#onMessage = onMessage;
    this.#onReady = onReady;
    this.#pool = new pg.Pool({
      connectionString: url,
      max: POOL,
      statement_timeout: TIMEOUT_MS,
      connectionTimeoutMillis: CONNECT_MS,
      allowExitOnIdle: true,
      keepAlive: true,
    });
    this.#pool.on('error', () => {});
    this.circuit = new Circuit({ name: 'PostgreSQL', isAway, probe: () => this.query('SELECT 1') });
    this.circuit.onChange((state) => state === 'closed' && onReady());
  }

  start(): void {
    if (this.#started) return;
    this.#started = true;
    void this.#listen();
  }

  /** Runs a query; it must be called within `circuit`. */
  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    await (this.#schema ??= this.#prepare());
    return (await this.#pool.query<Row>(text, values)).rows;
  }

  /**
   * Notifies all instances, unless PostgreSQL is away. Messages of one turn are sent in one query, so that
   * their order stays.
   */
  publish(message: string): void {
    this.#outbox.push(message);
    if (!this.#sending) void this.#send();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.circuit.close();
    this.#listener?.end().catch(() => {});
    await this.#pool.end().catch(() => {});
  }

  /** A failure of the schema is not remembered, so that the next call tries again. */
  async #prepare(): Promise<void> {
    try {
      await this.#pool.query(SCHEMA);
    } catch (error) {
      this.#schema = undefined;
      throw error;
    }
  }

  async #send(): Promise<void> {
    this.#sending = true;
    await Promise.resolve();
    while (this.#outbox.length > 0) {
      const messages = this.#outbox.splice(0);
      await this.circuit.run(() => this.#tell(messages)).catch(() => {});
    }
    this.#sending = false;
  }

  /** The number in front keeps PostgreSQL from delivering equal messages of one query only once. */
  async #tell(messages: string[]): Promise<void> {
    const told: string[] = [];
    for (const message of messages) {
      const large = Buffer.byteLength(message) > TOLD_MAX;
      told.push(`${told.length}${large ? `@${await this.#store(message)}` : message}`);
    }
    await this.query(`SELECT pg_notify('${CHANNEL}', message) FROM unnest($1::text[]) message`, [told]);
  }

  async #store(message: string): Promise<string> {
    await this.query(`DELETE FROM live_messages WHERE at < now() - interval '${MESSAGES_KEPT}'`);
    const insert = 'INSERT INTO live_messages (message) VALUES ($1) RETURNING id';
    return (await this.query<{ id: string }>(insert, [message]))[0].id;
  }

  async #listen(): Promise<void> {
    const listener = new pg.Client({
      connectionString: this.#url,
      connectionTimeoutMillis: CONNECT_MS,
      keepAlive: true,
    });
    this.#listener = listener;
    // The messages are handled in their order, though some have to be looked up.
    let tail: Promise<void> = Promise.resolve();
    listener.on('notification', ({ payload = '' }) => {
      tail = tail.then(() => this.#hear(payload)).catch(() => {});
    });
    let reason: unknown;
    listener.on('error', (error) => (reason = error));
    listener.once('end', () => this.#lost(reason));
    try {
      await listener.connect();
      await listener.query(`LISTEN ${CHANNEL}`);
      this.#onReady();
    } catch (error) {
      reason = error;
      listener.end().catch(() => {});
    }
  }

  #lost(reason: unknown): void {
    if (this.#closed) return;
    this.circuit.trip(reason);
    setTimeout(() => void this.#listen(), RETRY_MS).unref();
  }

  async #hear(payload: string): Promise<void> {
    const message = payload.replace(/^\d+/, '');
    if (!message.startsWith('@')) return this.#onMessage(message);
    const rows = await this.circuit.run(() =>
      this.query<{ message: string }>('SELECT message FROM live_messages WHERE id = $1', [message.slice(1)]),
    );
    if (rows[0]) this.#onMessage(rows[0].message);
  }
}

/**
 * Errors with a code of five characters are PostgreSQL's own; of these, classes 08, 53, 57 and 58 are about
 * the server.
 */
function isAway(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code !== 'string' || code.length !== 5 || /^(08|53|57|58)/.test(code);
}
