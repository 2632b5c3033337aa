/** Token buckets that all instances share; each has its own while Redis is away. */
import { TokenBuckets } from '../token-buckets';
import type { RateLimit, RateLimitResult, RateLimitRule } from '../types';
import { PREFIX, type RedisClient } from './client';

export class RedisRateLimit implements RateLimit {
  #redis: RedisClient;
  #here = new TokenBuckets();

  constructor(redis: RedisClient) {
    this.#redis = redis;
  }

  take(key: string, rule: RateLimitRule): Promise<RateLimitResult> {
    return this.#redis.circuit.attempt(
      async () => {
        const args = [rule.points, rule.intervalMs];
        const answer = await this.#redis.script('rateTake', [`${PREFIX}rate:${key}`], args);
        const [allowed, remaining, resetMs] = answer as [number, number, number];
        return { allowed: allowed === 1, remaining, resetMs };
      },
      () => this.#here.take(key, rule),
    );
  }
}
