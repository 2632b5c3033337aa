/**
 * The two connections to Redis, for commands and for messages between instances, and the circuit around the
 * former. The first call connects, so that a build that merely loads the module does not.
 */
import { Redis } from 'ioredis';
import { Circuit } from '../circuit';
import { SCRIPTS } from './scripts';

const KEEP_ALIVE_MS = 10_000;
/** The prefix of all keys of this app. */
export const PREFIX = process.env.STORE_PREFIX ?? 'uws-rs-example:';
const CHANNEL = `${PREFIX}events`;

type Argument = string | number;

export class RedisClient {
  readonly channel = CHANNEL;
  readonly circuit: Circuit;
  #commands: Redis;
  #subscriber: Redis;
  #started: Promise<void> | undefined;
  #onReady: () => void;

  /**
   * `onMessage` gets the messages of other instances, `onReady` is called whenever some of them may have been
   * missed.
   */
  constructor(url: string, onMessage: (message: string) => void, onReady: () => void) {
    const options = {
      lazyConnect: true,
      keepAlive: KEEP_ALIVE_MS,
      retryStrategy: (attempt: number) => Math.min(50 * 2 ** attempt, 1000),
    };
    // A command that cannot be sent or answered now fails now. The app decides what to do then, instead of a
    // queue.
    this.#commands = new Redis(url, { ...options, enableOfflineQueue: false, maxRetriesPerRequest: 0 });
    this.#subscriber = new Redis(url, { ...options, autoResubscribe: false, maxRetriesPerRequest: null });
    this.#onReady = onReady;
    this.circuit = new Circuit({ name: 'Redis', isAway, probe: () => this.#probe() });
    this.circuit.onChange((state) => state === 'closed' && onReady());
    let reason: Error | undefined;
    this.#commands.on('error', (error: Error) => (reason = error));
    this.#commands.on('ready', () => (reason = undefined));
    this.#commands.on('close', () => this.circuit.trip(reason ?? new Error('the connection was closed')));
    this.#subscriber.on('message', (_channel: string, message: string) => onMessage(message));
    for (const connection of [this.#commands, this.#subscriber]) connection.on('error', () => {});
    for (const [name, [lua, numberOfKeys]] of Object.entries(SCRIPTS)) {
      this.#commands.defineCommand(name, { lua, numberOfKeys });
    }
  }

  start(): Promise<void> {
    return (this.#started ??= this.#start());
  }

  /** Runs a script; rejects where Redis is away. */
  async script(name: keyof typeof SCRIPTS, keys: string[], args: Argument[]): Promise<unknown> {
    if (this.#commands.status !== 'ready') await this.start();
    const commands = this.#commands as unknown as Record<string, (...all: Argument[]) => Promise<unknown>>;
    return commands[name](...keys, ...args);
  }

  /** Sends a plain command; it must be called within `circuit`. */
  async commands(): Promise<Redis> {
    if (this.#commands.status !== 'ready') await this.start();
    return this.#commands;
  }

  /** Sends a message to all instances, unless Redis is away. */
  publish(message: string): void {
    void this.circuit.run(async () => (await this.commands()).publish(CHANNEL, message)).catch(() => {});
  }

  async close(): Promise<void> {
    this.circuit.close();
    for (const connection of [this.#commands, this.#subscriber]) connection.disconnect();
  }

  async #start(): Promise<void> {
    this.#subscriber.on('ready', () => void this.#subscribe());
    this.#subscriber.connect().catch(() => {});
    // ioredis itself makes the later attempts.
    await this.#commands.connect().catch(() => {});
    await this.#load().catch(() => {});
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#subscriber.subscribe(CHANNEL);
      this.#onReady();
    } catch {
      // The connection is lost again: there will be another 'ready'.
    }
  }

  /** Calls that come after a script would overtake it if the script had to be loaded first. */
  async #load(): Promise<void> {
    await Promise.all(Object.values(SCRIPTS).map(([lua]) => this.#commands.script('LOAD', lua)));
  }

  async #probe(): Promise<void> {
    await this.#load();
    await this.#commands.ping();
  }
}

/** An answer, even a refusal, means that Redis is there, except where it is starting or full. */
function isAway(error: unknown): boolean {
  const { name, message } = error as Error;
  return name !== 'ReplyError' || /^(LOADING|MASTERDOWN|CLUSTERDOWN|BUSY|TRYAGAIN|READONLY)/.test(message);
}
