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
  /** Whether an error means that the server is away, and not that it refused this call. */
  isAway(error: unknown): boolean;
  /** Asks the server whether it is there. */
  probe(): Promise<unknown>;
}

type Call<T> = () => Promise<T>;

export class Circuit {
  #breaker: CircuitBreaker<[Call<unknown>], unknown>;
  #isAway: Options['isAway'];

  constructor({ isAway, probe }: Options) {
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
      throw this.#isAway(error) ? new Away(error) : error;
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
  trip(): void {
    if (this.#breaker.closed) this.#breaker.open();
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

/** These are errors of the breaker itself: it is open, or time is up. */
function isOurs(error: unknown): boolean {
  return ['EOPENBREAKER', 'ETIMEDOUT', 'ESHUTDOWN'].includes((error as { code?: string })?.code ?? '');
}
