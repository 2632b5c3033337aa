/**
 * A circuit breaker for calls to a server that may be away. Calls fail at once while the server is known to
 * be away, and the breaker finds out by itself when it is back. The caller decides what to do instead.
 */
import CircuitBreaker from 'opossum';
import type { Circuit as State } from './types';

/** A call that takes longer counts as failed. */
export const TIMEOUT_MS = Number(process.env.STORE_TIMEOUT_MS ?? 3000);
const RESET_MS = Number(process.env.CIRCUIT_RESET_MS ?? 2000);

/** Says that the server is away. Every call that it did not answer throws this. */
export class Away extends Error {
  constructor(cause: unknown) {
    super('the store is away', { cause });
  }
}

interface Options {
  /** The name of the server, for the log. */
  name: string;
  /** Whether an error means that the server is away, and not that it refused this call. */
  isAway(error: unknown): boolean;
  /** Asks the server whether it is there. */
  probe(): Promise<unknown>;
}

type Call<T> = () => Promise<T>;

export class Circuit {
  #breaker: CircuitBreaker<[Call<unknown>], unknown>;
  #isAway: Options['isAway'];
  #name: string;
  #isSaidAway = false;
  #reason: unknown;

  constructor({ name, isAway, probe }: Options) {
    this.#name = name;
    this.#isAway = (error) => isOurs(error) || isAway(error);
    this.#breaker = new CircuitBreaker((call: Call<unknown>) => call(), {
      timeout: TIMEOUT_MS,
      resetTimeout: RESET_MS,
      rollingCountTimeout: 2 * TIMEOUT_MS,
      volumeThreshold: 5,
      errorThresholdPercentage: 50,
      errorFilter: (error) => !this.#isAway(error),
    });
    // No other call may try for a while.
    this.#breaker.on('halfOpen', () => void this.#breaker.fire(probe).catch(() => {}));
    this.onChange(() => this.#say());
  }

  /** One line when the server goes, and one when it is back, however often it is tried in between. */
  #say(): void {
    const isAway = this.state !== 'closed';
    if (isAway === this.#isSaidAway) return;
    this.#isSaidAway = isAway;
    const reason = this.#reason instanceof Error ? ` (${messageOf(this.#reason)})` : '';
    if (isAway) console.error(`${this.#name} is away${reason}: the app goes on with what it knows`);
    else console.log(`${this.#name} is back`);
    this.#reason = undefined;
  }

  get state(): State {
    if (this.#breaker.halfOpen) return 'half-open';
    return this.#breaker.opened ? 'open' : 'closed';
  }

  /** Returns the call's answer; throws Away where the server does not give one. */
  async run<T>(call: Call<T>): Promise<T> {
    try {
      return (await this.#breaker.fire(call)) as T;
    } catch (error) {
      if (!this.#isAway(error)) throw error;
      this.#noteReason(error);
      throw new Away(error);
    }
  }

  /** Returns the answer, or the result of `instead` where the server is away. */
  async attempt<T>(call: Call<T>, instead: () => T | Promise<T>): Promise<T> {
    try {
      return await this.run(call);
    } catch (error) {
      if (error instanceof Away) return instead();
      throw error;
    }
  }

  /** The connection was lost, so no call needs to try. */
  trip(reason?: unknown): void {
    this.#noteReason(reason);
    if (this.#breaker.closed) this.#breaker.open();
  }

  #noteReason(reason: unknown): void {
    if (reason !== undefined) this.#reason = reason;
  }

  onChange(listener: (state: State) => void): void {
    const tell = () => listener(this.state);
    this.#breaker.on('open', tell);
    this.#breaker.on('halfOpen', tell);
    this.#breaker.on('close', tell);
  }

  close(): void {
    this.#breaker.shutdown();
  }
}

/** The error of several addresses has no message of its own. */
function messageOf(error: Error): string {
  const [first] = (error as AggregateError).errors ?? [];
  return error.message || (first as Error | undefined)?.message || error.name;
}

/** These are errors of the breaker itself: it is open, or time is up. */
function isOurs(error: unknown): boolean {
  return ['EOPENBREAKER', 'ETIMEDOUT', 'ESHUTDOWN'].includes((error as { code?: string })?.code ?? '');
}
