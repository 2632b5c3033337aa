/** Token buckets of this process, by key. */
import type { RateLimit, RateLimitResult, RateLimitRule } from './types';

const SWEEP_AT = 10_000;

interface Bucket {
  tokens: number;
  at: number;
  fullAt: number;
}

export class TokenBuckets implements RateLimit {
  #buckets = new Map<string, Bucket>();

  async take(key: string, { points, intervalMs }: RateLimitRule): Promise<RateLimitResult> {
    const now = Date.now();
    if (this.#buckets.size >= SWEEP_AT) this.#sweep(now);
    const bucket = this.#buckets.get(key) ?? { tokens: points, at: now, fullAt: now };
    bucket.tokens = Math.min(points, bucket.tokens + ((now - bucket.at) * points) / intervalMs);
    bucket.at = now;
    const allowed = bucket.tokens >= 1;
    if (allowed) bucket.tokens -= 1;
    bucket.fullAt = now + ((points - bucket.tokens) * intervalMs) / points;
    this.#buckets.set(key, bucket);
    const resetMs = bucket.tokens >= 1 ? 0 : Math.ceil(((1 - bucket.tokens) * intervalMs) / points);
    return { allowed, remaining: Math.floor(bucket.tokens), resetMs };
  }

  /** A full bucket is the same as none. */
  #sweep(now: number): void {
    for (const [key, { fullAt }] of this.#buckets) if (fullAt <= now) this.#buckets.delete(key);
  }
}
