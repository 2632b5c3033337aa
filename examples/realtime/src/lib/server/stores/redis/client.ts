/**
 * The two connections to Redis, for commands and for what instances tell each other, and the circuit around the former.
 * Connects with the first call, so that a build that merely loads the module does not.
 */
import { Redis } from 'ioredis';
import { Circuit } from '../circuit';
import { SCRIPTS } from './scripts';

const KEEP_ALIVE_MS = 10_000;
/** Of all that this app has in a Redis. */
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

  /** `onMessage` gets what instances tell each other, `onReady` is called whenever some of it may have been missed. */
  constructor(url: string, onMessage: (message: string) => void, onReady: () => void) {
    const options = {
      lazyConnect: true,
      keepAlive: KEEP_ALIVE_MS,
      retryStrategy: (attempt: number) => Math.min(50 * 2 ** attempt, 1000),
    };
    // A command that cannot be sent or answered now fails now: what to do then is decided here, not in a queue.
    this.#commands = new Redis(url, { ...options, enableOfflineQueue: false, maxRetriesPerRequest: 0 });
    this.#subscriber = new Redis(url, { ...options, autoResubscribe: false, maxRetriesPerRequest: null });
    this.#onReady = onReady;
    this.circuit = new Circuit({ isAway, probe: () => this.#probe() });
    this.circuit.onChange((state) => state === 'closed' && onReady());
    this.#commands.on('close', () => this.circuit.trip());
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

  /** Plain commands; to be called within `circuit`. */
  async commands(): Promise<Redis> {
    if (this.#commands.status !== 'ready') await this.start();
    return this.#commands;
  }

  /** Tells all instances, unless Redis is away. */
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
    // Later attempts are ioredis' own.
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

  /** A script that Redis has to be told first would be overtaken by calls that come after it. */
  async #load(): Promise<void> {
    await Promise.all(Object.values(SCRIPTS).map(([lua]) => this.#commands.script('LOAD', lua)));
  }

  async #probe(): Promise<void> {
    await this.#load();
    await this.#commands.ping();
  }
}

/** An answer of Redis, even a refusal, comes from a Redis that is there; not so where it is starting or full. */
function isAway(error: unknown): boolean {
  const { name, message } = error as Error;
  return name !== 'ReplyError' || /^(LOADING|MASTERDOWN|CLUSTERDOWN|BUSY|TRYAGAIN|READONLY)/.test(message);
}
